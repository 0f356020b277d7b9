//! The ports, with the AWS SDK. Decides nothing.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};

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
        Self {
            s3: aws_sdk_s3::Client::new(config),
            kms: aws_sdk_kms::Client::new(config),
            iam: aws_sdk_iam::Client::new(config),
            cloudformation: aws_sdk_cloudformation::Client::new(config),
        }
    }
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
