//! The ports, with the AWS SDK. Decides nothing.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_kms::config::retry::{RetryPartition, TokenBucket};

use crate::domain::identity::Home;
use crate::ports::Call;

pub mod actions;

mod caller;

mod classify;

mod iam;

mod kms;

mod s3;

mod stacks;

/// The account, through one client a service.
#[derive(Clone, Debug)]
pub struct Aws {
    s3: aws_sdk_s3::Client,
    kms: aws_sdk_kms::Client,
    iam: aws_sdk_iam::Client,
    cloudformation: aws_sdk_cloudformation::Client,
}

impl Aws {
    /// Clients with the function's own credentials.
    pub async fn load() -> Self {
        Self::new(&config().await)
    }

    /// Clients with the credentials of a person, and whose account that is.
    pub async fn load_with_home() -> Call<(Self, Home)> {
        let config = config().await;
        let home = caller::home(&config).await?;
        Ok((Self::new(&config), home))
    }

    fn new(config: &SdkConfig) -> Self {
        let s3 = aws_sdk_s3::config::Builder::from(config).retry_partition(retries("s3"));
        let kms = aws_sdk_kms::config::Builder::from(config).retry_partition(retries("kms"));
        let iam = aws_sdk_iam::config::Builder::from(config).retry_partition(retries("iam"));
        let stacks = aws_sdk_cloudformation::config::Builder::from(config);
        let stacks = stacks.retry_partition(retries("cloudformation"));
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            kms: aws_sdk_kms::Client::from_conf(kms.build()),
            iam: aws_sdk_iam::Client::from_conf(iam.build()),
            cloudformation: aws_sdk_cloudformation::Client::from_conf(stacks.build()),
        }
    }
}

/// What the retries of a service's calls draw on. The SDK's own is filled up by calls that succeed
/// only: a function that once met a bad hour would never again be patient. A retry takes 5 or 10.
fn retries(service: &'static str) -> RetryPartition {
    const CAPACITY: usize = 500;
    /// A second: full again after less than a minute.
    const REFILL: f32 = 10.0;
    let bucket = TokenBucket::builder().capacity(CAPACITY).refill_rate(REFILL);
    RetryPartition::custom(service).token_bucket(bucket.build()).build()
}

async fn config() -> SdkConfig {
    // A call that hangs is given up in time for the SDK's retries and the answer.
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(Duration::from_secs(20))
        .build();
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12());
    config.timeout_config(timeouts).load().await
}
