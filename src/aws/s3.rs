//! [`Buckets`] with the S3 SDK.

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::types::{
    BucketVersioningStatus, CorsConfiguration, CorsRule, FilterRuleName, ServerSideEncryption,
};
use serde_json::{Map, Value};

use crate::aws::Aws;
use crate::aws::actions::Action;
use crate::aws::classify::{Named, absent, unset};
use crate::domain::ica::Versioning;
use crate::domain::seen::{Encryption, Folder};
use crate::ports::{Bucket, Buckets, Call, CallError, CallErrorKind};

/// Metadata that says whose the folder is.
const OWNER: &str = "ica-storage-owner";

/// Content type of a folder, as S3's console gives it.
const DIRECTORY: &str = "application/x-directory";

impl Buckets for Aws {
    async fn region(&self, bucket: Bucket<'_>) -> Call<Option<String>> {
        let request = self.s3.head_bucket().bucket(bucket.name).expected_bucket_owner(bucket.owner);
        let output = request.send().await;
        // S3 answers for another region with a redirect that names it.
        let elsewhere =
            output.as_ref().err().and_then(SdkError::raw_response).and_then(|response| {
                let redirects = matches!(response.status().as_u16(), 301 | 307 | 400);
                response
                    .headers()
                    .get("x-amz-bucket-region")
                    .filter(|_| redirects)
                    .map(str::to_owned)
            });
        if elsewhere.is_some() {
            return Ok(elsewhere);
        }
        let output = absent(output.named(Action::ListBucket, bucket.name))?;
        Ok(output.map(|output| output.bucket_region.unwrap_or_default()))
    }

    async fn versioning(&self, bucket: Bucket<'_>) -> Call<Versioning> {
        let request = self.s3.get_bucket_versioning().bucket(bucket.name);
        let output = request.expected_bucket_owner(bucket.owner).send().await;
        Ok(match output.named(Action::GetBucketVersioning, bucket.name)?.status {
            Some(BucketVersioningStatus::Enabled) => Versioning::Enabled,
            Some(_) => Versioning::Suspended,
            None => Versioning::Unversioned,
        })
    }

    async fn encryption(&self, bucket: Bucket<'_>) -> Call<Option<Encryption>> {
        let request = self.s3.get_bucket_encryption().bucket(bucket.name);
        let output = request.expected_bucket_owner(bucket.owner).send().await;
        let output = unset(output.named(Action::GetEncryptionConfiguration, bucket.name))?;
        let rule = output
            .and_then(|output| output.server_side_encryption_configuration)
            .and_then(|configuration| configuration.rules.into_iter().next());
        Ok(rule.and_then(|rule| {
            let default = rule.apply_server_side_encryption_by_default?;
            Some(Encryption {
                algorithm: default.sse_algorithm.as_str().to_owned(),
                key: default.kms_master_key_id,
                bucket_key: rule.bucket_key_enabled.unwrap_or_default(),
            })
        }))
    }

    async fn ownership(&self, bucket: Bucket<'_>) -> Call<Option<String>> {
        let request = self.s3.get_bucket_ownership_controls().bucket(bucket.name);
        let output = request.expected_bucket_owner(bucket.owner).send().await;
        let output = unset(output.named(Action::GetBucketOwnershipControls, bucket.name))?;
        let rule = output
            .and_then(|output| output.ownership_controls)
            .and_then(|controls| controls.rules.into_iter().next());
        Ok(rule.map(|rule| rule.object_ownership.as_str().to_owned()))
    }

    async fn public_access_off(&self, bucket: Bucket<'_>) -> Call<Vec<&'static str>> {
        let request = self.s3.get_public_access_block().bucket(bucket.name);
        let output = request.expected_bucket_owner(bucket.owner).send().await;
        let output = unset(output.named(Action::GetBucketPublicAccessBlock, bucket.name))?;
        let block = output.and_then(|output| output.public_access_block_configuration);
        let block = block.as_ref();
        let switches = [
            ("BlockPublicAcls", block.and_then(|block| block.block_public_acls)),
            ("IgnorePublicAcls", block.and_then(|block| block.ignore_public_acls)),
            ("BlockPublicPolicy", block.and_then(|block| block.block_public_policy)),
            ("RestrictPublicBuckets", block.and_then(|block| block.restrict_public_buckets)),
        ];
        Ok(switches.into_iter().filter(|(_, on)| *on != Some(true)).map(|(name, _)| name).collect())
    }

    async fn notifications(&self, bucket: Bucket<'_>) -> Call<Vec<String>> {
        let request = self.s3.get_bucket_notification_configuration().bucket(bucket.name);
        let output = request.expected_bucket_owner(bucket.owner).send().await;
        let output = output.named(Action::GetBucketNotification, bucket.name)?;
        let lambdas = output.lambda_function_configurations.unwrap_or_default();
        let queues = output.queue_configurations.unwrap_or_default();
        let topics = output.topic_configurations.unwrap_or_default();
        let filters = lambdas
            .into_iter()
            .map(|to| to.filter)
            .chain(queues.into_iter().map(|to| to.filter))
            .chain(topics.into_iter().map(|to| to.filter));
        Ok(filters
            .map(|filter| {
                let rules = filter.and_then(|filter| filter.key?.filter_rules).unwrap_or_default();
                // S3 takes `prefix` and returns `Prefix`.
                let is_prefix =
                    |name: &FilterRuleName| name.as_str().eq_ignore_ascii_case("prefix");
                let prefix =
                    rules.into_iter().find(|rule| rule.name.as_ref().is_some_and(is_prefix));
                prefix.and_then(|rule| rule.value).unwrap_or_default()
            })
            .collect())
    }

    async fn read_policy(&self, bucket: Bucket<'_>) -> Call<Option<String>> {
        let request = self.s3.get_bucket_policy().bucket(bucket.name);
        let output = request.expected_bucket_owner(bucket.owner).send().await;
        Ok(unset(output.named(Action::GetBucketPolicy, bucket.name))?
            .and_then(|output| output.policy))
    }

    async fn write_policy(&self, bucket: Bucket<'_>, policy: Option<&str>) -> Call<()> {
        if let Some(policy) = policy {
            let request = self.s3.put_bucket_policy().bucket(bucket.name).policy(policy);
            let output = request.expected_bucket_owner(bucket.owner).send().await;
            output.named(Action::PutBucketPolicy, bucket.name).map(drop)
        } else {
            let request = self.s3.delete_bucket_policy().bucket(bucket.name);
            let output = request.expected_bucket_owner(bucket.owner).send().await;
            output.named(Action::DeleteBucketPolicy, bucket.name).map(drop)
        }
    }

    async fn read_cors(&self, bucket: Bucket<'_>) -> Call<Vec<Value>> {
        let request = self.s3.get_bucket_cors().bucket(bucket.name);
        let output = request.expected_bucket_owner(bucket.owner).send().await;
        let output = unset(output.named(Action::GetBucketCORS, bucket.name))?;
        let rules = output.and_then(|output| output.cors_rules).unwrap_or_default();
        Ok(rules.into_iter().map(from_rule).collect())
    }

    async fn write_cors(&self, bucket: Bucket<'_>, rules: &[Value]) -> Call<()> {
        if rules.is_empty() {
            let request = self.s3.delete_bucket_cors().bucket(bucket.name);
            let output = request.expected_bucket_owner(bucket.owner).send().await;
            return output.named(Action::PutBucketCORS, bucket.name).map(drop);
        }
        let rules = rules.iter().map(to_rule).collect::<Result<Vec<_>, _>>();
        let configuration = rules
            .and_then(|rules| CorsConfiguration::builder().set_cors_rules(Some(rules)).build());
        let configuration = configuration.map_err(|error| CallError {
            action: Action::PutBucketCORS.as_granted(),
            resource: bucket.name.to_owned(),
            kind: CallErrorKind::Other,
            code: String::new(),
            message: error.to_string(),
            request_id: String::new(),
        })?;
        let request =
            self.s3.put_bucket_cors().bucket(bucket.name).cors_configuration(configuration);
        let output = request.expected_bucket_owner(bucket.owner).send().await;
        output.named(Action::PutBucketCORS, bucket.name).map(drop)
    }

    async fn read_folder(&self, bucket: Bucket<'_>, prefix: &str) -> Call<Option<Folder>> {
        let request = self.s3.head_object().bucket(bucket.name).key(prefix);
        let output = request.expected_bucket_owner(bucket.owner).send().await;
        // An object that is encrypted with a key of the customer's own is not shown without it: S3
        // answers 400, to a HEAD without a word.
        let is_hidden = output.as_ref().err().and_then(SdkError::raw_response);
        if is_hidden.is_some_and(|response| response.status().as_u16() == 400) {
            return Ok(Some(Folder { mark: None, algorithm: None, key: None, version: None }));
        }
        let output = absent(output.named(Action::GetObject, &address(bucket, prefix)))?;
        Ok(output.map(|output| Folder {
            mark: output.metadata.as_ref().and_then(|metadata| metadata.get(OWNER).cloned()),
            algorithm: output.server_side_encryption.map(|algorithm| algorithm.as_str().to_owned()),
            key: output.ssekms_key_id,
            version: output.version_id,
        }))
    }

    async fn write_folder(
        &self,
        bucket: Bucket<'_>,
        prefix: &str,
        key_arn: &str,
        mark: &str,
    ) -> Call<()> {
        let request = self.s3.put_object().bucket(bucket.name).key(prefix).content_type(DIRECTORY);
        let request = request
            .server_side_encryption(ServerSideEncryption::AwsKms)
            .ssekms_key_id(key_arn)
            .metadata(OWNER, mark)
            .if_none_match("*");
        let output = request.expected_bucket_owner(bucket.owner).send().await;
        match output.named(Action::PutObject, &address(bucket, prefix)) {
            // Somebody was faster: what is there is never overwritten.
            Err(error) if error.kind == CallErrorKind::Exists => Ok(()),
            call => call.map(drop),
        }
    }

    async fn remove_folder(
        &self,
        bucket: Bucket<'_>,
        prefix: &str,
        version: Option<&str>,
    ) -> Call<()> {
        let action =
            if version.is_some() { Action::DeleteObjectVersion } else { Action::DeleteObject };
        let request = self.s3.delete_object().bucket(bucket.name).key(prefix);
        let request = request.set_version_id(version.map(str::to_owned));
        let output = request.expected_bucket_owner(bucket.owner).send().await;
        output.named(action, &address(bucket, prefix)).map(drop)
    }

    async fn contents(&self, bucket: Bucket<'_>, prefix: &str, limit: i32) -> Call<Vec<String>> {
        let request = self.s3.list_objects_v2().bucket(bucket.name).prefix(prefix).max_keys(limit);
        let output = request.expected_bucket_owner(bucket.owner).send().await;
        let contents = output.named(Action::ListBucket, bucket.name)?.contents.unwrap_or_default();
        Ok(contents.into_iter().filter_map(|object| object.key).collect())
    }
}

fn address(bucket: Bucket<'_>, prefix: &str) -> String {
    format!("s3://{}/{prefix}", bucket.name)
}

/// As the JSON of S3's own documentation spells a rule.
fn from_rule(rule: CorsRule) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        members.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("ID", rule.id.map(Value::from));
    put("AllowedHeaders", rule.allowed_headers.map(Value::from));
    put("AllowedMethods", Some(rule.allowed_methods.into()));
    put("AllowedOrigins", Some(rule.allowed_origins.into()));
    put("ExposeHeaders", rule.expose_headers.map(Value::from));
    put("MaxAgeSeconds", rule.max_age_seconds.map(Value::from));
    Value::Object(members)
}

fn to_rule(rule: &Value) -> Result<CorsRule, aws_sdk_s3::error::BuildError> {
    let list = |name: &str| {
        let values = rule.get(name)?.as_array()?;
        Some(values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect())
    };
    let age = rule.get("MaxAgeSeconds").and_then(Value::as_i64);
    CorsRule::builder()
        .set_id(rule.get("ID").and_then(Value::as_str).map(str::to_owned))
        .set_allowed_headers(list("AllowedHeaders"))
        .set_allowed_methods(list("AllowedMethods"))
        .set_allowed_origins(list("AllowedOrigins"))
        .set_expose_headers(list("ExposeHeaders"))
        .set_max_age_seconds(age.and_then(|age| i32::try_from(age).ok()))
        .build()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_survives_the_sdk() {
        for rule in [
            crate::domain::ica::cors_rule(),
            json!({"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "MaxAgeSeconds": 3000}),
        ] {
            assert_eq!(from_rule(to_rule(&rule).unwrap()), rule);
        }
    }
}
