//! [`Keys`] with the KMS SDK.

use aws_sdk_kms::types::KeyManagerType;

use crate::aws::Aws;
use crate::aws::actions::Action;
use crate::aws::classify::{Named, absent};
use crate::domain::seen::Key;
use crate::ports::{Call, Keys};

impl Keys for Aws {
    async fn describe(&self, key: &str) -> Call<Option<Key>> {
        let output =
            self.kms.describe_key().key_id(key).send().await.named(Action::DescribeKey, key);
        let metadata = absent(output)?.and_then(|output| output.key_metadata);
        Ok(metadata.map(|metadata| Key {
            aws_managed: metadata.key_manager == Some(KeyManagerType::Aws),
            state: metadata.key_state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
            spec: metadata.key_spec.map(|spec| spec.as_str().to_owned()).unwrap_or_default(),
            usage: metadata.key_usage.map(|usage| usage.as_str().to_owned()).unwrap_or_default(),
            arn: metadata.arn.unwrap_or_default(),
        }))
    }

    async fn read_key_policy(&self, key: &str) -> Call<Option<String>> {
        let output = self.kms.get_key_policy().key_id(key).send().await;
        Ok(absent(output.named(Action::GetKeyPolicy, key))?.and_then(|output| output.policy))
    }

    async fn write_key_policy(&self, key: &str, policy: &str) -> Call<()> {
        // The lockout safety check stays on: nothing here ever bypasses it.
        let output = self.kms.put_key_policy().key_id(key).policy(policy).send().await;
        output.named(Action::PutKeyPolicy, key).map(drop)
    }
}
