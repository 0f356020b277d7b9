"""A local AWS for the demo and the end-to-end tests: MiniStack as a child process on 127.0.0.1.

    with LocalAws() as aws:
        aws.client("s3").list_buckets()

While it runs, the environment of this process is the environment of the local account: the caller's own
AWS configuration is out of reach, of boto3 here and of every command started from here, and what is not
on this machine is out of reach as well.
"""

import copy
import difflib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

HOST = "127.0.0.1"
ACCOUNT = "123456789012"
REGION = "us-east-1"

# Of the account's root. Nobody has to guess them, but whatever prints them would print yours.
SECRET_ACCESS_KEY = "secret-access-key-of-the-local-account"
SESSION_TOKEN = "session-token-of-the-local-account"

# Nothing listens there: whoever does not honour AWS_ENDPOINT_URL fails at once instead of leaving the machine.
NOWHERE = f"http://{HOST}:9"

# Seconds. It starts in half a second; a busy two-core machine may need a few.
START_TIMEOUT = 60
STOP_TIMEOUT = 10


class NotStarted(Exception):
    """MiniStack gave up, or did not answer in time; the message ends with its log."""


class LocalAws:
    """MiniStack, from `with` to the end of the block, whatever ends it."""

    def __init__(self, *, auth: bool = False) -> None:
        """`auth` makes it enforce IAM, key policies and bucket policies; without, everything is allowed."""
        self.auth = auth
        self.account = ACCOUNT
        self.directory = Path(tempfile.mkdtemp(prefix="ica-storage-aws-"))
        self.log = self.directory / "ministack.log"
        self.port = 0
        self._clients: dict[tuple[Any, ...], Any] = {}
        self._making = threading.Lock()

    @property
    def endpoint(self) -> str:
        """Where every AWS service answers."""
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> "LocalAws":
        self._outer_environment = dict(os.environ)
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def client(self, service: str, **credentials: str) -> Any:
        """A boto3 client of the local account: as its root, unless other credentials are given."""
        config = Config(retries={"total_max_attempts": 1}, proxies={})
        if not credentials and self.account != ACCOUNT:
            credentials = {"aws_access_key_id": self.account, "aws_secret_access_key": "test"}
        wanted = service, *sorted(credentials.items())
        # Several threads may use a client, but not make one; and making one takes longer than using it.
        with self._making:
            if wanted not in self._clients:
                client = boto3.client(service, endpoint_url=self.endpoint, config=config, **credentials)
                self._clients[wanted] = client
            return self._clients[wanted]

    def in_account(self, account: str) -> "LocalAws":
        """The same, seen by the root of another account."""
        other = copy.copy(self)
        other.account = account
        return other

    def settings(self) -> dict[str, str]:
        """What a shell has to export to talk to the local account."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            # A number of twelve digits is the root of that account, and "test" of the first.
            "AWS_ACCESS_KEY_ID": "test" if self.account == ACCOUNT else self.account,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "AWS_SESSION_TOKEN": SESSION_TOKEN,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _start(self) -> None:
        self.port = _free_port()
        environment = self._environment()
        os.environ.clear()
        os.environ.update(environment)
        self._process = subprocess.Popen(
            [Path(sys.executable).with_name("ministack")],
            env=os.environ | self._own_settings(),
            stdin=subprocess.DEVNULL,
            stdout=self.log.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a process group of its own: the functions that it starts are stopped with it
        )
        self._await_health()

    def _environment(self) -> dict[str, str]:
        ours = ("AWS_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(ours)}
        return (
            kept
            | self.settings()
            | {
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
                "SAM_CLI_TELEMETRY": "0",
                "__SAM_CLI_APP_DIR": str(self.directory),
                "HTTP_PROXY": NOWHERE,
                "HTTPS_PROXY": NOWHERE,
                "NO_PROXY": f"{HOST},localhost",
            }
        )

    def _own_settings(self) -> dict[str, str]:
        """MiniStack's own; AWS_ENDPOINT_URL, which it hands on to the functions, is in the environment."""
        return {
            "BIND_HOST": HOST,  # it would listen on every interface
            "IOT_MTLS_ENABLED": "0",  # a second listener, on every interface whatever BIND_HOST says
            "MINISTACK_HOST": HOST,  # in the URLs that it gives out
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "AUTH": str(self.auth).lower(),
            "STATE_DIR": str(self.directory / "state"),
            "S3_DATA_DIR": str(self.directory / "s3"),
            "TMPDIR": str(self.directory),
        }

    def _await_health(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with suppress(urllib.error.URLError, OSError):
                _open(f"{self.endpoint}/_ministack/health")
                return
            time.sleep(0.05)
        log = self.log.read_text(errors="replace")[-2000:]
        raise NotStarted(f"MiniStack did not start on {self.endpoint}; its log ends with:\n{log}")

    def _stop(self) -> None:
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave it running
        if process := getattr(self, "_process", None):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
        os.environ.clear()
        os.environ.update(self._outer_environment)
        signal.signal(signal.SIGINT, interrupt)


def end_on_signals() -> None:
    """Let SIGTERM and a closed terminal end Python as Ctrl-C does, through every `with` on the way."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _open(url: str) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    direct.open(url, timeout=5).close()


@dataclass(frozen=True)
class Lab:
    """What a customer has before ICA comes in: a bucket and the key that encrypts it."""

    bucket: str
    key_id: str
    key_arn: str


# The policy that KMS gives a new key, as it writes it: the account decides, through IAM.
DEFAULT_KEY_POLICY = (
    """{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::%s:root"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}"""
    % ACCOUNT
)


def lab(aws: LocalAws, bucket: str) -> Lab:
    """Make a customer managed key and a bucket encrypted with it, as Illumina's page says."""
    policy = DEFAULT_KEY_POLICY.replace(ACCOUNT, aws.account)
    key = aws.client("kms").create_key(Description=f"Encrypts {bucket}", Policy=policy)["KeyMetadata"]
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [
                {
                    "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key["Arn"]},
                    "BucketKeyEnabled": True,
                }
            ]
        },
    )
    # As every new bucket has it on AWS.
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    return Lab(bucket, key["KeyId"], key["Arn"])


def policy_document(aws: LocalAws, arn: str) -> dict[str, Any]:
    """What an IAM policy says now."""
    iam = aws.client("iam")
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    return iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]


def snapshot(aws: LocalAws) -> dict[str, Any]:
    """Everything in the account that a connection could change, to be compared before and after.

    Policies are text, so that a changed order counts as a change. Dates are left out.
    """
    return {"keys": _keys(aws), "policies": _policies(aws), "principals": _principals(aws), "buckets": _buckets(aws)}


def changes(before: Any, after: Any) -> list[str]:
    """The lines in which two snapshots or documents differ, with their neighbours; commas do not count."""
    texts = [json.dumps(document, indent=2).replace(",\n", "\n").splitlines() for document in (before, after)]
    lines = list(difflib.unified_diff(*texts, n=1, lineterm=""))[2:]
    return ["  ..." if line.startswith("@@") else line for line in lines]


def _keys(aws: LocalAws) -> dict[str, str]:
    kms = aws.client("kms")
    return {
        key["KeyId"]: kms.get_key_policy(KeyId=key["KeyId"], PolicyName="default")["Policy"]
        for key in _pages(kms, "list_keys", "Keys")
    }


def _policies(aws: LocalAws) -> dict[str, Any]:
    iam = aws.client("iam")

    def one(arn: str) -> dict[str, Any]:
        versions = _pages(iam, "list_policy_versions", "Versions", PolicyArn=arn)
        attached = iam.list_entities_for_policy(PolicyArn=arn)
        return {
            "versions": {
                version["VersionId"]: json.dumps(
                    iam.get_policy_version(PolicyArn=arn, VersionId=version["VersionId"])["PolicyVersion"]["Document"]
                )
                for version in versions
            },
            "default": [version["VersionId"] for version in versions if version["IsDefaultVersion"]],
            "tags": _tags(iam.list_policy_tags(PolicyArn=arn)),
            "attached": {kind: attached[kind] for kind in ("PolicyUsers", "PolicyGroups", "PolicyRoles")},
        }

    return {policy["Arn"]: one(policy["Arn"]) for policy in _pages(iam, "list_policies", "Policies", Scope="Local")}


def _principals(aws: LocalAws) -> dict[str, Any]:
    iam = aws.client("iam")
    roles = {
        role["Arn"]: {
            "trust": json.dumps(role["AssumeRolePolicyDocument"]),
            "inline": _pages(iam, "list_role_policies", "PolicyNames", RoleName=role["RoleName"]),
            "managed": _pages(iam, "list_attached_role_policies", "AttachedPolicies", RoleName=role["RoleName"]),
        }
        for role in _pages(iam, "list_roles", "Roles")
    }
    users = {
        user["Arn"]: {
            "inline": _pages(iam, "list_user_policies", "PolicyNames", UserName=user["UserName"]),
            "managed": _pages(iam, "list_attached_user_policies", "AttachedPolicies", UserName=user["UserName"]),
        }
        for user in _pages(iam, "list_users", "Users")
    }
    return roles | users


def _buckets(aws: LocalAws) -> dict[str, Any]:
    s3 = aws.client("s3")
    return {bucket["Name"]: bucket_state(s3, bucket["Name"]) for bucket in s3.list_buckets()["Buckets"]}


def bucket_state(s3: Any, bucket: str) -> dict[str, Any]:
    """Everything in a bucket that a connection could change."""

    def settings(read: str, member: str) -> Any:
        """A part of the bucket's configuration; None where it has none."""
        try:
            return getattr(s3, read)(Bucket=bucket).get(member)
        except ClientError as error:
            if error.response["Error"]["Code"].startswith("NoSuch"):
                return None
            raise

    return {
        "policy": settings("get_bucket_policy", "Policy"),
        "cors": settings("get_bucket_cors", "CORSRules"),
        "versioning": settings("get_bucket_versioning", "Status"),
        "objects": _objects(s3, bucket),
    }


def _objects(s3: Any, bucket: str) -> list[dict[str, Any]]:
    """Every version of every object, and every delete marker."""
    versions = [
        {
            "key": version["Key"],
            "version": version["VersionId"],
            "latest": version["IsLatest"],
            "etag": version["ETag"],
            "size": version["Size"],
        }
        for version in _pages(s3, "list_object_versions", "Versions", Bucket=bucket)
    ]
    markers = [
        {"key": marker["Key"], "version": marker["VersionId"], "delete marker": True}
        for marker in _pages(s3, "list_object_versions", "DeleteMarkers", Bucket=bucket)
    ]
    return versions + markers


def _pages(client: Any, operation: str, member: str, **parameters: Any) -> list[Any]:
    pages = client.get_paginator(operation).paginate(**parameters)
    return [item for page in pages for item in page.get(member, [])]


def _tags(answer: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in answer["Tags"]}
