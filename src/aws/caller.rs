//! Whose account the credentials at hand are of.

use aws_config::SdkConfig;

use crate::aws::actions::Action;
use crate::aws::classify::Named;
use crate::domain::field::Arn;
use crate::domain::identity::Home;
use crate::ports::{Call, CallError, CallErrorKind};

/// Where a stack of this caller would be.
pub(super) async fn home(config: &SdkConfig) -> Call<Home> {
    let Some(region) = config.region() else {
        return Err(unknown("no region is set: set `AWS_REGION`, or a region in the profile"));
    };
    let request = aws_sdk_sts::Client::new(config).get_caller_identity();
    let caller = request.send().await.named(Action::GetCallerIdentity, "the caller")?;
    let arn = caller.arn.unwrap_or_default();
    let partition = Arn::parse(&arn).map(|arn| arn.partition.to_owned());
    let (Some(partition), Some(account)) = (partition, caller.account) else {
        return Err(unknown(&format!("the caller `{arn}` is of no account")));
    };
    Ok(Home { partition, region: region.to_string(), account })
}

fn unknown(message: &str) -> CallError {
    CallError {
        action: Action::GetCallerIdentity.as_granted(),
        resource: "the caller".to_owned(),
        kind: CallErrorKind::Other,
        code: String::new(),
        message: message.to_owned(),
        request_id: String::new(),
    }
}
