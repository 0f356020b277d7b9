"""The binary as a person starts it: docs/command-line.md, and what its commands promise."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

import illumina
from aws import REGION, Lab, LocalAws, changes, snapshot
from conftest import ROOT
from runtime import BOOTSTRAP
from stack import Stack

PAGE = (ROOT / "docs/command-line.md").read_text()
KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BOOTSTRAP, *arguments],
        input=stdin,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def commands() -> list[str]:
    """Every command of the page, but for the one that builds the binary."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert any(line.startswith("make cli ") for line in lines)
    assert "\ncli:" in (ROOT / "Makefile").read_text()
    return [line for line in lines if not line.startswith("make ")]


def test_every_command_of_the_page_does_what_it_says(aws: LocalAws, stack: Stack, customer: Lab, tmp_path: Path):
    stack.deploy(Connection={"BucketName": customer.bucket, "KeyPrefix": "project-a/"})
    alias = f"alias/{customer.bucket}"
    aws.client("kms").create_alias(AliasName=alias, TargetKeyId=customer.key_id)
    (tmp_path / "ica-storage").symlink_to(BOOTSTRAP)
    properties = {"BucketName": customer.bucket, "KeyPrefix": "project-a/"}
    (tmp_path / "connection.json").write_text(json.dumps(properties))
    before = snapshot(aws)
    asked = commands()
    assert len(asked) > 10
    for command in asked:
        here = command.replace("my-bucket", customer.bucket).replace("alias/lab", alias)
        # Where the page shows all connections, other tests may have left some that drifted.
        path = f"{tmp_path}:{os.environ['PATH']}"
        done = subprocess.run(
            here,
            shell=True,
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode in (0, 1), done.stderr) == (True, ""), f"{here}: {done.stderr}"
        assert done.stdout, here
        assert "\x1b" not in done.stdout, here
        if "--output json" in here:
            json.loads(done.stdout)
    assert changes(before, snapshot(aws)) == []


def test_verify_tells_by_its_exit_code(aws: LocalAws, stack: Stack, customer: Lab):
    stack.deploy(Connection={"BucketName": customer.bucket, "KeyPrefix": "project-a/"})
    healthy = run("verify", "--bucket", customer.bucket)
    assert (healthy.returncode, healthy.stderr) == (0, "")
    assert f"healthy s3://{customer.bucket}/project-a/\n" in healthy.stdout
    assert "1 connection: 1 healthy, 0 drifted, 0 broken\n" in healthy.stdout

    aws.client("s3").delete_bucket_cors(Bucket=customer.bucket)
    drifted = run("verify", "--stack", stack.name)
    assert drifted.returncode == 1
    assert f"    CORS configuration of {customer.bucket}\n" in drifted.stdout
    assert "        found     nothing\n" in drifted.stdout
    told = json.loads(run("verify", "--bucket", customer.bucket, "--output", "json").stdout)
    assert [finding["What"] for finding in told["Connections"][0]["Findings"]] == ["CORS configuration"]


def test_a_plan_tells_by_its_exit_code(stack: Stack, customer: Lab):
    place = ("--bucket", customer.bucket, "--prefix", "project-a/")
    planned = run("plan", *place)
    assert planned.returncode == 1
    assert planned.stdout.startswith("--- /dev/null\n+++ IAM policy of arn:aws:iam::")
    assert planned.stdout.endswith("\n6 documents would be written\n")
    refused = run("plan", "--bucket", "no-such-bucket", "--prefix", "*")
    assert refused.returncode == 1
    assert refused.stdout.startswith("InvalidRequest: property `KeyPrefix`: ")

    stack.deploy(Connection={"BucketName": customer.bucket, "KeyPrefix": "project-a/"})
    nothing = run("plan", *place)
    assert (nothing.returncode, nothing.stdout) == (0, "nothing would be written\n")
    properties = json.dumps({"BucketName": customer.bucket, "KeyPrefix": "project-a/"})
    assert run("plan", "--properties", "-", stdin=properties).returncode == 0


@pytest.mark.parametrize("versioning", ["Unversioned", "Enabled"])
def test_the_documents_are_illuminas_and_nobody_is_asked(versioning: str):
    arguments = ("--bucket", "my-bucket", "--prefix", "project-a", "--kms-key", KEY, "--versioning", versioning)
    # There is nobody to ask.
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "", "AWS_ACCESS_KEY_ID": ""}
    done = run("policy", *arguments, "--output", "json", **nowhere)
    assert (done.returncode, done.stderr) == (0, "")
    told, versioned = json.loads(done.stdout), versioning == "Enabled"
    role = illumina.role(REGION)
    assert told["Policy"] == illumina.policy(KEY, "my-bucket", "project-a/", versioned=versioned)
    assert told["KeyPolicyStatement"] == illumina.key_policy_statement(role)
    assert told["BucketPolicyStatement"] == illumina.bucket_policy_statement(role, "my-bucket", versioned=versioned)
    assert told["CorsRule"] == illumina.cors_rule()
    text = run("policy", *arguments, **nowhere).stdout
    assert text.startswith("# IAM policy for ICA's credential\n{\n")
    assert json.loads(text.split("# Storage configuration in ICA\n")[1]) == told["StorageConfiguration"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["destroy"], "unexpected argument"),
        (["verify", "--everything"], "invalid option '--everything'"),
        (["policy", "--bucket", "my-bucket", "--prefix", "a", "--kms-key", "alias/lab"], "is no key ARN"),
        (["policy", "--bucket", "My", "--prefix", "a", "--kms-key", KEY], "is not a bucket's name"),
        (["policy", "--bucket", "my-bucket", "--prefix", "a"], "`KmsKeyId`: is required and missing"),
    ],
)
def test_what_is_not_understood_is_said_on_standard_error(arguments: list[str], expected: str):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr


def test_an_account_that_does_not_answer_is_no_verdict():
    done = run("verify", AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_MAX_ATTEMPTS="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("NetworkFailure: sts:GetCallerIdentity on `the caller`: ")
