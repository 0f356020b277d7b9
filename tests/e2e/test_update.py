"""What an update changes, in place or by a replacement, and what it leaves alone."""

import json

import pytest

import illumina
from aws import REGION, Lab, LocalAws, changes, lab, snapshot
from connection import (
    ROLE,
    bucket_statements,
    cors_rules,
    has_policy,
    key_policy,
    key_statements,
    objects,
    policies,
    put_data,
    set_versioning,
    tags,
)
from stack import Properties, Stack


def connection(customer: Lab, **properties: object) -> Properties:
    return {"BucketName": customer.bucket, "KeyPrefix": "project-a/"} | properties


def tagged(value: str) -> Properties:
    """A property that changes nothing but the tags of the policy."""
    return {"Tags": [{"Key": "lab", "Value": value}]}


def test_new_tags_change_the_tags_alone(aws: LocalAws, stack: Stack, customer: Lab):
    stack.deploy(Connection=connection(customer, **tagged("A")))
    reference, values, before = stack.ref(), stack.attributes(), snapshot(aws)
    stack.deploy(Connection=connection(customer, Tags=[{"Key": "group", "Value": "B"}]))

    found = tags(aws, values["PolicyArn"])
    assert (found.get("lab"), found.get("group")) == (None, "B")
    assert (stack.ref(), stack.attributes()) == (reference, values)
    after = snapshot(aws)
    before["policies"][values["PolicyArn"]].pop("tags")
    after["policies"][values["PolicyArn"]].pop("tags")
    assert changes(before, after) == []


def test_the_policy_follows_the_versioning_of_the_bucket(aws: LocalAws, stack: Stack, customer: Lab):
    stack.deploy(Connection=connection(customer, **tagged("A")))
    set_versioning(aws, customer, "Enabled")
    stack.deploy(Connection=connection(customer, **tagged("B")))

    values = stack.attributes()
    assert values["BucketVersioning"] == "Enabled"
    assert has_policy(aws, customer, "project-a/", values["PolicyArn"], versioned=True)
    expected = illumina.bucket_policy_statement(ROLE, customer.bucket, versioned=True)
    assert illumina.same(bucket_statements(aws, customer), [expected])


def test_many_updates_do_not_run_out_of_policy_versions(aws: LocalAws, stack: Stack, customer: Lab):
    keys = [customer, *(lab(aws, f"{customer.bucket}-{number}") for number in range(6))]
    for key in keys:
        stack.deploy(Connection=connection(customer, KmsKeyId=key.key_id))

    arn = stack.attributes()["PolicyArn"]
    versions = aws.client("iam").list_policy_versions(PolicyArn=arn)["Versions"]
    assert len(versions) <= 5
    assert has_policy(aws, Lab(customer.bucket, key.key_id, key.key_arn), "project-a/", arn, versioned=False)


def test_cross_account_access_can_be_taken_back_and_given_again(aws: LocalAws, stack: Stack, customer: Lab):
    before = key_policy(aws, customer)
    stack.deploy(Connection=connection(customer))
    granted = stack.attributes()
    stack.deploy(Connection=connection(customer, CrossAccountAccess=False))

    values = stack.attributes()
    assert key_policy(aws, customer) == before
    with pytest.raises(Exception, match="NoSuchBucketPolicy"):
        bucket_statements(aws, customer)
    assert [values[name] for name in ("AssumeRoleArn", "KeyPolicyStatement", "BucketPolicyStatement")] == ["", "", ""]
    # Uploads from the browser are another matter.
    assert cors_rules(aws, customer) == [illumina.cors_rule()]

    stack.deploy(Connection=connection(customer))
    assert stack.attributes() == granted
    assert key_statements(aws, customer)[1:] == [illumina.key_policy_statement(ROLE)]


def test_another_role_takes_the_place_of_the_first(aws: LocalAws, stack: Stack, customer: Lab):
    stack.deploy(Connection=connection(customer))
    other = illumina.role("eu-west-2")
    assert other != illumina.role(REGION)
    stack.deploy(Connection=connection(customer, AssumeRoleArn=other))

    assert stack.attributes()["AssumeRoleArn"] == other
    assert illumina.same(key_statements(aws, customer)[1:], [illumina.key_policy_statement(other)])
    assert [statement["Principal"] for statement in bucket_statements(aws, customer)] == [{"AWS": other}]


def test_another_key_takes_the_place_of_the_first(aws: LocalAws, stack: Stack, customer: Lab):
    before = key_policy(aws, customer)
    stack.deploy(Connection=connection(customer))
    reference = stack.ref()
    other = lab(aws, f"{customer.bucket}-other")
    stack.deploy(Connection=connection(customer, KmsKeyId=other.key_arn))

    values = stack.attributes()
    assert stack.ref() == reference
    assert values["KeyName"] == other.key_arn
    assert "default encryption" in values["Warnings"]
    assert has_policy(
        aws, Lab(customer.bucket, other.key_id, other.key_arn), "project-a/", values["PolicyArn"], versioned=False
    )
    assert key_statements(aws, other)[1:] == [illumina.key_policy_statement(ROLE)]
    assert key_policy(aws, customer) == before


def test_an_update_repairs_what_was_changed_by_hand(aws: LocalAws, stack: Stack, customer: Lab):
    stack.deploy(Connection=connection(customer, **tagged("A")))
    s3, kms = aws.client("s3"), aws.client("kms")
    own, ours = key_statements(aws, customer)
    edited = json.dumps({"Version": "2012-10-17", "Statement": [own, ours | {"Action": "kms:DescribeKey"}]})
    kms.put_key_policy(KeyId=customer.key_id, PolicyName="default", Policy=edited)
    s3.delete_bucket_policy(Bucket=customer.bucket)
    s3.delete_bucket_cors(Bucket=customer.bucket)
    s3.delete_object(Bucket=customer.bucket, Key="project-a/")
    stack.deploy(Connection=connection(customer, **tagged("B")))

    assert key_statements(aws, customer) == [own, illumina.key_policy_statement(ROLE)]
    assert len(bucket_statements(aws, customer)) == 1
    assert cors_rules(aws, customer) == [illumina.cors_rule()]
    assert objects(aws, customer) == ["project-a/"]


def test_another_prefix_is_another_connection(aws: LocalAws, stack: Stack, customer: Lab):
    stack.deploy(Connection=connection(customer))
    first, old_policy = stack.ref(), stack.attributes()["PolicyName"]
    stack.deploy(Connection=connection(customer, KeyPrefix="project-b/"))

    values = stack.attributes()
    assert stack.ref() != first
    assert stack.ref().startswith(f"s3://{customer.bucket}/project-b/#")
    assert policies(aws, customer) == [values["PolicyName"]] != [old_policy]
    assert objects(aws, customer) == ["project-b/"]
    # The old one is gone, and took nothing along that the new one needs.
    assert key_statements(aws, customer)[1:] == [illumina.key_policy_statement(ROLE)]
    assert len(bucket_statements(aws, customer)) == 1
    assert cors_rules(aws, customer) == [illumina.cors_rule()]


def test_a_connection_may_move_into_its_own_folder(aws: LocalAws, stack: Stack, customer: Lab):
    stack.deploy(Connection=connection(customer))
    put_data(aws, customer, "project-a/sample.fastq")
    stack.deploy(Connection=connection(customer, KeyPrefix="project-a/reads/"))

    assert stack.attributes()["KeyPrefix"] == "project-a/reads/"
    assert "project-a/sample.fastq" in objects(aws, customer)


def test_another_bucket_takes_over(aws: LocalAws, stack: Stack, customer: Lab):
    before = snapshot(aws)
    stack.deploy(Connection=connection(customer))
    other = lab(aws, f"{customer.bucket}-other")
    stack.deploy(Connection=connection(other))

    after = snapshot(aws)
    assert changes(before["keys"][customer.key_id], after["keys"][customer.key_id]) == []
    assert changes(before["buckets"][customer.bucket], after["buckets"][customer.bucket]) == []
    assert stack.attributes()["BucketName"] == other.bucket
    assert len(bucket_statements(aws, other)) == 1


def test_a_name_of_your_own_has_to_change_with_the_prefix(aws: LocalAws, stack: Stack, customer: Lab):
    stack.deploy(Connection=connection(customer, PolicyName="ica-" + customer.bucket))
    before = stack.attributes()
    with pytest.raises(AssertionError, match=r"AlreadyExists.*PolicyName"):
        stack.deploy(Connection=connection(customer, PolicyName="ica-" + customer.bucket, KeyPrefix="project-b/"))

    assert stack.attributes() == before
    assert policies(aws, customer) == ["ica-" + customer.bucket]
    assert objects(aws, customer) == ["project-a/"]
