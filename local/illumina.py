"""Illumina's documents, filled in for one connection: what the resource has to write, to the letter.

The documents are copies of the ones on Illumina's page, in tests/golden.
"""

import json
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"


def role(region: str) -> str:
    """The role with which ICA copies data from and to the buckets of a region."""
    roles = {entry["awsRegion"]: entry["assumeRoleArn"] for entry in _golden("regions")}
    return roles[region]


def policy(key_arn: str, bucket: str, prefix: str, *, versioned: bool) -> dict[str, Any]:
    """The IAM policy of ICA's user or role; `prefix` is empty or ends with a slash."""
    return _golden(
        "policy-versioned" if versioned else "policy-unversioned",
        {
            "arn:aws:kms:xxx": key_arn,
            "YOUR_BUCKET_NAME/YOUR_FOLDER_NAME/": f"{bucket}/{prefix}",
            "YOUR_BUCKET_NAME": bucket,
        },
    )


def key_policy_statement(role_arn: str) -> dict[str, Any]:
    """What the key policy gains."""
    return _golden("key-policy-statement", {"ASSUME_ROLE_ARN": role_arn})


def bucket_policy_statement(role_arn: str, bucket: str, *, versioned: bool) -> dict[str, Any]:
    """What the bucket policy gains."""
    return _golden(
        "bucket-policy-statement-versioned" if versioned else "bucket-policy-statement-unversioned",
        {"ASSUME_ROLE_ARN": role_arn, "YOUR_BUCKET_NAME": bucket},
    )


def cors_rule() -> dict[str, Any]:
    """What the bucket's CORS rules gain."""
    return {"ID": "ica-storage"} | _golden("cors")[0]


def same(one: Any, other: Any) -> bool:
    """Whether two documents are the same to the letter, the order of actions and members included."""
    return json.dumps(one) == json.dumps(other)


def _golden(name: str, values: dict[str, str] | None = None) -> Any:
    text = (GOLDEN / f"{name}.json").read_text()
    for placeholder, value in (values or {}).items():
        text = text.replace(placeholder, value)
    return json.loads(text)
