"""What a call to AWS is, from what it looks like on the wire."""

import urllib.parse
from collections.abc import Mapping


def action_of(method: str, path: str, headers: Mapping[str, str], body: bytes) -> str:
    """The permission that a call needs, from what it looks like; `headers` finds a name in any case."""
    _, _, scope = headers["Authorization"].partition("Credential=")
    service = scope.split("/")[3]
    if service == "kms":
        return "kms:" + headers["X-Amz-Target"].rpartition(".")[2]
    if service in ("iam", "cloudformation"):
        return f"{service}:{urllib.parse.parse_qs(body.decode())['Action'][0]}"
    assert service == "s3", service
    return "s3:" + _s3_action(method, *path.partition("?")[::2])


def _s3_action(method: str, path: str, query: str) -> str:
    parameters = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    _, _, key = path.strip("/").partition("/")
    if key:
        version = "Version" if "versionId" in parameters else ""
        return {"HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject" + version}[method]
    [part] = [name for name in parameters if name in _BUCKET_READS] or ["list-type"]
    if method in ("GET", "HEAD"):
        return _BUCKET_READS[part]
    return {
        ("PUT", "policy"): "PutBucketPolicy",
        ("DELETE", "policy"): "DeleteBucketPolicy",
        ("PUT", "cors"): "PutBucketCORS",
        ("DELETE", "cors"): "PutBucketCORS",  # there is no other permission for it
    }[method, part]


_BUCKET_READS = {
    "list-type": "ListBucket",
    "versioning": "GetBucketVersioning",
    "encryption": "GetEncryptionConfiguration",
    "ownershipControls": "GetBucketOwnershipControls",
    "publicAccessBlock": "GetBucketPublicAccessBlock",
    "notification": "GetBucketNotification",
    "policy": "GetBucketPolicy",
    "cors": "GetBucketCORS",
}
