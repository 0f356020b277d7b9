//! [`Policies`] with the IAM SDK.

use aws_sdk_iam::types::{PolicyScopeType, PolicyUsageType, Tag as IamTag};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::aws::Aws;
use crate::aws::actions::Action;
use crate::aws::classify::{Named, absent};
use crate::domain::identity::REGISTER_PATH;
use crate::domain::register::Entry;
use crate::domain::seen::Policy;
use crate::domain::spec::Tag;
use crate::ports::{Attachment, Call, CallError, CallErrorKind, Policies, Version};

/// Largest page of a listing (IAM API reference, `MaxItems`).
const PAGE: i32 = 1000;

impl Policies for Aws {
    async fn list(&self) -> Call<Vec<Entry>> {
        let request = self.iam.list_policies();
        let request =
            request.scope(PolicyScopeType::Local).path_prefix(REGISTER_PATH).max_items(PAGE);
        let mut pages = request.into_paginator().items().send();
        let mut entries = vec![];
        while let Some(policy) = pages.next().await {
            let policy = policy.named(Action::ListPolicies, REGISTER_PATH)?;
            let created =
                policy.create_date.and_then(|date| date.to_millis().ok()).unwrap_or_default();
            let (arn, name, path) = (policy.arn, policy.policy_name, policy.path);
            entries.extend(Entry::new(
                arn.as_deref().unwrap_or_default(),
                name.as_deref().unwrap_or_default(),
                path.as_deref().unwrap_or_default(),
                created,
            ));
        }
        Ok(entries)
    }

    async fn read(&self, arn: &str) -> Call<Option<Policy>> {
        let output =
            self.iam.get_policy().policy_arn(arn).send().await.named(Action::GetPolicy, arn);
        let policy = absent(output)?.and_then(|output| output.policy);
        Ok(policy.map(|policy| Policy {
            version: policy.default_version_id.unwrap_or_default(),
            tags: policy
                .tags
                .unwrap_or_default()
                .into_iter()
                .map(|tag| Tag { key: tag.key, value: tag.value })
                .collect(),
        }))
    }

    async fn document(&self, arn: &str, version: &str) -> Call<Value> {
        let request = self.iam.get_policy_version().policy_arn(arn).version_id(version);
        let output = request.send().await.named(Action::GetPolicyVersion, arn)?;
        let document =
            output.policy_version.and_then(|version| version.document).unwrap_or_default();
        // It comes URL-encoded. What is no JSON differs from every document, and is replaced.
        let document = percent_decode_str(&document).decode_utf8_lossy();
        Ok(serde_json::from_str(&document).unwrap_or_default())
    }

    async fn create(&self, path: &str, name: &str, document: &Value, tags: &[Tag]) -> Call<()> {
        let request = self.iam.create_policy().path(path).policy_name(name);
        let request = request.policy_document(document.to_string()).set_tags(Some(iam_tags(tags)?));
        request.send().await.named(Action::CreatePolicy, name).map(drop)
    }

    async fn versions(&self, arn: &str) -> Call<Vec<Version>> {
        let output = self.iam.list_policy_versions().policy_arn(arn).max_items(PAGE).send().await;
        let output = output.named(Action::ListPolicyVersions, arn)?;
        let mut versions = output.versions.unwrap_or_default();
        versions.sort_by_key(|version| version.create_date);
        let versions = versions.into_iter().map(|version| Version {
            id: version.version_id.unwrap_or_default(),
            is_default: version.is_default_version,
        });
        Ok(versions.collect())
    }

    async fn add_version(&self, arn: &str, document: &Value) -> Call<()> {
        let request = self.iam.create_policy_version().policy_arn(arn).set_as_default(true);
        let output = request.policy_document(document.to_string()).send().await;
        output.named(Action::CreatePolicyVersion, arn).map(drop)
    }

    async fn remove_version(&self, arn: &str, version: &str) -> Call<()> {
        let output =
            self.iam.delete_policy_version().policy_arn(arn).version_id(version).send().await;
        absent(output.named(Action::DeletePolicyVersion, arn)).map(drop)
    }

    async fn tag(&self, arn: &str, tags: &[Tag]) -> Call<()> {
        let output =
            self.iam.tag_policy().policy_arn(arn).set_tags(Some(iam_tags(tags)?)).send().await;
        output.named(Action::TagPolicy, arn).map(drop)
    }

    async fn untag(&self, arn: &str, keys: &[String]) -> Call<()> {
        let request = self.iam.untag_policy().policy_arn(arn).set_tag_keys(Some(keys.to_vec()));
        request.send().await.named(Action::UntagPolicy, arn).map(drop)
    }

    async fn attachments(&self, arn: &str) -> Call<Vec<Attachment>> {
        let request = self.iam.list_entities_for_policy().policy_arn(arn);
        // A permissions boundary cannot be detached.
        let request =
            request.policy_usage_filter(PolicyUsageType::PermissionsPolicy).max_items(PAGE);
        let mut pages = request.into_paginator().send();
        let mut attachments = vec![];
        while let Some(page) = pages.next().await {
            let page = page.named(Action::ListEntitiesForPolicy, arn)?;
            let users =
                page.policy_users.unwrap_or_default().into_iter().filter_map(|user| user.user_name);
            let groups = page
                .policy_groups
                .unwrap_or_default()
                .into_iter()
                .filter_map(|group| group.group_name);
            let roles =
                page.policy_roles.unwrap_or_default().into_iter().filter_map(|role| role.role_name);
            attachments.extend(users.map(Attachment::User));
            attachments.extend(groups.map(Attachment::Group));
            attachments.extend(roles.map(Attachment::Role));
        }
        Ok(attachments)
    }

    async fn detach(&self, arn: &str, from: &Attachment) -> Call<()> {
        let iam = &self.iam;
        let call = match from {
            Attachment::User(name) => {
                let request = iam.detach_user_policy().user_name(name).policy_arn(arn);
                request.send().await.named(Action::DetachUserPolicy, name).map(drop)
            }
            Attachment::Group(name) => {
                let request = iam.detach_group_policy().group_name(name).policy_arn(arn);
                request.send().await.named(Action::DetachGroupPolicy, name).map(drop)
            }
            Attachment::Role(name) => {
                let request = iam.detach_role_policy().role_name(name).policy_arn(arn);
                request.send().await.named(Action::DetachRolePolicy, name).map(drop)
            }
        };
        absent(call).map(drop)
    }

    async fn remove(&self, arn: &str) -> Call<()> {
        self.iam
            .delete_policy()
            .policy_arn(arn)
            .send()
            .await
            .named(Action::DeletePolicy, arn)
            .map(drop)
    }
}

fn iam_tags(tags: &[Tag]) -> Call<Vec<IamTag>> {
    let tag = |tag: &Tag| IamTag::builder().key(&tag.key).value(&tag.value).build();
    tags.iter().map(tag).collect::<Result<_, _>>().map_err(|error| CallError {
        action: Action::TagPolicy.as_granted(),
        resource: REGISTER_PATH.to_owned(),
        kind: CallErrorKind::Other,
        code: String::new(),
        message: error.to_string(),
        request_id: String::new(),
    })
}
