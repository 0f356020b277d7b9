//! Reads that show an earlier state: AWS replicates what was written, and takes its time.

use ica_storage::ports::CallErrorKind;

use crate::support::account::Account;
use crate::support::lab::{self, OTHER_KEY, folder, with};
use crate::support::session::{Mishap, Weather};
use crate::support::stack::{Stack, after};
use crate::support::state::difference;

/// Reads and the writes whose effect they show late.
const DOCUMENTS: [(&str, &str); 3] = [
    ("kms:GetKeyPolicy", "kms:PutKeyPolicy"),
    ("s3:GetBucketPolicy", "s3:PutBucketPolicy"),
    ("s3:GetBucketCORS", "s3:PutBucketCORS"),
];

#[tokio::test(start_paused = true)]
async fn a_write_that_shows_late_is_not_repeated() {
    for (read, write) in DOCUMENTS {
        let account = Account::new(lab::lived_in());
        // The first look is before the write, the others should see it.
        account.show(&lab::lived_in(), read, 4);
        let mut stack = Stack::new(&account, "lab", "Connection");
        assert!(stack.deploy(&folder("project-a")).await);
        let writes = account.writes_since(0).iter().filter(|call| call.action == write).count();
        assert_eq!(writes, 1, "{write}");
        assert!(stack.delete().await);
        assert_eq!(account.trace(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delete_is_not_fooled_by_a_document_from_before_its_create() {
    for (read, _) in DOCUMENTS {
        for reads in 1..=2 {
            let account = Account::new(lab::lived_in());
            let mut stack = Stack::new(&account, "lab", "Connection");
            assert!(stack.deploy(&folder("project-a")).await);
            account.show(&lab::lived_in(), read, reads);
            assert!(stack.delete().await);
            assert_eq!(account.trace(), None, "{read} shows {reads} times what was before");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_delete_is_not_fooled_by_a_register_from_before_its_create() {
    for read in ["iam:ListPolicies", "iam:GetPolicy"] {
        let account = Account::new(lab::lived_in());
        let mut stack = Stack::new(&account, "lab", "Connection");
        assert!(stack.deploy(&folder("project-a")).await);
        account.show(&lab::lived_in(), read, 1);
        assert!(stack.delete().await);
        assert_eq!(account.trace(), None, "{read} shows once what was before");
    }
}

/// The other connection went a moment ago, and still seems to want the statement.
#[tokio::test(start_paused = true)]
async fn the_last_delete_is_not_fooled_by_a_register_that_shows_the_one_before_it() {
    for read in ["iam:ListPolicies", "iam:GetPolicy"] {
        let account = Account::new(lab::lived_in());
        let mut one = Stack::new(&account, "one", "Connection");
        let mut two = Stack::new(&account, "two", "Connection");
        assert!(one.deploy(&folder("one")).await);
        assert!(two.deploy(&folder("two")).await);
        let both = account.state();
        // It has said that it wants nothing any more, but is not gone yet.
        let hanging = Weather::on("iam:DeletePolicy", Mishap::Hang);
        let id = one.standing.clone().unwrap().physical_id;
        let delete = one.request("Delete", Some(&id), &folder("one"), None);
        one.status("DELETE_IN_PROGRESS", "DELETE_IN_PROGRESS");
        assert!(!one.send(hanging, &delete).await.success);
        account.show(&both, read, 2);
        assert!(two.delete().await);
        assert!(one.delete().await);
        assert_eq!(account.trace(), None, "{read} shows twice what was before");
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_right_after_its_create_survives_a_register_from_before_it() {
    for read in ["iam:ListPolicies", "iam:GetPolicy"] {
        let account = Account::new(lab::lived_in());
        let mut stack = Stack::new(&account, "lab", "Connection");
        assert!(stack.deploy(&folder("project-a")).await);
        account.show(&lab::lived_in(), read, 1);
        let moved = with(folder("project-a"), &[("KmsKeyId", OTHER_KEY.into())]);
        assert!(stack.deploy(&moved).await, "{read}");
        let expected = after(&lab::lived_in(), &[&moved]).await.meaning().without_folder_keys();
        let found = account.state().meaning().without_folder_keys();
        assert_eq!(difference(&found, &expected), None, "{read}");
        assert!(stack.delete().await);
        assert_eq!(account.trace(), None, "{read}");
    }
}

/// A document that others overwrite as fast as it is written is given up on, not fought over.
#[tokio::test(start_paused = true)]
async fn a_document_that_never_settles_fails_the_deployment_and_leaves_no_trace() {
    let account = Account::new(lab::lived_in());
    let mut stack = Stack::new(&account, "lab", "Connection");
    let stubborn = Weather { overwrites: 100, ..Weather::fair() };
    let answer = stack.deploy_in(stubborn, &folder("project-a")).await;
    assert!(answer.reason.starts_with("NotStabilized: "), "{}", answer.reason);
    assert_eq!(account.trace(), None);
}

/// A principal that KMS does not know yet, or any more, is refused: the deployment fails cleanly.
#[tokio::test(start_paused = true)]
async fn a_principal_that_kms_refuses_fails_the_deployment_and_leaves_no_trace() {
    let account = Account::new(lab::lived_in());
    let mut stack = Stack::new(&account, "lab", "Connection");
    let refused = Mishap::Before(CallErrorKind::InvalidPrincipal);
    let answer =
        stack.deploy_in(Weather::on("kms:PutKeyPolicy", refused), &folder("project-a")).await;
    assert!(answer.reason.starts_with("InvalidRequest: "), "{}", answer.reason);
    assert_eq!(account.trace(), None);
}
