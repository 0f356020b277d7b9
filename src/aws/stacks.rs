//! [`Stacks`] with the CloudFormation SDK.

use crate::aws::Aws;
use crate::aws::actions::Action;
use crate::aws::classify::Named;
use crate::ports::{Call, CallError, CallErrorKind, StackResource, Stacks};

impl Stacks for Aws {
    async fn resource(&self, stack_id: &str, logical_id: &str) -> Call<Option<StackResource>> {
        let request = self.cloudformation.describe_stack_resource();
        let output = request.stack_name(stack_id).logical_resource_id(logical_id).send().await;
        let output = unknown(output.named(Action::DescribeStackResource, stack_id))?;
        let detail = output.and_then(|output| output.stack_resource_detail);
        Ok(detail.map(|detail| StackResource {
            status: detail.resource_status.map(|it| it.as_str().to_owned()).unwrap_or_default(),
            physical_id: detail.physical_resource_id.unwrap_or_default(),
        }))
    }

    async fn stack_status(&self, stack_id: &str) -> Call<Option<String>> {
        let output = self.cloudformation.describe_stacks().stack_name(stack_id).send().await;
        let output = unknown(output.named(Action::DescribeStacks, stack_id))?;
        let stack = output.and_then(|output| output.stacks?.into_iter().next());
        Ok(stack.and_then(|stack| stack.stack_status).map(|status| status.as_str().to_owned()))
    }
}

/// What CloudFormation does not know is a `ValidationError`, told apart by its message.
fn unknown<T>(call: Call<T>) -> Call<Option<T>> {
    let is_unknown = |CallError { kind, code, message, .. }: &CallError| {
        *kind == CallErrorKind::NotFound
            || (code == "ValidationError" && message.contains("does not exist"))
    };
    match call {
        Err(error) if is_unknown(&error) => Ok(None),
        call => call.map(Some),
    }
}
