"""What a deletion takes away, and what it never touches."""

import pytest

from aws import Lab, LocalAws, changes, snapshot
from callback import Callback
from connection import bucket_statements, cors_rules, key_statements, objects, policies, put_data, set_versioning
from stack import Properties, Stack


def connection(customer: Lab, **properties: object) -> Properties:
    return {"BucketName": customer.bucket, "KeyPrefix": "project-a/"} | properties


@pytest.mark.parametrize("versioning", ["Unversioned", "Enabled", "Suspended"])
def test_a_deleted_stack_leaves_no_trace(aws: LocalAws, stack: Stack, customer: Lab, versioning: str):
    if versioning != "Unversioned":
        set_versioning(aws, customer, "Enabled")
        set_versioning(aws, customer, versioning)
    before = snapshot(aws)
    stack.deploy(Connection=connection(customer))
    assert snapshot(aws) != before
    stack.delete()

    assert changes(before, snapshot(aws)) == []


def test_a_connection_that_was_updated_leaves_no_trace(aws: LocalAws, stack: Stack, customer: Lab):
    set_versioning(aws, customer, "Enabled")
    before = snapshot(aws)
    stack.deploy(Connection=connection(customer))
    stack.deploy(Connection=connection(customer, CrossAccountAccess=False))
    stack.deploy(Connection=connection(customer, KeyPrefix="project-b/"))
    stack.delete()

    assert changes(before, snapshot(aws)) == []


def test_data_is_never_deleted(aws: LocalAws, stack: Stack, customer: Lab):
    stack.deploy(Connection=connection(customer))
    put_data(aws, customer, "project-a/sample.fastq")
    put_data(aws, customer, "project-b/sample.fastq")
    stack.delete()

    assert objects(aws, customer) == ["project-a/", "project-a/sample.fastq", "project-b/sample.fastq"]
    assert policies(aws, customer) == []


def test_data_that_was_deleted_in_a_versioned_bucket_stays_recoverable(aws: LocalAws, stack: Stack, customer: Lab):
    set_versioning(aws, customer, "Enabled")
    stack.deploy(Connection=connection(customer))
    put_data(aws, customer, "project-a/sample.fastq")
    aws.client("s3").delete_object(Bucket=customer.bucket, Key="project-a/sample.fastq")
    stack.delete()

    versions = snapshot(aws)["buckets"][customer.bucket]["objects"]
    assert [item["key"] for item in versions].count("project-a/sample.fastq") == 2


def test_a_policy_in_use_is_detached_and_deleted(aws: LocalAws, stack: Stack, customer: Lab):
    iam, name = aws.client("iam"), f"ica-{customer.bucket}"
    iam.create_user(UserName=name)
    iam.create_group(GroupName=name)
    trust = '{"Version":"2012-10-17","Statement":[]}'
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    stack.deploy(Connection=connection(customer))
    arn = stack.attributes()["PolicyArn"]
    iam.attach_user_policy(UserName=name, PolicyArn=arn)
    iam.attach_group_policy(GroupName=name, PolicyArn=arn)
    iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    stack.delete()

    assert policies(aws, customer) == []
    assert iam.list_attached_user_policies(UserName=name)["AttachedPolicies"] == []
    assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []


def test_the_last_connection_takes_the_shared_statements_along(aws: LocalAws, stack: Stack, customer: Lab):
    before = snapshot(aws)
    first, second = connection(customer), connection(customer, KeyPrefix="project-b/")
    stack.deploy(First=first, Second=second)
    stack.deploy(Second=second)

    assert len(key_statements(aws, customer)) == 2
    assert len(bucket_statements(aws, customer)) == 1
    assert len(cors_rules(aws, customer)) == 1
    stack.delete()
    assert changes(before, snapshot(aws)) == []


def test_a_bucket_that_is_gone_does_not_stop_the_deletion(aws: LocalAws, stack: Stack, customer: Lab):
    stack.deploy(Connection=connection(customer))
    s3 = aws.client("s3")
    s3.delete_object(Bucket=customer.bucket, Key="project-a/")
    s3.delete_bucket(Bucket=customer.bucket)
    stack.delete()

    assert policies(aws, customer) == []
    assert len(key_statements(aws, customer)) == 1


def test_a_key_that_is_going_does_not_stop_the_deletion(aws: LocalAws, stack: Stack, customer: Lab):
    stack.deploy(Connection=connection(customer))
    aws.client("kms").schedule_key_deletion(KeyId=customer.key_id, PendingWindowInDays=7)
    stack.delete()

    assert policies(aws, customer) == []
    assert objects(aws, customer) == []


def test_deleting_twice_is_deleting_once(aws: LocalAws, stack: Stack, customer: Lab, callback: Callback):
    before = snapshot(aws)
    stack.deploy(Connection=connection(customer))
    identity, stack_id = stack.ref(), stack.id()
    for _ in range(2):
        answer = callback.send("Delete", stack_id, connection(customer), PhysicalResourceId=identity)
        assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", identity)
        assert changes(before, snapshot(aws)) == []


@pytest.mark.parametrize(
    "identity", ["stack-Connection-1ABCDEFGHIJKL", "", "s3://gone/x/#0123456789abcdef", "s3://#*"]
)
def test_an_id_that_was_never_given_out_is_deleted_without_harm(
    aws: LocalAws, stack: Stack, customer: Lab, callback: Callback, identity: str
):
    """CloudFormation invents an id for a Create that it cancelled."""
    stack.deploy(Mine=connection(customer))
    before = snapshot(aws)
    answer = callback.send("Delete", stack.id(), connection(customer), PhysicalResourceId=identity)

    assert answer["Status"] == "SUCCESS"
    assert answer["PhysicalResourceId"] == identity or not identity
    assert changes(before, snapshot(aws)) == []


def test_a_connection_of_another_stack_is_not_deleted(aws: LocalAws, stack: Stack, customer: Lab, callback: Callback):
    stack.deploy(Connection=connection(customer))
    before = snapshot(aws)
    other_stack = stack.id().replace(stack.name, "another-stack")
    answer = callback.send("Delete", other_stack, connection(customer), PhysicalResourceId=stack.ref())

    assert answer["Status"] == "SUCCESS"
    assert changes(before, snapshot(aws)) == []
