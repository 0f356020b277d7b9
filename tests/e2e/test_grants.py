"""What ICA gets by a connection, and what the provider's role reaches: two judges, one table (grants.py).

The documents that are judged are those that the function wrote, read from IAM, KMS and S3.
"""

import fnmatch
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

import grants
import judge
from aws import ACCOUNT, REGION, Lab, LocalAws, lab, policy_document
from bench import Bench
from connection import ROLE, bucket_statements, key_policy, put_data, set_versioning
from grants import ICA, ILLUMINA, SESSION, Cell, Reach
from judge import ROOT, Document, Question
from role import actions, deployed, its_own
from runtime import emulator
from stack import Stack

# Where the table stands for people to read.
PAGE = ROOT / "SECURITY.md"

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    ],
}

# Who asks, as AWS knows them.
ARNS = {
    ICA: f"arn:aws:iam::{ACCOUNT}:user/ica",
    SESSION: f"arn:aws:sts::{ACCOUNT}:federated-user/ica",
    ILLUMINA: ROLE.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/copy",
}

# Where MiniStack refuses what AWS allows.
WRONGLY_REFUSED = {grants.FOLDER.name: "it forgets the slash at the end of an object's key"}

# What it cannot be asked.
NOT_ASKED = {
    "kms:ReEncryptFrom": "it has no ReEncrypt",
    "kms:ReEncryptTo": "it has no ReEncrypt",
    "iam:PassRole": "no call is made for it alone",
}


@dataclass(frozen=True)
class Site:
    """A connected bucket, another one beside it, and who may use it."""

    aws: LocalAws
    customer: Lab
    other: Lab
    versioned: bool
    names: dict[str, str]
    # The connection's policy, and what bucket and keys say themselves, by their ARNs.
    identity: Document
    resource_policies: dict[str, Document]
    credentials: dict[str, dict[str, str]]

    def fill(self, document: Any) -> Any:
        return filled(document, self.names)

    def question(self, cell: Cell) -> Question:
        arn = self.fill(cell.place.arn)
        # An object's is its bucket's.
        whose = arn.partition("/")[0] if arn.startswith("arn:aws:s3:::") else arn
        return Question(
            principal=ARNS[cell.principal],
            action=cell.action,
            resource=arn,
            owner=ACCOUNT,
            identity=grants.ILLUMINAS_POLICY if cell.principal == ILLUMINA else self.identity,
            resource_policy=TRUST if cell.place is grants.ROLE else self.resource_policies.get(whose),
            session=self.fill(grants.SESSION_POLICY) if cell.principal == SESSION else None,
            context=cell.place.context,
        )


def names_of(customer: Lab, other: Lab, policy: str) -> dict[str, str]:
    """What stands for `{…}` in the table."""
    return {
        "account": customer.key_arn.split(":")[4],
        "bucket": customer.bucket,
        "other": other.bucket,
        "key": customer.key_arn,
        "other_key": other.key_arn,
        "policy": policy,
    }


def filled(document: Any, names: dict[str, str]) -> Any:
    text = json.dumps(document)
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", value)
    return json.loads(text)


@pytest.fixture(scope="module", params=[False, True], ids=["unversioned", "versioned"])
def connected(aws: LocalAws, service_token: str, request: pytest.FixtureRequest) -> Site:
    versioned: bool = request.param
    bucket = f"grants-{'versioned' if versioned else 'unversioned'}"
    customer, other = lab(aws, bucket), lab(aws, f"elsewhere-{bucket}")
    if versioned:
        set_versioning(aws, customer, "Enabled")
    stack = Stack(aws, service_token, bucket)
    stack.deploy(Connection={"BucketName": bucket, "KeyPrefix": "project-a/"})
    policy = stack.attributes()["PolicyArn"]
    names = names_of(customer, other, policy)
    return Site(
        aws,
        customer,
        other,
        versioned,
        names,
        identity=policy_document(aws, policy),
        resource_policies={
            f"arn:aws:s3:::{bucket}": {"Version": "2012-10-17", "Statement": bucket_statements(aws, customer)},
            customer.key_arn: json.loads(key_policy(aws, customer)),
            other.key_arn: json.loads(key_policy(aws, other)),
        },
        credentials=credentials_of(aws, bucket, policy, names),
    )


def credentials_of(aws: LocalAws, bucket: str, policy: str, names: dict[str, str]) -> dict[str, dict[str, str]]:
    """Of a user with the connection's policy, and of a session that it asked for; and a role beside it."""
    iam, user = aws.client("iam"), f"ica-{bucket}"
    iam.create_user(UserName=user)
    iam.attach_user_policy(UserName=user, PolicyArn=policy)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    long = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    session_policy = json.dumps(filled(grants.SESSION_POLICY, names))
    token = aws.client("sts", **long).get_federation_token(Name="ica", Policy=session_policy)["Credentials"]
    iam.create_role(RoleName=f"admin-{bucket}", AssumeRolePolicyDocument=json.dumps(TRUST))
    return {
        ICA: long,
        SESSION: {
            "aws_access_key_id": token["AccessKeyId"],
            "aws_secret_access_key": token["SecretAccessKey"],
            "aws_session_token": token["SessionToken"],
        },
    }


# What is called for each action, besides what names the place.
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "s3:PutObject": ("put_object", {"Body": b"reads"}),
    "s3:GetObject": ("get_object", {}),
    "s3:RestoreObject": ("restore_object", {"RestoreRequest": {"Days": 1}}),
    "s3:DeleteObject": ("delete_object", {}),
    "s3:GetObjectTagging": ("get_object_tagging", {}),
    "s3:PutObjectTagging": ("put_object_tagging", {"Tagging": {"TagSet": []}}),
    "s3:DeleteObjectTagging": ("delete_object_tagging", {}),
    "s3:ListMultipartUploadParts": ("list_parts", {"UploadId": "upload"}),
    "s3:AbortMultipartUpload": ("abort_multipart_upload", {"UploadId": "upload"}),
    "s3:GetObjectVersion": ("get_object", {"VersionId": "version"}),
    "s3:DeleteObjectVersion": ("delete_object", {"VersionId": "version"}),
    "s3:GetObjectVersionTagging": ("get_object_tagging", {"VersionId": "version"}),
    "s3:PutObjectVersionTagging": ("put_object_tagging", {"VersionId": "version", "Tagging": {"TagSet": []}}),
    "s3:GetObjectAcl": ("get_object_acl", {}),
    "s3:PutObjectAcl": ("put_object_acl", {"ACL": "private"}),
    "s3:ListBucket": ("list_objects_v2", {}),
    "s3:ListBucketVersions": ("list_object_versions", {}),
    "s3:GetBucketLocation": ("get_bucket_location", {}),
    "s3:GetBucketNotification": ("get_bucket_notification_configuration", {}),
    "s3:PutBucketNotification": ("put_bucket_notification_configuration", {"NotificationConfiguration": {}}),
    "s3:GetBucketVersioning": ("get_bucket_versioning", {}),
    "s3:PutBucketVersioning": ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Suspended"}}),
    "s3:GetBucketPolicy": ("get_bucket_policy", {}),
    "s3:PutBucketPolicy": ("put_bucket_policy", {"Policy": "{}"}),
    "s3:DeleteBucketPolicy": ("delete_bucket_policy", {}),
    "s3:PutBucketAcl": ("put_bucket_acl", {"ACL": "private"}),
    "s3:PutBucketCORS": ("put_bucket_cors", {"CORSConfiguration": {"CORSRules": []}}),
    "s3:PutBucketPublicAccessBlock": ("put_public_access_block", {"PublicAccessBlockConfiguration": {}}),
    "s3:PutEncryptionConfiguration": (
        "put_bucket_encryption",
        {"ServerSideEncryptionConfiguration": {"Rules": [{"BucketKeyEnabled": False}]}},
    ),
    "s3:PutLifecycleConfiguration": (
        "put_bucket_lifecycle_configuration",
        {"LifecycleConfiguration": {"Rules": [{"Status": "Enabled", "Prefix": "", "Expiration": {"Days": 1}}]}},
    ),
    "s3:DeleteBucket": ("delete_bucket", {}),
    "kms:Encrypt": ("encrypt", {"Plaintext": b"reads"}),
    "kms:Decrypt": ("decrypt", {"CiphertextBlob": b"ciphertext"}),
    "kms:GenerateDataKey": ("generate_data_key", {"KeySpec": "AES_256"}),
    "kms:GenerateDataKeyWithoutPlaintext": ("generate_data_key_without_plaintext", {"KeySpec": "AES_256"}),
    "kms:GenerateDataKeyPair": ("generate_data_key_pair", {"KeyPairSpec": "ECC_NIST_P256"}),
    "kms:GenerateDataKeyPairWithoutPlaintext": (
        "generate_data_key_pair_without_plaintext",
        {"KeyPairSpec": "ECC_NIST_P256"},
    ),
    "kms:DescribeKey": ("describe_key", {}),
    "kms:GetKeyPolicy": ("get_key_policy", {}),
    "kms:PutKeyPolicy": ("put_key_policy", {"Policy": "{}"}),
    "kms:CreateGrant": (
        "create_grant",
        {"GranteePrincipal": f"arn:aws:iam::{ACCOUNT}:root", "Operations": ["Decrypt"]},
    ),
    "kms:DisableKey": ("disable_key", {}),
    "kms:ScheduleKeyDeletion": ("schedule_key_deletion", {"PendingWindowInDays": 7}),
    "iam:CreateAccessKey": ("create_access_key", {}),
    "iam:AttachUserPolicy": ("attach_user_policy", {"PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}),
    "iam:PutUserPolicy": ("put_user_policy", {"PolicyName": "p", "PolicyDocument": "{}"}),
    "iam:CreateUser": ("create_user", {}),
    "iam:CreatePolicyVersion": ("create_policy_version", {"PolicyDocument": "{}"}),
    "iam:SetDefaultPolicyVersion": ("set_default_policy_version", {"VersionId": "v1"}),
    "iam:DeletePolicy": ("delete_policy", {}),
    "iam:TagPolicy": ("tag_policy", {"Tags": [{"Key": "ica-storage:state", "Value": "deleting"}]}),
    "iam:PutRolePolicy": ("put_role_policy", {"PolicyName": "p", "PolicyDocument": "{}"}),
    "iam:UpdateAssumeRolePolicy": ("update_assume_role_policy", {"PolicyDocument": "{}"}),
    "sts:AssumeRole": ("assume_role", {"RoleSessionName": "session"}),
    "sts:GetFederationToken": ("get_federation_token", {"Policy": json.dumps(grants.ILLUMINAS_POLICY)}),
}

# What a call that is allowed may still meet, as it is made for the permission alone.
MET = {"ObjectAlreadyInActiveTierError"}


def parameters(arn: str, context: dict[str, str]) -> dict[str, str]:
    """What names a place to a call."""
    _, _, service, _, _, name = arn.split(":", 5)
    kind, _, path = name.partition("/")
    match service, kind:
        case "s3", _:
            place = {"Bucket": kind, "Key": path} if path else {"Bucket": kind}
            return place | ({"Prefix": context["s3:prefix"]} if context else {})
        case "kms", _:
            return {"KeyId": arn}
        case "iam", "user":
            return {"UserName": path}
        case "iam", "policy":
            return {"PolicyArn": arn}
        case "iam", "role":
            return {"RoleName": path}
        case "sts", _:
            return {"Name": path}
    raise AssertionError(arn)


def is_allowed_by_ministack(site: Site, cell: Cell) -> bool:
    """Does it, and sees."""
    place = parameters(site.fill(cell.place.arn), cell.place.context)
    if "Key" in place:
        put_data(site.aws, Lab(place["Bucket"], "", ""), place["Key"])
    service, (method, more) = cell.action.partition(":")[0], CALLS[cell.action]
    if cell.action == "sts:AssumeRole":
        place = {"RoleArn": site.fill(cell.place.arn)}
    if "VersionId" in more and service == "s3":
        head = site.aws.client("s3").head_object(**place)
        more = more | {"VersionId": head.get("VersionId", "null")}
    if "UploadId" in more:
        more = {"UploadId": site.aws.client("s3").create_multipart_upload(**place)["UploadId"]}
    if cell.action == "kms:Decrypt":
        more = {"CiphertextBlob": site.aws.client("kms").encrypt(**place, Plaintext=b"reads")["CiphertextBlob"]}
    client = site.aws.client(service, **site.credentials[cell.principal])
    try:
        getattr(client, method)(**place, **more)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ("AccessDenied", "AccessDeniedException"):
            return False
        assert code in MET, f"{cell}: {error}"
    return True


def wrong_by_ministack(site: Site, principal: str) -> list[Cell]:
    cells = [cell for cell in grants.cells(principal, versioned=site.versioned) if cell.action not in NOT_ASKED]
    return [cell for cell in cells if is_allowed_by_ministack(site, cell) != cell.allowed]


@pytest.mark.parametrize("principal", [ICA, SESSION])
def test_ministack_decides_every_cell_as_the_table_says(connected: Site, principal: str):
    wrong = wrong_by_ministack(connected, principal)

    assert [str(cell) for cell in wrong if cell.place.name not in WRONGLY_REFUSED or not cell.allowed] == []
    # An exception that is none any more goes.
    assert {cell.place.name for cell in wrong} == set(WRONGLY_REFUSED)
    assert CALLS.keys().isdisjoint(NOT_ASKED)


@pytest.fixture(scope="module", params=[False, True], ids=["unversioned", "versioned"])
def at_illumina(aws: LocalAws, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Site:
    """A bucket and a key in the account of Illumina's role, connected there. The role has no policy of its own.

    MiniStack takes whoever comes to a bucket of another account for that account's root, and finds no key of another
    account. In one account it judges what key and bucket say of the role, as another account's would.
    """
    versioned: bool = request.param
    account, role = ROLE.split(":")[4], ROLE.rpartition("/")[2]
    theirs = aws.in_account(account)
    bucket = f"illumina-{'versioned' if versioned else 'unversioned'}"
    customer, other = lab(theirs, bucket), lab(theirs, f"elsewhere-{bucket}")
    if versioned:
        set_versioning(theirs, customer, "Enabled")
    with Bench(theirs, tmp_path_factory.mktemp(bucket)) as bench:
        stack = f"arn:aws:cloudformation:{REGION}:{account}:stack/{bucket}/0b1c"
        policy = bench.succeed(
            bench.request("Create", {"BucketName": bucket, "KeyPrefix": "project-a/"}, StackId=stack)
        )["Data"]["PolicyArn"]
    iam = theirs.client("iam")
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(TRUST).replace(ACCOUNT, account))
    session = theirs.client("sts").assume_role(RoleArn=ROLE, RoleSessionName="copy")["Credentials"]
    credentials = {
        "aws_access_key_id": session["AccessKeyId"],
        "aws_secret_access_key": session["SecretAccessKey"],
        "aws_session_token": session["SessionToken"],
    }
    return Site(theirs, customer, other, versioned, names_of(customer, other, policy), {}, {}, {ILLUMINA: credentials})


@pytest.mark.skipif(emulator() is None, reason="AWS's emulator of Lambda runs on Linux only")
def test_ministack_decides_as_the_table_says_what_key_and_bucket_let_illuminas_role_do(at_illumina: Site):
    assert [str(cell) for cell in wrong_by_ministack(at_illumina, ILLUMINA)] == []


@pytest.mark.parametrize("principal", grants.PRINCIPALS)
def test_the_simulator_decides_every_cell_as_the_table_says(connected: Site, principal: str):
    cells = grants.cells(principal, versioned=connected.versioned)
    verdicts = judge.may([connected.question(cell) for cell in cells])

    assert [str(cell) for cell, verdict in zip(cells, verdicts, strict=True) if verdict != cell.allowed] == []
    assert {cell.allowed for cell in cells} == {True, False}


def test_the_table_has_every_action_that_the_documents_grant(connected: Site):
    [statement] = connected.resource_policies[f"arn:aws:s3:::{connected.customer.bucket}"]["Statement"]
    [_, for_key] = connected.resource_policies[connected.customer.key_arn]["Statement"]
    granted = {ICA: actions(connected.identity), ILLUMINA: statement["Action"] + for_key["Action"]}

    for principal, patterns in granted.items():
        tables = {cell.action for cell in grants.cells(principal, versioned=connected.versioned) if cell.allowed}
        assert {pattern for pattern in patterns if not fnmatch.filter(tables, pattern)} == set()
        assert {action for action in tables if not any(fnmatch.fnmatch(action, one) for one in patterns)} == set()


# The provider's role


# Leaves everything to the policies of the role's account.
OPEN = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "*", "Resource": "*"}
    ],
}


@pytest.fixture(scope="module")
def role_policy(aws: LocalAws, service_token: str) -> Document:
    """The role's policy as template.yaml has it, without parameters."""
    return its_own(deployed(aws, "provider"))


def questions(policy: Document, reaches: list[Reach]) -> Iterator[Question]:
    """Whether the role may, where buckets of others and all keys leave that to the role's own account."""
    [logs] = [statement for statement in policy["Statement"] if statement["Sid"] == "Logs"]
    [queue] = [statement for statement in policy["Statement"] if statement["Sid"] == "UnansweredEvents"]
    names = {
        "account": ACCOUNT,
        "bucket": "lab",
        "log_group": logs["Resource"][: -len(":*")],
        "queue": queue["Resource"],
    }
    for reach in reaches:
        arn, context = filled(reach.arn, names), filled(reach.context, names)
        account = arn.split(":")[4] if arn != "*" else ""
        owner = context.get("aws:ResourceAccount") or account or ACCOUNT
        is_open = arn.startswith("arn:aws:kms:") or (arn.startswith("arn:aws:s3:") and owner != ACCOUNT)
        for action in reach.actions:
            yield Question(
                principal=f"arn:aws:sts::{ACCOUNT}:assumed-role/provider/function",
                action=action,
                resource=arn,
                owner=owner,
                identity=policy,
                resource_policy=OPEN if is_open else None,
                context=context,
            )


def wrong(policy: Document, reaches: list[Reach], *, allowed: bool) -> list[str]:
    asked = list(questions(policy, reaches))
    verdicts = judge.may(asked)
    return [
        f"{q.action} {q.resource} {q.context}" for q, verdict in zip(asked, verdicts, strict=True) if verdict != allowed
    ]


def test_the_role_reaches_what_it_is_for(role_policy: Document):
    assert wrong(role_policy, grants.REACHES, allowed=True) == []
    assert {action for reach in grants.REACHES for action in reach.actions} == set(actions(role_policy))


def test_the_role_reaches_nothing_else(role_policy: Document):
    assert wrong(role_policy, grants.STOPS, allowed=False) == []
    stopped = {action for reach in grants.STOPS for action in reach.actions}
    # There is no other list of policies.
    assert set(actions(role_policy)) - stopped == {"iam:ListPolicies"}


@pytest.fixture(scope="module")
def narrowed_policy(aws: LocalAws, deploy_provider: Callable[..., None]) -> Document:
    deploy_provider("narrowed", **filled(grants.NARROWED, {"account": ACCOUNT}))
    return its_own(deployed(aws, "narrowed"))


def test_parameters_narrow_the_role(narrowed_policy: Document):
    assert wrong(narrowed_policy, grants.NARROWED_REACHES, allowed=True) == []
    assert wrong(narrowed_policy, grants.NARROWED_STOPS, allowed=False) == []


def test_every_condition_of_the_role_stops_something(role_policy: Document, narrowed_policy: Document):
    """One that stops nothing is of no use, or the table does not tell of it."""

    def stopped(policy: Document, stops: list[Reach], statement: int, operator: str, key: str) -> list[str]:
        """What the role could do without the condition."""
        looser = json.loads(json.dumps(policy))
        del looser["Statement"][statement]["Condition"][operator][key]
        return wrong(looser, stops, allowed=False)

    for number, statement in enumerate(role_policy["Statement"]):
        for operator, key in ((o, k) for o, keys in statement.get("Condition", {}).items() for k in keys):
            where = number, operator, key
            assert stopped(role_policy, grants.STOPS, *where) or stopped(
                narrowed_policy, grants.NARROWED_STOPS, *where
            ), (statement["Sid"], key)


def test_the_page_tells_the_table():
    assert grants.page() in PAGE.read_text()
