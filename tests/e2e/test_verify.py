"""Verify, Plan and DryRun: what stands is told, what would be written is told, and nothing is written."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from aws import Lab, LocalAws, changes, lab, snapshot
from connection import bucket_statements, cors_rules, invoke, key_statements, set_versioning, tags
from stack import Properties, Stack


def connection(customer: Lab, **properties: object) -> Properties:
    return {"BucketName": customer.bucket, "KeyPrefix": "project-a/"} | properties


@pytest.fixture
def verify(aws: LocalAws, service_token: str, customer: Lab) -> Callable[[], dict[str, Any]]:
    """The one connection of the customer's bucket, as the function finds it."""

    def one() -> dict[str, Any]:
        report = invoke(aws, service_token, {"Action": "Verify", "BucketName": customer.bucket})
        [found] = report["Connections"]
        assert report["Status"] == found["Status"]
        return found

    return one


def drift_key_policy(aws: LocalAws, customer: Lab) -> None:
    own = {"Version": "2012-10-17", "Statement": key_statements(aws, customer)[:1]}
    aws.client("kms").put_key_policy(KeyId=customer.key_id, PolicyName="default", Policy=json.dumps(own))


def drift_encryption(aws: LocalAws, customer: Lab) -> None:
    other = lab(aws, f"{customer.bucket}-other")
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": other.key_arn}
    rules = [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}]
    aws.client("s3").put_bucket_encryption(
        Bucket=customer.bucket, ServerSideEncryptionConfiguration={"Rules": rules}
    )


def policy_arn(aws: LocalAws, customer: Lab) -> str:
    listed = aws.client("iam").list_policies(Scope="Local", PathPrefix=f"/ica-storage/{customer.bucket}/")
    [policy] = listed["Policies"]
    return policy["Arn"]


def drift_policy(aws: LocalAws, customer: Lab) -> None:
    nothing = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}
    aws.client("iam").create_policy_version(
        PolicyArn=policy_arn(aws, customer), PolicyDocument=json.dumps(nothing), SetAsDefault=True
    )


def drift_tags(aws: LocalAws, customer: Lab) -> None:
    edited = [{"Key": "ica-storage:state", "Value": "odd"}]
    aws.client("iam").tag_policy(PolicyArn=policy_arn(aws, customer), Tags=edited)


def drift_bucket_policy(aws: LocalAws, customer: Lab) -> None:
    aws.client("s3").delete_bucket_policy(Bucket=customer.bucket)


def drift_cors(aws: LocalAws, customer: Lab) -> None:
    aws.client("s3").delete_bucket_cors(Bucket=customer.bucket)


def drift_folder(aws: LocalAws, customer: Lab) -> None:
    aws.client("s3").delete_object(Bucket=customer.bucket, Key="project-a/")


def drift_versioning(aws: LocalAws, customer: Lab) -> None:
    set_versioning(aws, customer, "Enabled")


@pytest.mark.parametrize(
    ("drift", "told"),
    [
        (drift_key_policy, ["key policy"]),
        (drift_bucket_policy, ["bucket policy"]),
        (drift_cors, ["CORS configuration"]),
        (drift_policy, ["IAM policy"]),
        (drift_tags, ["tags of the IAM policy"]),
        (drift_versioning, ["IAM policy", "bucket policy"]),
        (drift_folder, ["folder"]),
        (drift_encryption, ["IAM policy", "tags of the IAM policy", "key policy", "key policy"]),
    ],
)
def test_every_drift_is_told_and_healed_by_the_next_update(
    aws: LocalAws,
    stack: Stack,
    customer: Lab,
    verify: Callable[[], dict[str, Any]],
    drift: Callable[[LocalAws, Lab], None],
    told: list[str],
):
    stack.deploy(Connection=connection(customer))
    found = verify()
    assert (found["Status"], found["Findings"], found["Warnings"]) == ("healthy", [], [])
    assert (found["StackId"], found["LogicalResourceId"]) == (stack.id(), "Connection")
    assert (found["BucketName"], found["KeyPrefix"]) == (customer.bucket, "project-a/")
    assert found["PolicyArn"] == stack.attributes()["PolicyArn"]

    drift(aws, customer)
    found = verify()
    assert found["Status"] == "drifted"
    assert [finding["What"] for finding in found["Findings"]] == told
    assert all(f"update stack `{stack.name}` " in finding["Remedy"] for finding in found["Findings"])

    # As the remedy says.
    stack.deploy(Connection=connection(customer, ServiceTimeout=61))
    found = verify()
    assert (found["Status"], found["Findings"]) == ("healthy", [])


def test_a_connection_that_cannot_be_healed_is_broken(
    aws: LocalAws, stack: Stack, customer: Lab, verify: Callable[[], dict[str, Any]]
):
    stack.deploy(Connection=connection(customer))
    aws.client("kms").disable_key(KeyId=customer.key_id)
    found = verify()
    aws.client("kms").enable_key(KeyId=customer.key_id)

    assert found["Status"] == "broken"
    [finding] = found["Findings"]
    assert "is disabled" in finding["Found"]
    assert finding["Remedy"] == "enable it, or name another key"


def test_the_record_says_where_the_key_comes_from(aws: LocalAws, stack: Stack, customer: Lab):
    stack.deploy(Connection=connection(customer))
    arn = stack.attributes()["PolicyArn"]
    assert tags(aws, arn)["ica-storage:kms-key-source"] == "default-encryption"
    stack.deploy(Connection=connection(customer, KmsKeyId=customer.key_id))
    assert tags(aws, arn)["ica-storage:kms-key-source"] == customer.key_id


def test_a_look_at_everything_is_counted_and_what_is_wrong_is_logged(
    aws: LocalAws, service_token: str, stack: Stack, customer: Lab
):
    stack.deploy(Connection=connection(customer))
    drift_cors(aws, customer)
    before, began = snapshot(aws), time.time()
    report = invoke(aws, service_token, {"Action": "Verify"})
    assert changes(before, snapshot(aws)) == []

    counts = report["Counts"]
    assert counts["Connections"] == len(report["Connections"]) >= 1
    assert counts["Healthy"] + counts["Drifted"] + counts["Broken"] == counts["Connections"]
    logged = _log(aws, began)
    line = [json.loads(line) for line in logged if line.startswith("{") and '"Connections":' in line][-1]
    assert [line[name] for name in ("Connections", "Healthy", "Drifted", "Broken")] == [
        counts[name] for name in ("Connections", "Healthy", "Drifted", "Broken")
    ]
    arn = stack.attributes()["PolicyArn"]
    [told] = [line for line in logged if "not as it should be" in line and arn in line]
    assert 'what="CORS configuration"' in told


def test_a_plan_shows_the_difference_and_every_refusal(
    aws: LocalAws, service_token: str, stack: Stack, customer: Lab
):
    event = {"Action": "Plan", "ResourceProperties": connection(customer)}
    before = snapshot(aws)
    planned = invoke(aws, service_token, event)
    assert changes(before, snapshot(aws)) == []
    assert (planned["PolicyArn"], planned["Refusals"]) == (None, [])
    told = [change["What"] for change in planned["Changes"]]
    assert told == [
        "IAM policy",
        "tags of the IAM policy",
        "key policy",
        "bucket policy",
        "CORS configuration",
        "folder",
    ]
    key = planned["Changes"][2]["Diff"]
    assert '+      "Sid": "AllowCrossAccountAccess",\n' in key
    assert f"--- key policy of {customer.key_arn}\n" in key

    stack.deploy(Connection=connection(customer))
    planned = invoke(aws, service_token, event)
    assert (planned["PolicyArn"], planned["Changes"]) == (stack.attributes()["PolicyArn"], [])

    wrong = {"BucketName": customer.bucket, "KeyPrefix": "a/*", "Configurecors": "no"}
    refused = invoke(aws, service_token, {"Action": "Plan", "ResourceProperties": wrong})
    assert [refusal["Property"] for refusal in refused["Refusals"]] == ["Configurecors", "KeyPrefix"]


def test_a_dry_run_writes_nothing_and_what_it_tells_is_then_done(aws: LocalAws, stack: Stack, customer: Lab):
    before = snapshot(aws)
    stack.deploy(Connection=connection(customer, DryRun=True))
    assert changes(before, snapshot(aws)) == []
    told = stack.attributes()
    assert "+++ IAM policy of arn:aws:iam::" in told["Changes"]

    stack.deploy(Connection=connection(customer, DryRun=False))
    assert stack.attributes() == told | {"Changes": ""}
    assert len(key_statements(aws, customer)) == 2
    reference, standing = stack.ref(), snapshot(aws)

    stack.deploy(Connection=connection(customer, KeyPrefix="project-b/", DryRun=True))
    assert (stack.ref(), changes(standing, snapshot(aws))) == (reference, [])
    assert stack.attributes()["Changes"].startswith("replacement: s3://")

    stack.deploy(Connection=connection(customer, KeyPrefix="project-b/"))
    assert stack.ref().startswith(f"s3://{customer.bucket}/project-b/#")
    assert (len(bucket_statements(aws, customer)), len(cors_rules(aws, customer))) == (1, 1)
    stack.deploy(Connection=connection(customer, KeyPrefix="project-c/", DryRun=True))
    stack.delete()
    assert changes(before, snapshot(aws)) == []


def test_an_action_that_there_is_none_of_is_an_error(aws: LocalAws, service_token: str):
    with pytest.raises(AssertionError, match=r"InvalidRequest: property `Action`: `Destroy` is none"):
        invoke(aws, service_token, {"Action": "Destroy"})


def _log(aws: LocalAws, since: float) -> list[str]:
    logs = aws.client("logs")
    pages = logs.get_paginator("filter_log_events").paginate
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    begin = int(since * 1000)
    found = [page["events"] for group in groups for page in pages(logGroupName=group, startTime=begin)]
    return [event["message"] for events in found for event in events]
