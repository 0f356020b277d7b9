"""Looks for secrets in what was printed: presigned addresses, and what the tests sign their requests with.

    python tests/e2e/leaks.py target/cargo-test.log target/pytest.log   # fails if it finds any
"""

import re
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "local"))  # pytest has it by itself, a script does not

from aws import SECRET_ACCESS_KEY, SESSION_TOKEN  # noqa: E402
from sink import SECRET  # noqa: E402

# Of the addresses in tests/ and events/, of the local account, and of any request that is signed.
PATTERNS = [
    *map(re.escape, (SECRET, "5ec4e7", SECRET_ACCESS_KEY, SESSION_TOKEN)),
    r"X-Amz-(Signature|Security-Token|Credential)",
    r"AWS4-HMAC-SHA256 Credential",
    r"\bASIA[0-9A-Z]{16}\b",
]


def found(text: str) -> list[str]:
    """Every secret in a text, with what stands around it."""
    hits = re.finditer("|".join(PATTERNS), text, re.IGNORECASE)
    return [text[max(0, hit.start() - 80) : hit.end() + 40] for hit in hits]


def found_below(directory: Path) -> list[str]:
    """Every secret in the files of a folder."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [f"{path}: {hit}" for path in files for hit in found(path.read_text(errors="replace"))]


if __name__ == "__main__":
    hits = [f"{path}: {hit}" for path in sys.argv[1:] for hit in found(Path(path).read_text(errors="replace"))]
    print("\n".join(["Secrets were printed:", *hits] if hits else ["No secret was printed."]))
    sys.exit(bool(hits))
