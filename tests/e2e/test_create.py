"""What stands after a stack with a connection was created."""

import json
import re

import pytest

import illumina
from aws import ACCOUNT, Lab, LocalAws
from connection import (
    ROLE,
    attributes,
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
from stack import Stack


def test_a_connection_returns_every_value_of_icas_form(stack: Stack, customer: Lab):
    stack.deploy(Connection={"BucketName": customer.bucket, "KeyPrefix": "project-a/"})
    values = stack.attributes()

    reference = re.fullmatch(rf"s3://{customer.bucket}/project-a/#([0-9a-f]{{16}})", stack.ref())
    assert reference
    assert values == attributes(customer, "project-a/", f"ica-storage-{customer.bucket}-{reference[1]}")


def test_the_slash_at_the_end_of_the_prefix_may_be_left_out(aws: LocalAws, stack: Stack, customer: Lab):
    stack.deploy(Connection={"BucketName": customer.bucket, "KeyPrefix": "lab/project-a"})

    assert stack.attributes()["KeyPrefix"] == "lab/project-a/"
    assert objects(aws, customer) == ["lab/project-a/"]
    assert has_policy(aws, customer, "lab/project-a/", stack.attributes()["PolicyArn"], versioned=False)


@pytest.mark.parametrize("versioning", ["Unversioned", "Enabled", "Suspended"])
def test_the_policies_are_illuminas_to_the_letter(aws: LocalAws, stack: Stack, customer: Lab, versioning: str):
    versioned = versioning != "Unversioned"
    if versioned:
        set_versioning(aws, customer, "Enabled")
        set_versioning(aws, customer, versioning)
    stack.deploy(Connection={"BucketName": customer.bucket, "KeyPrefix": "project-a/"})
    values = stack.attributes()

    assert values["BucketVersioning"] == versioning
    assert has_policy(aws, customer, "project-a/", values["PolicyArn"], versioned=versioned)
    expected = illumina.bucket_policy_statement(ROLE, customer.bucket, versioned=versioned)
    assert illumina.same(bucket_statements(aws, customer), [expected])
    assert json.loads(values["BucketPolicyStatement"]) == expected


def test_the_policy_says_whose_it_is(aws: LocalAws, stack: Stack, customer: Lab):
    stack.deploy(
        Connection={"BucketName": customer.bucket, "KeyPrefix": "project-a/", "Tags": [{"Key": "lab", "Value": "A"}]}
    )

    found = tags(aws, stack.attributes()["PolicyArn"])
    assert found["ica-storage:stack-id"] == stack.id()
    assert found["ica-storage:logical-id"] == "Connection"
    assert found["ica-storage:state"] == "active"
    assert found["lab"] == "A"


def test_the_key_policy_gains_illuminas_statement_and_keeps_its_own(aws: LocalAws, stack: Stack, customer: Lab):
    before = key_statements(aws, customer)
    stack.deploy(Connection={"BucketName": customer.bucket, "KeyPrefix": "project-a/"})

    expected = illumina.key_policy_statement(ROLE)
    assert illumina.same(key_statements(aws, customer), [*before, expected])
    assert json.loads(stack.attributes()["KeyPolicyStatement"]) == expected


def test_the_bucket_policy_and_the_cors_rules_keep_what_was_there(aws: LocalAws, stack: Stack, customer: Lab):
    own_statement = {
        "Sid": "OnlyEncryptedConnections",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": f"arn:aws:s3:::{customer.bucket}/*",
        "Condition": {"Bool": {"aws:SecureTransport": "maybe"}},
    }
    own_rule = {"ID": "portal", "AllowedMethods": ["GET"], "AllowedOrigins": ["https://portal.example.org"]}
    s3 = aws.client("s3")
    own_policy = json.dumps({"Version": "2012-10-17", "Id": "mine", "Statement": own_statement})
    s3.put_bucket_policy(Bucket=customer.bucket, Policy=own_policy)
    s3.put_bucket_cors(Bucket=customer.bucket, CORSConfiguration={"CORSRules": [own_rule]})
    stack.deploy(Connection={"BucketName": customer.bucket, "KeyPrefix": "project-a/"})

    expected = illumina.bucket_policy_statement(ROLE, customer.bucket, versioned=False)
    assert illumina.same(bucket_statements(aws, customer), [own_statement, expected])
    assert cors_rules(aws, customer) == [own_rule, illumina.cors_rule()]

    stack.delete()
    assert bucket_statements(aws, customer) in ([own_statement], own_statement)
    assert cors_rules(aws, customer) == [own_rule]


def test_the_folder_is_encrypted_with_the_key(aws: LocalAws, stack: Stack, customer: Lab):
    stack.deploy(Connection={"BucketName": customer.bucket, "KeyPrefix": "project-a/"})

    folder = aws.client("s3").head_object(Bucket=customer.bucket, Key="project-a/")
    assert folder["ServerSideEncryption"] == "aws:kms"
    assert folder["SSEKMSKeyId"] == customer.key_arn
    assert folder["ContentType"] == "application/x-directory"
    assert folder["ContentLength"] == 0
    assert re.fullmatch("[0-9a-f]{16}", folder["Metadata"]["ica-storage-owner"])


def test_a_folder_that_is_there_is_used_as_it_is(aws: LocalAws, stack: Stack, customer: Lab):
    put_data(aws, customer, "project-a/")
    put_data(aws, customer, "project-a/sample.fastq")
    stack.deploy(Connection={"BucketName": customer.bucket, "KeyPrefix": "project-a/"})

    assert aws.client("s3").get_object(Bucket=customer.bucket, Key="project-a/")["Body"].read() == b"reads"


def test_an_alias_becomes_the_arn_of_its_key(aws: LocalAws, stack: Stack, customer: Lab):
    alias = f"alias/{customer.bucket}"
    aws.client("kms").create_alias(AliasName=alias, TargetKeyId=customer.key_id)
    stack.deploy(Connection={"BucketName": customer.bucket, "KeyPrefix": "project-a/", "KmsKeyId": alias})

    assert stack.attributes()["KeyName"] == customer.key_arn
    assert has_policy(aws, customer, "project-a/", stack.attributes()["PolicyArn"], versioned=False)


def test_the_whole_bucket_is_connected_only_on_request(aws: LocalAws, stack: Stack, customer: Lab):
    stack.deploy(Connection={"BucketName": customer.bucket, "AllowBucketRoot": True})
    values = stack.attributes()

    assert values["KeyPrefix"] == ""
    assert customer.bucket in values["Warnings"]
    assert objects(aws, customer) == []
    assert has_policy(aws, customer, "", values["PolicyArn"], versioned=False)


def test_nothing_is_written_that_a_switch_turns_off(aws: LocalAws, stack: Stack, customer: Lab):
    before = key_policy(aws, customer)
    switches = {"ConfigureKeyPolicy": False, "ConfigureBucketPolicy": False, "ConfigureCors": False}
    stack.deploy(Connection={"BucketName": customer.bucket, "KeyPrefix": "project-a/"} | switches)

    assert key_policy(aws, customer) == before
    with pytest.raises(Exception, match="NoSuchBucketPolicy"):
        bucket_statements(aws, customer)
    with pytest.raises(Exception, match="NoSuchCORSConfiguration"):
        cors_rules(aws, customer)
    # The statements are there to be written by hand.
    values = stack.attributes()
    assert json.loads(values["KeyPolicyStatement"]) == illumina.key_policy_statement(ROLE)
    assert json.loads(values["BucketPolicyStatement"])["Sid"] == "AllowCrossAccountAccess"


def test_the_policy_may_have_a_name_of_your_own(stack: Stack, customer: Lab):
    stack.deploy(Connection={"BucketName": customer.bucket, "KeyPrefix": "project-a/", "PolicyName": "ica-project-a"})

    assert stack.attributes() == attributes(customer, "project-a/", "ica-project-a")


def test_connections_of_one_bucket_share_its_statements(aws: LocalAws, stack: Stack, customer: Lab):
    stack.deploy(
        First={"BucketName": customer.bucket, "KeyPrefix": "project-a/"},
        Second={"BucketName": customer.bucket, "KeyPrefix": "project-b/"},
    )

    assert len(policies(aws, customer)) == 2
    assert key_statements(aws, customer)[1:] == [illumina.key_policy_statement(ROLE)]
    assert len(bucket_statements(aws, customer)) == 1
    assert len(cors_rules(aws, customer)) == 1


def test_a_role_of_another_account_is_refused_unless_it_is_allowed(aws: LocalAws, stack: Stack, customer: Lab):
    role = f"arn:aws:iam::{ACCOUNT}:role/mine"
    with pytest.raises(AssertionError, match="AssumeRoleArn"):
        stack.deploy(Connection={"BucketName": customer.bucket, "KeyPrefix": "project-a/", "AssumeRoleArn": role})
    assert policies(aws, customer) == []
