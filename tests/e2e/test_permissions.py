"""What a missing permission of the function's role does: each is withheld once."""

import re

import pytest

from aws import Lab, changes, snapshot
from bench import Bench, identity
from connection import objects
from faults import ALL, Call, Fault
from runtime import emulator

pytestmark = pytest.mark.skipif(emulator() is None, reason="AWS's emulator of Lambda runs on Linux only")

# What a Create does not work without, where its template names nothing but bucket and prefix.
NEEDED = [
    "s3:ListBucket",
    "s3:GetBucketVersioning",
    "s3:GetEncryptionConfiguration",
    "s3:GetObject",
    "s3:GetBucketPolicy",
    "s3:GetBucketCORS",
    "kms:DescribeKey",
    "kms:GetKeyPolicy",
    "iam:GetPolicy",
    "iam:ListPolicies",
    "iam:CreatePolicy",
    "kms:PutKeyPolicy",
    "s3:PutBucketPolicy",
    "s3:PutBucketCORS",
    "s3:PutObject",
]

# What it only looks at to warn of something.
ADVISORY = [
    "s3:GetBucketOwnershipControls",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketNotification",
    "cloudformation:DescribeStackResource",
    "cloudformation:DescribeStacks",
]

# What an Update needs besides where a tag and the versioning of the bucket have changed.
NEEDED_TO_CHANGE = ["iam:GetPolicyVersion", "iam:TagPolicy", "iam:ListPolicyVersions", "iam:CreatePolicyVersion"]


def actions_in(text: str) -> set[str]:
    """Every permission that a text names."""
    return set(re.findall(r"\b(?:s3|kms|iam|cloudformation):[A-Z]\w+", text))


def is_named_with_what_to_do(action: str, reason: str) -> bool:
    """Whether a reason says that this permission is missing, no other, and that it is to be granted."""
    sentence, _, _ = reason.partition("add this by hand: ")  # a statement names permissions of others
    _, _, remedy = sentence.partition("; ")
    return reason.startswith("AccessDenied: ") and actions_in(sentence) == {action} == actions_in(remedy)


def test_every_permission_of_a_create_is_withheld_here(bench: Bench, site: Lab):
    bench.succeed(bench.create(site))
    assert {call.action for call in bench.proxy.calls} == {*NEEDED, *ADVISORY}


@pytest.mark.parametrize("action", NEEDED)
def test_a_missing_permission_is_named_with_what_to_do(bench: Bench, site: Lab, action: str):
    before, created = snapshot(bench.aws), bench.create(site)
    bench.proxy.arm(Fault.DENIED, action, ALL)
    failed = bench.fail(created)

    assert is_named_with_what_to_do(action, failed["Reason"]), failed["Reason"]
    assert failed["PhysicalResourceId"] == identity(created)
    # What may not be read is found out before anything is written.
    if not Call(action, 1).writes:
        assert not any(call.writes for call in bench.proxy.calls)
    assert bench.remains(before, created, identity(created)) == []


@pytest.mark.parametrize("action", ADVISORY)
def test_a_missing_permission_to_look_is_a_warning(bench: Bench, site: Lab, action: str):
    bench.proxy.arm(Fault.DENIED, action, ALL)
    warnings = bench.succeed(bench.create(site))["Data"]["Warnings"]

    assert warnings == f"not checked for lack of a permission: grant `{action}` to the function's role"


@pytest.mark.parametrize(
    ("action", "property"),
    [
        ("s3:GetEncryptionConfiguration", "KmsKeyId"),
        ("kms:GetKeyPolicy", "ConfigureKeyPolicy"),
        ("s3:GetBucketPolicy", "ConfigureBucketPolicy"),
        ("s3:GetBucketCORS", "ConfigureCors"),
    ],
)
def test_a_permission_is_needed_only_for_what_is_asked(bench: Bench, site: Lab, action: str, property: str):
    value = site.key_arn if property == "KmsKeyId" else "false"
    bench.proxy.arm(Fault.DENIED, action, ALL)
    warnings = bench.succeed(bench.create(site, **{property: value}))["Data"]["Warnings"]

    assert actions_in(warnings) <= {action}


@pytest.mark.parametrize("action", NEEDED_TO_CHANGE)
def test_a_permission_that_an_update_lacks_is_named_with_what_to_do(bench: Bench, site: Lab, action: str):
    created = bench.create(site, Tags=[{"Key": "lab", "Value": "A"}])
    bench.succeed(created)
    bench.reset()
    bench.aws.client("s3").put_bucket_versioning(
        Bucket=site.bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    bench.proxy.arm(Fault.DENIED, action, ALL)
    old = created["ResourceProperties"]
    failed = bench.fail(
        bench.request(
            "Update",
            old | {"Tags": [{"Key": "lab", "Value": "B"}]},
            StackId=created["StackId"],
            PhysicalResourceId=identity(created),
            OldResourceProperties=old,
        )
    )

    assert is_named_with_what_to_do(action, failed["Reason"]), failed["Reason"]
    assert failed["PhysicalResourceId"] == identity(created)


@pytest.mark.parametrize("action", ["kms:PutKeyPolicy", "iam:DeletePolicy"])
def test_a_delete_waits_for_a_permission_that_is_about_to_come(bench: Bench, site: Lab, action: str):
    before, created = snapshot(bench.aws), bench.create(site)
    bench.succeed(created)
    bench.reset()
    bench.proxy.arm(Fault.DENIED, action)

    bench.succeed(bench.delete(created, identity(created)))
    assert changes(before, snapshot(bench.aws)) == []


@pytest.mark.parametrize("action", ["s3:GetObject", "s3:ListBucket", "s3:DeleteObject"])
def test_a_delete_that_may_not_remove_the_folder_removes_all_else(bench: Bench, site: Lab, action: str):
    before, created = snapshot(bench.aws), bench.create(site)
    bench.succeed(created)
    bench.reset()
    bench.proxy.arm(Fault.DENIED, action, ALL)
    bench.succeed(bench.delete(created, identity(created)))

    assert objects(bench.aws, site) == ["project-a/"]
    bench.aws.client("s3").delete_object(Bucket=site.bucket, Key="project-a/")
    assert changes(before, snapshot(bench.aws)) == []


def test_nothing_that_was_printed_names_the_presigned_address(bench: Bench):
    assert bench.leaks() == []
