"""What a connection leaves in the account, and what it should have left there."""

import json
from typing import Any

import illumina
from aws import ACCOUNT, REGION, Lab, LocalAws, bucket_state, policy_document

ROLE = illumina.role(REGION)


def attributes(customer: Lab, prefix: str, policy_name: str, versioning: str = "Unversioned") -> dict[str, str]:
    """Every attribute of a connection that lets ICA copy across accounts."""
    versioned = versioning != "Unversioned"
    return {
        "BucketName": customer.bucket,
        "KeyPrefix": prefix,
        "Region": REGION,
        "Algorithm": "aws:kms",
        "KeyName": customer.key_arn,
        "BucketVersioning": versioning,
        "PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/ica-storage/{customer.bucket}/{prefix}{policy_name}",
        "PolicyName": policy_name,
        "AssumeRoleArn": ROLE,
        "StorageConfiguration": _compact(
            {
                "type": "AWS_S3",
                "awsDetails": {
                    "bucketName": customer.bucket,
                    "keyPrefix": prefix,
                    "serverSideEncryptionAlgorithm": "aws:kms",
                    "serverSideEncryptionKey": customer.key_arn,
                },
            }
        ),
        "KeyPolicyStatement": _compact(illumina.key_policy_statement(ROLE)),
        "BucketPolicyStatement": _compact(
            illumina.bucket_policy_statement(ROLE, customer.bucket, versioned=versioned)
        ),
        "Warnings": "",
        "Changes": "",
    }


def has_policy(aws: LocalAws, customer: Lab, prefix: str, policy_arn: str, *, versioned: bool) -> bool:
    """Whether the IAM policy is Illumina's document, to the letter."""
    expected = illumina.policy(customer.key_arn, customer.bucket, prefix, versioned=versioned)
    return illumina.same(policy_document(aws, policy_arn), expected)


def key_policy(aws: LocalAws, customer: Lab) -> str:
    """The key policy, as it is stored."""
    return aws.client("kms").get_key_policy(KeyId=customer.key_id, PolicyName="default")["Policy"]


def key_statements(aws: LocalAws, customer: Lab) -> list[dict[str, Any]]:
    return json.loads(key_policy(aws, customer))["Statement"]


def bucket_statements(aws: LocalAws, customer: Lab) -> list[dict[str, Any]]:
    return json.loads(aws.client("s3").get_bucket_policy(Bucket=customer.bucket)["Policy"])["Statement"]


def cors_rules(aws: LocalAws, customer: Lab) -> list[dict[str, Any]]:
    return aws.client("s3").get_bucket_cors(Bucket=customer.bucket)["CORSRules"]


def policies(aws: LocalAws, customer: Lab) -> list[str]:
    """The names of all policies that were made for the bucket."""
    path = f"/ica-storage/{customer.bucket}/"
    listed = aws.client("iam").list_policies(Scope="Local", PathPrefix=path)["Policies"]
    return [policy["PolicyName"] for policy in listed]


def tags(aws: LocalAws, policy_arn: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in aws.client("iam").list_policy_tags(PolicyArn=policy_arn)["Tags"]}


def traces(aws: LocalAws, customer: Lab) -> dict[str, Any]:
    """Everything that connections of this bucket with its key could change, whatever else goes on in the account."""
    bucket = bucket_state(aws.client("s3"), customer.bucket)
    del bucket["versioning"]  # which a test may change
    return {"key": key_policy(aws, customer), "bucket": bucket, "policies": policies(aws, customer)}


def objects(aws: LocalAws, customer: Lab) -> list[str]:
    """The keys of all objects that are in the bucket."""
    return [item["Key"] for item in aws.client("s3").list_objects_v2(Bucket=customer.bucket).get("Contents", [])]


def put_data(aws: LocalAws, customer: Lab, key: str) -> None:
    aws.client("s3").put_object(Bucket=customer.bucket, Key=key, Body=b"reads")


def set_versioning(aws: LocalAws, customer: Lab, status: str) -> None:
    aws.client("s3").put_bucket_versioning(Bucket=customer.bucket, VersioningConfiguration={"Status": status})


def _compact(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"))


def invoke(aws: LocalAws, service_token: str, event: dict[str, Any]) -> Any:
    """What the function answers to an event that is not CloudFormation's."""
    reply = aws.client("lambda").invoke(FunctionName=service_token, Payload=json.dumps(event))
    result = json.loads(reply["Payload"].read())
    if "FunctionError" in reply:
        raise AssertionError(result["errorMessage"])
    return result
