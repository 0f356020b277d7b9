"""What a failure says, and that it leaves everything as it was."""

import json
import re
from collections.abc import Callable

import pytest

import illumina
from aws import Lab, LocalAws, changes, lab, snapshot
from callback import Callback
from connection import ROLE, bucket_statements, cors_rules, key_statements, objects, tags
from stack import Properties, Stack, StackFailed

REFUSED: dict[str, tuple[Properties, str]] = {
    "a_misspelt_property": ({"KmsKeyID": "x"}, r"InvalidRequest: .*`KmsKeyID`.*did you mean `KmsKeyId`"),
    "a_wildcard_in_the_prefix": ({"KeyPrefix": "a/*"}, r"InvalidRequest: .*`KeyPrefix`.*`\*`"),
    "a_variable_in_the_prefix": ({"KeyPrefix": "${aws:username}/"}, r"InvalidRequest: .*`KeyPrefix`"),
    "a_prefix_that_leads_out": ({"KeyPrefix": "a/../b/"}, r"InvalidRequest: .*`KeyPrefix`.*`\.\.`"),
    "no_prefix": ({"KeyPrefix": ""}, r"InvalidRequest: .*`KeyPrefix`.*AllowBucketRoot"),
    "a_switch_that_is_none": ({"CrossAccountAccess": "yes"}, r"InvalidRequest: .*`CrossAccountAccess`.*`yes`"),
    "no_such_bucket": ({"BucketName": "nobodys-bucket"}, r"NotFound: .*`nobodys-bucket`"),
    "no_such_key": ({"KmsKeyId": "00000000-0000-0000-0000-000000000000"}, r"NotFound: .*00000000-0000"),
    "somebody_elses_role": (
        {"AssumeRoleArn": "arn:aws:iam::111111111111:role/x"},
        r"InvalidRequest: .*`AssumeRoleArn`",
    ),
}


def connection(customer: Lab, **properties: object) -> Properties:
    return {"BucketName": customer.bucket, "KeyPrefix": "project-a/"} | properties


@pytest.mark.parametrize(("properties", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_refused_create_says_why_and_writes_nothing(
    aws: LocalAws, stack: Stack, customer: Lab, properties: Properties, reason: str
):
    before = snapshot(aws)
    with pytest.raises(StackFailed):
        stack.deploy(Connection=connection(customer, **properties))

    assert re.search(reason, stack.reasons())
    assert "\n" not in stack.reasons()
    assert changes(before, snapshot(aws)) == []


def test_all_problems_are_named_at_once(stack: Stack, customer: Lab):
    with pytest.raises(StackFailed):
        stack.deploy(Connection=connection(customer, KeyPrefix="a/*", KmsKeyID="x", ConfigureCors="maybe"))

    for named in ("`KeyPrefix`", "`KmsKeyID`", "`ConfigureCors`"):
        assert named in stack.reasons()


@pytest.mark.parametrize("state", ["Disabled", "PendingDeletion"])
def test_a_key_that_cannot_be_used_is_refused(aws: LocalAws, stack: Stack, customer: Lab, state: str):
    kms = aws.client("kms")
    if state == "Disabled":
        kms.disable_key(KeyId=customer.key_id)
    else:
        kms.schedule_key_deletion(KeyId=customer.key_id, PendingWindowInDays=7)
    before = snapshot(aws)
    with pytest.raises(StackFailed):
        stack.deploy(Connection=connection(customer))

    assert re.search(rf"InvalidRequest: .*{customer.key_id}", stack.reasons())
    assert changes(before, snapshot(aws)) == []


def test_a_bucket_without_a_key_of_yours_is_refused(aws: LocalAws, stack: Stack, customer: Lab):
    encryption = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    aws.client("s3").put_bucket_encryption(Bucket=customer.bucket, ServerSideEncryptionConfiguration=encryption)
    before = snapshot(aws)
    with pytest.raises(StackFailed):
        stack.deploy(Connection=connection(customer))

    assert re.search(r"InvalidRequest: .*KmsKeyId", stack.reasons())
    assert changes(before, snapshot(aws)) == []


@pytest.mark.parametrize("prefix", ["project-a/", "project-a/reads/", "project"])
def test_a_path_belongs_to_one_connection(aws: LocalAws, new_stack: Callable[[], Stack], customer: Lab, prefix: str):
    first, second = new_stack(), new_stack()
    first.deploy(Mine=connection(customer, KeyPrefix="project-a/" if prefix != "project" else "project/reads"))
    before = snapshot(aws)
    with pytest.raises(StackFailed):
        second.deploy(Connection=connection(customer, KeyPrefix=prefix))

    assert second.reasons().startswith("AlreadyExists: ")
    assert f"`{first.name}`" in second.reasons() and "`Mine`" in second.reasons()
    assert changes(before, snapshot(aws)) == []


def test_prefixes_that_only_look_alike_do_not_collide(new_stack: Callable[[], Stack], customer: Lab):
    new_stack().deploy(Connection=connection(customer, KeyPrefix="project/"))
    new_stack().deploy(Connection=connection(customer, KeyPrefix="project-a/"))


# MiniStack sends no Delete after a failed Create, as AWS does: these two tests send both.


def test_a_refused_create_can_be_deleted(aws: LocalAws, customer: Lab, callback: Callback):
    before, stack_id = snapshot(aws), callback.stack_id()
    properties = connection(customer, KmsKeyID="x", KeyPrefix="a/*")
    refused = callback.send("Create", stack_id, properties)
    assert refused["Status"] == "FAILED"
    identity = refused["PhysicalResourceId"]
    deleted = callback.send("Delete", stack_id, properties, PhysicalResourceId=identity)

    assert (deleted["Status"], deleted["PhysicalResourceId"]) == ("SUCCESS", identity)
    assert changes(before, snapshot(aws)) == []


@pytest.mark.parametrize("denied", ["kms:PutKeyPolicy", "s3:PutBucketPolicy", "s3:PutBucketCORS", "s3:PutObject"])
def test_a_create_that_stops_half_way_can_be_deleted(aws: LocalAws, customer: Lab, callback: Callback, denied: str):
    before, stack_id = snapshot(aws), callback.stack_id()
    with Denied(aws, denied, customer):
        failed = callback.send("Create", stack_id, connection(customer))
    assert failed["Status"] == "FAILED"
    assert re.search(rf"AccessDenied: {denied}.*grant `{denied}`", failed["Reason"])
    assert changes(before, snapshot(aws)) != []
    deleted = callback.send("Delete", stack_id, connection(customer), PhysicalResourceId=failed["PhysicalResourceId"])

    assert deleted["Status"] == "SUCCESS"
    assert changes(before, snapshot(aws)) == []


def test_a_failed_update_is_rolled_back(aws: LocalAws, stack: Stack, customer: Lab):
    tagged = {"Tags": [{"Key": "lab", "Value": "A"}]}
    second = {
        "BucketName": customer.bucket,
        "KeyPrefix": "project-b/",
        "DependsOn": "Connection",
        "CrossAccountAccess": False,
    }
    stack.deploy(Connection=connection(customer, **tagged), Second=second)
    reference, values = stack.ref(), stack.attributes()
    statements = key_statements(aws, customer), bucket_statements(aws, customer)

    with pytest.raises(StackFailed):
        stack.deploy(
            Connection=connection(customer, CrossAccountAccess=False), Second=second | {"ConfigureCors": "maybe"}
        )

    assert "`ConfigureCors`" in stack.reasons("Second")
    assert (stack.ref(), stack.attributes()) == (reference, values)
    assert (key_statements(aws, customer), bucket_statements(aws, customer)) == statements
    assert tags(aws, values["PolicyArn"])["lab"] == "A"
    assert cors_rules(aws, customer) == [illumina.cors_rule()]


def test_a_failed_replacement_is_rolled_back(aws: LocalAws, stack: Stack, customer: Lab):
    other = lab(aws, f"{customer.bucket}-other")
    second = {
        "BucketName": customer.bucket,
        "KeyPrefix": "project-b/",
        "DependsOn": "Connection",
        "ConfigureCors": True,
    }
    stack.deploy(Connection=connection(customer), Second=second)
    reference, values, before = stack.ref(), stack.attributes(), snapshot(aws)

    with pytest.raises(StackFailed):
        stack.deploy(Connection=connection(other), Second=second | {"ConfigureCors": "maybe"})

    assert (stack.ref(), stack.attributes()) == (reference, values)
    after = snapshot(aws)
    # What was made in the other bucket for the replacement is gone again.
    assert changes(before["buckets"][other.bucket], after["buckets"][other.bucket]) == []
    assert changes(before["keys"][other.key_id], after["keys"][other.key_id]) == []
    assert after["policies"].keys() == before["policies"].keys()
    assert objects(aws, customer) == ["project-a/", "project-b/"]
    assert key_statements(aws, customer)[1:] == [illumina.key_policy_statement(ROLE)]


class Denied:
    """The provider's role may not do one thing to the customer's bucket and key."""

    def __init__(self, aws: LocalAws, action: str, customer: Lab) -> None:
        self.iam = aws.client("iam")
        roles = self.iam.list_roles()["Roles"]
        [self.role] = [role["RoleName"] for role in roles if role["RoleName"].startswith("provider-ProviderRole")]
        bucket = f"arn:aws:s3:::{customer.bucket}"
        statement = {"Effect": "Deny", "Action": action, "Resource": [customer.key_arn, bucket, f"{bucket}/*"]}
        self.document = json.dumps({"Version": "2012-10-17", "Statement": statement})

    def __enter__(self) -> None:
        self.iam.put_role_policy(RoleName=self.role, PolicyName="denied", PolicyDocument=self.document)

    def __exit__(self, *_: object) -> None:
        self.iam.delete_role_policy(RoleName=self.role, PolicyName="denied")
