"""Who may do what where: the table that both judges decide, MiniStack and the simulator.

What is not said to be allowed is refused: a cell stands for every action on every place of its kind.

    python tests/e2e/grants.py    # the table as SECURITY.md shows it
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

# The places. `{…}` is filled in for a connection of `{bucket}` under `project-a/`.


@dataclass(frozen=True)
class Place:
    """Where something is done, and what a request for it says besides."""

    name: str
    arn: str
    context: dict[str, str] = field(default_factory=dict)


FOLDER = Place("the folder itself", "arn:aws:s3:::{bucket}/project-a/")
DATA = Place("data in the folder", "arn:aws:s3:::{bucket}/project-a/run-1/sample.fastq")
BESIDE = [
    Place("the folder's name without the slash", "arn:aws:s3:::{bucket}/project-a"),
    Place("a sibling with the same stem", "arn:aws:s3:::{bucket}/project-a2/sample.fastq"),
    Place("the same name further down", "arn:aws:s3:::{bucket}/lab/project-a/sample.fastq"),
    Place("the bucket's root", "arn:aws:s3:::{bucket}/sample.fastq"),
]
ELSEWHERE = Place("the same folder in another bucket", "arn:aws:s3:::{other}/project-a/sample.fastq")

BUCKET = Place("the bucket", "arn:aws:s3:::{bucket}")
LIST_FOLDER = Place("the names in the folder", "arn:aws:s3:::{bucket}", {"s3:prefix": "project-a/"})
LIST_SIBLING = Place("the names in the sibling", "arn:aws:s3:::{bucket}", {"s3:prefix": "project-a2/"})
OTHER_BUCKET = Place("another bucket", "arn:aws:s3:::{other}")

KEY = Place("the key", "{key}")
OTHER_KEY = Place("another key", "{other_key}")

USER = Place("ICA's user", "arn:aws:iam::{account}:user/ica-{bucket}")
POLICY = Place("the connection's policy", "{policy}")
ROLE = Place("another role", "arn:aws:iam::{account}:role/admin-{bucket}")
TOKEN = Place("a session of its own", "arn:aws:sts::{account}:federated-user/ica")

# What is done there: all that Illumina's documents name, and what would do most harm.

ON_OBJECTS = [
    "s3:PutObject",
    "s3:GetObject",
    "s3:RestoreObject",
    "s3:DeleteObject",
    "s3:GetObjectTagging",
    "s3:PutObjectTagging",
    "s3:DeleteObjectTagging",
    "s3:ListMultipartUploadParts",
    "s3:AbortMultipartUpload",
    "s3:GetObjectVersion",
    "s3:DeleteObjectVersion",
    "s3:GetObjectVersionTagging",
    "s3:PutObjectVersionTagging",
    "s3:GetObjectAcl",
    "s3:PutObjectAcl",
]
ON_BUCKETS = [
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:GetBucketLocation",
    "s3:GetBucketNotification",
    "s3:PutBucketNotification",
    "s3:GetBucketVersioning",
    "s3:PutBucketVersioning",
    "s3:GetBucketPolicy",
    "s3:PutBucketPolicy",
    "s3:DeleteBucketPolicy",
    "s3:PutBucketAcl",
    "s3:PutBucketCORS",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration",
    "s3:DeleteBucket",
]
ON_KEYS = [
    "kms:Encrypt",
    "kms:Decrypt",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:GenerateDataKeyPair",
    "kms:GenerateDataKeyPairWithoutPlaintext",
    "kms:DescribeKey",
    "kms:GetKeyPolicy",
    "kms:PutKeyPolicy",
    "kms:CreateGrant",
    "kms:DisableKey",
    "kms:ScheduleKeyDeletion",
]

ASKED: list[tuple[list[Place], list[str]]] = [
    ([FOLDER, DATA, *BESIDE, ELSEWHERE], ON_OBJECTS),
    ([BUCKET, OTHER_BUCKET], ON_BUCKETS),
    ([LIST_FOLDER, LIST_SIBLING], ["s3:ListBucket", "s3:ListBucketVersions"]),
    ([KEY, OTHER_KEY], ON_KEYS),
    ([USER], ["iam:CreateAccessKey", "iam:AttachUserPolicy", "iam:PutUserPolicy", "iam:CreateUser"]),
    ([POLICY], ["iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion", "iam:DeletePolicy", "iam:TagPolicy"]),
    ([ROLE], ["sts:AssumeRole", "iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy", "iam:PassRole"]),
    ([TOKEN], ["sts:GetFederationToken"]),
]

# Who does it.

ICA = "ICA's user"
SESSION = "a session of it, for the folder"
ILLUMINA = "Illumina's role"
PRINCIPALS = [ICA, SESSION, ILLUMINA]

# Illumina does not say what ICA asks a session for. This is what it could be: everything, but only for the
# folder. It cannot add anything to what the user may.
SESSION_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::{bucket}/project-a/*"},
        {
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": "arn:aws:s3:::{bucket}",
            "Condition": {"StringLike": {"s3:prefix": "project-a/*"}},
        },
        {"Effect": "Allow", "Action": "kms:*", "Resource": "{key}"},
    ],
}

# Nobody knows what Illumina's role may in its own account. It is taken to be allowed everything, so that what
# is refused is refused by the key and the bucket.
ILLUMINAS_POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}

# What they may, each with what a bucket with versions (enabled or suspended) adds. It is what Illumina's documents
# say, to the letter, and in three things it is more than the folder: the names of everything in the bucket, every
# notification of the bucket, and to Illumina's role the data of the whole bucket.

_DATA = [
    "s3:PutObject",
    "s3:GetObject",
    "s3:RestoreObject",
    "s3:DeleteObject",
    "s3:GetObjectTagging",
    "s3:PutObjectTagging",
]
_VERSIONS = [
    "s3:DeleteObjectVersion",
    "s3:GetObjectVersion",
    "s3:GetObjectVersionTagging",
    "s3:PutObjectVersionTagging",
]
_BUCKET = ["s3:PutBucketNotification", "s3:ListBucket", "s3:GetBucketNotification", "s3:GetBucketLocation"]
_COPIES = [
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:ListMultipartUploadParts",
    "s3:AbortMultipartUpload",
    "s3:GetObject",
    "s3:GetObjectTagging",
    "s3:PutObjectTagging",
]
_USES_KEY = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]
_COPIES_WITH_KEY = [
    "kms:Encrypt",
    "kms:Decrypt",
    # kms:ReEncrypt*
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    # kms:GenerateDataKey*
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:GenerateDataKeyPair",
    "kms:GenerateDataKeyPairWithoutPlaintext",
    "kms:DescribeKey",
]

ALLOWED: dict[str, list[tuple[list[Place], list[str], list[str]]]] = {
    ICA: [
        ([FOLDER, DATA], _DATA, _VERSIONS),
        ([BUCKET], _BUCKET, ["s3:ListBucketVersions", "s3:GetBucketVersioning"]),
        ([LIST_FOLDER, LIST_SIBLING], ["s3:ListBucket"], ["s3:ListBucketVersions"]),
        ([KEY], _USES_KEY, []),
        ([TOKEN], ["sts:GetFederationToken"], []),
    ],
    SESSION: [
        ([FOLDER, DATA], _DATA, _VERSIONS),
        ([LIST_FOLDER], ["s3:ListBucket"], []),
        ([KEY], _USES_KEY, []),
    ],
    ILLUMINA: [
        ([FOLDER, DATA, *BESIDE], _COPIES, _VERSIONS),
        ([KEY], _COPIES_WITH_KEY, []),
    ],
}


@dataclass(frozen=True)
class Cell:
    """One cell of the table."""

    principal: str
    action: str
    place: Place
    allowed: bool

    def __str__(self) -> str:
        return f"{self.principal} {'may' if self.allowed else 'may not'} {self.action} on {self.place.name}"


def may(principal: str, place: Place, *, versioned: bool) -> list[str]:
    """What a principal may do at a place."""
    found = [grant for grant in ALLOWED[principal] if place in grant[0]]
    return [action for _, always, with_versions in found for action in always + (with_versions if versioned else [])]


def cells(principal: str, *, versioned: bool) -> list[Cell]:
    """The whole table of a principal."""
    return [
        Cell(principal, action, place, action in may(principal, place, versioned=versioned))
        for places, actions in ASKED
        for place in places
        for action in actions
    ]


# The provider's own role.


@dataclass(frozen=True)
class Reach:
    """Some actions of the provider on something, allowed or refused."""

    what: str
    actions: list[str]
    arn: str
    context: dict[str, str] = field(default_factory=dict)


ACCOUNT_OF_OTHERS = "111122223333"

_SETTINGS = [
    "s3:ListBucket",
    "s3:GetBucketVersioning",
    "s3:GetEncryptionConfiguration",
    "s3:GetBucketOwnershipControls",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketNotification",
    "s3:GetBucketPolicy",
    "s3:PutBucketPolicy",
    "s3:DeleteBucketPolicy",
    "s3:GetBucketCORS",
    "s3:PutBucketCORS",
]
_FOLDERS = ["s3:GetObject", "s3:DeleteObject", "s3:DeleteObjectVersion"]
_POLICIES = [
    "iam:GetPolicy",
    "iam:GetPolicyVersion",
    "iam:ListPolicyVersions",
    "iam:ListEntitiesForPolicy",
    "iam:CreatePolicy",
    "iam:TagPolicy",
    "iam:UntagPolicy",
    "iam:CreatePolicyVersion",
    "iam:DeletePolicyVersion",
    "iam:DeletePolicy",
]
_STACKS = ["cloudformation:DescribeStackResource", "cloudformation:DescribeStacks"]
_LOGS = ["logs:CreateLogStream", "logs:PutLogEvents"]

_OURS = {"aws:ResourceAccount": "{account}"}
_THEIRS = {"aws:ResourceAccount": ACCOUNT_OF_OTHERS}
_MADE = {"s3:x-amz-server-side-encryption": "aws:kms", "s3:if-none-match": "*"}
_SYMMETRIC = {"kms:KeySpec": "SYMMETRIC_DEFAULT"}
_BY_S3 = {"kms:ViaService": "s3.us-east-1.amazonaws.com"}

_BUCKETS = "arn:aws:s3:::{bucket}"
_A_FOLDER = "arn:aws:s3:::{bucket}/project-a/"
_AN_OBJECT = "arn:aws:s3:::{bucket}/project-a/sample.fastq"
_KEYS = "arn:aws:kms:us-east-1:{account}:key/0b1c"
_KEY_OF_OTHERS = f"arn:aws:kms:us-east-1:{ACCOUNT_OF_OTHERS}:key/0b1c"
_REGISTERED = "arn:aws:iam::{account}:policy/ica-storage/{bucket}/project-a/p"
_ATTACHED = {"iam:PolicyARN": _REGISTERED}
_A_USER, _A_GROUP, _A_ROLE = (f"arn:aws:iam::{{account}}:{kind}/x" for kind in ("user", "group", "role"))
_A_STACK = "arn:aws:cloudformation:us-east-1:{account}:stack/s/0b1c"

# What it may: every action of template.yaml, where it is meant to be used.
REACHES = [
    Reach("the settings of a bucket of this account", _SETTINGS, _BUCKETS, _OURS),
    Reach("a folder: an object whose key ends with a slash", _FOLDERS, _A_FOLDER, _OURS),
    Reach("a folder that is not there yet, encrypted", ["s3:PutObject"], _A_FOLDER, _OURS | _MADE),
    Reach("a key of this account and region", ["kms:DescribeKey", "kms:GetKeyPolicy"], _KEYS),
    Reach("the policy of a symmetric key of this account", ["kms:PutKeyPolicy"], _KEYS, _OURS | _SYMMETRIC),
    Reach("encryption by S3", ["kms:GenerateDataKey"], _KEYS, _BY_S3),
    Reach("the list of policies", ["iam:ListPolicies"], "*"),
    Reach("a policy under `/ica-storage/`", _POLICIES, _REGISTERED),
    Reach("a user that has such a policy", ["iam:DetachUserPolicy"], _A_USER, _ATTACHED),
    Reach("a group that has such a policy", ["iam:DetachGroupPolicy"], _A_GROUP, _ATTACHED),
    Reach("a role that has such a policy", ["iam:DetachRolePolicy"], _A_ROLE, _ATTACHED),
    Reach("a stack of this account and region", _STACKS, _A_STACK),
    Reach("its own log", _LOGS, "{log_group}:log-stream:s"),
    Reach("its own queue", ["sqs:SendMessage"], "{queue}"),
]

# What it may not: each of those actions elsewhere, and what it has no business with anywhere.
STOPS = [
    Reach("the settings of a bucket of another account", _SETTINGS, _BUCKETS, _THEIRS),
    Reach("a folder in a bucket of another account", _FOLDERS, _A_FOLDER, _THEIRS),
    Reach("a new folder in a bucket of another account", ["s3:PutObject"], _A_FOLDER, _THEIRS | _MADE),
    Reach("data: an object whose key does not end with a slash", _FOLDERS, _AN_OBJECT, _OURS),
    Reach("new data", ["s3:PutObject"], _AN_OBJECT, _OURS | _MADE),
    Reach(
        "an object that is there", ["s3:PutObject"], _A_FOLDER, _OURS | {"s3:x-amz-server-side-encryption": "aws:kms"}
    ),
    Reach("a folder that is not encrypted with a key", ["s3:PutObject"], _A_FOLDER, _OURS | {"s3:if-none-match": "*"}),
    Reach(
        "a folder that is encrypted with S3's own key",
        ["s3:PutObject"],
        _A_FOLDER,
        _OURS | _MADE | {"s3:x-amz-server-side-encryption": "AES256"},
    ),
    Reach("a key of another account", ["kms:DescribeKey", "kms:GetKeyPolicy"], _KEY_OF_OTHERS),
    Reach("the policy of a key of another account", ["kms:PutKeyPolicy"], _KEY_OF_OTHERS, _THEIRS | _SYMMETRIC),
    Reach("encryption with a key of another account", ["kms:GenerateDataKey"], _KEY_OF_OTHERS, _BY_S3),
    Reach(
        "the policy of a key without KMS's check that somebody can still change it",
        ["kms:PutKeyPolicy"],
        _KEYS,
        _OURS | _SYMMETRIC | {"kms:BypassPolicyLockoutSafetyCheck": "true"},
    ),
    Reach("the policy of a key that signs", ["kms:PutKeyPolicy"], _KEYS, _OURS | {"kms:KeySpec": "RSA_2048"}),
    Reach("encryption by itself", ["kms:GenerateDataKey"], _KEYS),
    Reach(
        "encryption by other services",
        ["kms:GenerateDataKey"],
        _KEYS,
        {"kms:ViaService": "ec2.us-east-1.amazonaws.com"},
    ),
    Reach("a policy elsewhere", _POLICIES, "arn:aws:iam::{account}:policy/p"),
    Reach("a policy under a path that begins alike", _POLICIES, "arn:aws:iam::{account}:policy/ica-storage-2/p"),
    *(
        Reach(f"{whose} that has another policy", [action], arn, {"iam:PolicyARN": other})
        for whose, action, arn in [
            ("a user", "iam:DetachUserPolicy", _A_USER),
            ("a group", "iam:DetachGroupPolicy", _A_GROUP),
            ("a role", "iam:DetachRolePolicy", _A_ROLE),
        ]
        for other in ("arn:aws:iam::{account}:policy/p", "arn:aws:iam::aws:policy/AdministratorAccess")
    ),
    Reach("a stack of another region", _STACKS, _A_STACK.replace("us-east-1", "eu-west-2")),
    Reach("another log", _LOGS, "arn:aws:logs:us-east-1:{account}:log-group:other:log-stream:s"),
    Reach("another queue", ["sqs:SendMessage"], "arn:aws:sqs:us-east-1:{account}:other"),
    Reach(
        "anything else of a bucket",
        [action for action in ON_BUCKETS if action not in _SETTINGS] + ["s3:PutReplicationConfiguration"],
        _BUCKETS,
        _OURS,
    ),
    Reach(
        "anything else of a folder",
        [action for action in ON_OBJECTS if action not in (*_FOLDERS, "s3:PutObject")],
        _A_FOLDER,
        _OURS,
    ),
    Reach(
        "anything else of a key",
        [
            a
            for a in ON_KEYS
            if a not in ("kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy", "kms:GenerateDataKey")
        ],
        _KEYS,
        _BY_S3,
    ),
    Reach("anything else of a policy", ["iam:SetDefaultPolicyVersion"], _REGISTERED),
    Reach(
        "a user",
        ["iam:CreateUser", "iam:CreateAccessKey", "iam:AttachUserPolicy", "iam:PutUserPolicy"],
        _A_USER,
    ),
    Reach(
        "a role",
        [
            "iam:CreateRole",
            "iam:AttachRolePolicy",
            "iam:PutRolePolicy",
            "iam:UpdateAssumeRolePolicy",
            "iam:PassRole",
            "sts:AssumeRole",
        ],
        _A_ROLE,
    ),
    Reach("a stack", ["cloudformation:UpdateStack", "cloudformation:DeleteStack"], _A_STACK),
    Reach("its log group", ["logs:CreateLogGroup", "logs:DeleteLogGroup"], "{log_group}"),
    Reach("what is in its queue", ["sqs:ReceiveMessage", "sqs:PurgeQueue"], "{queue}"),
]

# Where the parameters name two keys, one of this account and one of another, and `BucketNamePattern` is `lab-*`.
NARROWED = {"KeyArns": f"{_KEYS},{_KEY_OF_OTHERS}", "BucketNamePattern": "lab-*"}
NARROWED_REACHES = [
    Reach("the bucket that is named", _SETTINGS, "arn:aws:s3:::lab-1", _OURS),
    Reach("the key of this account that is named", ["kms:DescribeKey", "kms:GetKeyPolicy"], _KEYS),
    Reach("its policy", ["kms:PutKeyPolicy"], _KEYS, _OURS | _SYMMETRIC),
    Reach("the key of another account that is named", ["kms:DescribeKey"], _KEY_OF_OTHERS),
    Reach("encryption with it by S3", ["kms:GenerateDataKey"], _KEY_OF_OTHERS, _BY_S3),
]
NARROWED_STOPS = [
    Reach("a bucket that is not named", _SETTINGS, "arn:aws:s3:::other-lab-1", _OURS),
    Reach("a folder in a bucket that is not named", _FOLDERS, "arn:aws:s3:::other-lab-1/project-a/", _OURS),
    Reach("a key that is not named", ["kms:DescribeKey", "kms:GetKeyPolicy"], _KEYS + "2"),
    Reach("the policy of a key that is not named", ["kms:PutKeyPolicy"], _KEYS + "2", _OURS | _SYMMETRIC),
    Reach(
        "the policy of a key of another account that is named",
        ["kms:PutKeyPolicy"],
        _KEY_OF_OTHERS,
        _THEIRS | _SYMMETRIC,
    ),
]


# The page.


def page() -> str:
    """The table in Markdown."""
    return "\n".join([*_of_the_connection(), "", *_of_the_provider()]) + "\n"


def _of_the_connection() -> Iterator[str]:
    yield "### What a connection lets others do"
    yield ""
    letters: dict[tuple[str, ...], str] = {}
    rows: dict[tuple[str, ...], list[str]] = {}
    for place in (place for places, _ in ASKED for place in places):
        row = tuple(_letters(principal, place, letters) for principal in PRINCIPALS)
        rows.setdefault(row, []).append(place.name)
    yield f"| Where | {' | '.join(PRINCIPALS)} |"
    yield "|---|" + "---|" * len(PRINCIPALS)
    for row, places in rows.items():
        yield f"| {'; '.join(places)} | {' | '.join(row)} |"
    yield ""
    for actions, letter in letters.items():
        yield f"- **{letter}** {_listed(list(actions))}"
    yield ""
    asked = sum(len(places) * len(actions) for places, actions in ASKED)
    yield f"Of {asked} pairs of an action and a place that are tried for each of the three, all others are refused."
    yield "Letters in brackets: in a bucket whose versioning is enabled or suspended."
    yield ""
    yield "Illumina's documents are written to the letter, and reach beyond the folder: the user lists the names of"
    yield "everything in the bucket, and sets all its notifications; Illumina's role reads, writes and deletes in the"
    yield "whole bucket, unless `CrossAccountAccess` is `false`; and both may use the key outside S3. A bucket and a key"
    yield "that hold nothing else keep that apart."
    yield ""
    yield "What ICA asks a session for is not known; the one here asks for everything in the folder. Both judges decide"
    yield "for all three. The local AWS, which knows no role of another account, sees the third beside key and bucket."


def _of_the_provider() -> Iterator[str]:
    yield "### What the provider's role can do"
    yield ""
    yield "| On | Actions |"
    yield "|---|---|"
    for reach in REACHES:
        yield f"| {reach.what} | {_listed(reach.actions)} |"
    yield ""
    held = {action for reach in REACHES for action in reach.actions}
    elsewhere = [reach for reach in STOPS if held.issuperset(reach.actions)]
    yield "Tried with these actions, and refused:"
    yield ""
    yield from dict.fromkeys(f"- {reach.what}" for reach in elsewhere)
    yield ""
    yield "Refused wherever it is tried:"
    yield ""
    for reach in STOPS:
        if reach not in elsewhere:
            yield f"- {reach.what}: {_listed(reach.actions)}"


def _letters(principal: str, place: Place, letters: dict[tuple[str, ...], str]) -> str:
    """What a principal may do at a place, each list of actions by its letter."""
    always = may(principal, place, versioned=False)
    more = [action for action in may(principal, place, versioned=True) if action not in always]
    of = {
        tuple(actions): letters.setdefault(tuple(actions), chr(ord("A") + len(letters)))
        for actions in (always, more)
        if actions
    }
    return " ".join(letter if list(actions) == always else f"({letter})" for actions, letter in of.items()) or "nothing"


def _listed(actions: list[str]) -> str:
    return ", ".join(f"`{action}`" for action in actions)


if __name__ == "__main__":
    print(page(), end="")
