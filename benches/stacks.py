"""CloudFormation as the function asks it: the stacks that the events come from.

The local AWS has a CloudFormation as well, but it did not send these events.
"""

from urllib.parse import parse_qs
from xml.sax.saxutils import escape

NAMESPACE = "http://cloudformation.amazonaws.com/doc/2010-05-15/"


class Stacks:
    """One resource a stack: its status, which is the stack's too, and its physical id."""

    def __init__(self) -> None:
        self._stacks: dict[str, tuple[str, str]] = {}

    def begin(self, event: dict[str, str]) -> None:
        """An event is on its way to the function."""
        self._stacks[event["StackId"]] = f"{event['RequestType'].upper()}_IN_PROGRESS", _physical_id(event)

    def end(self, event: dict[str, str]) -> None:
        """It was answered, and the stack is at rest."""
        self._stacks[event["StackId"]] = f"{event['RequestType'].upper()}_COMPLETE", _physical_id(event)

    def reply(self, action: str, body: bytes) -> bytes | None:
        """A reply of CloudFormation's; none if it was not asked."""
        service, _, operation = action.partition(":")
        if service != "cloudformation":
            return None
        asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        status, physical_id = self._stacks[asked["StackName"]]
        told = {
            "DescribeStacks": {
                "Stacks": {
                    "member": {
                        "StackName": "bench",
                        "StackStatus": status,
                        "CreationTime": "2026-01-01T00:00:00Z",
                    }
                }
            },
            "DescribeStackResource": {
                "StackResourceDetail": {
                    "LogicalResourceId": asked.get("LogicalResourceId", ""),
                    "PhysicalResourceId": physical_id,
                    "ResourceStatus": status,
                    "ResourceType": "Custom::IcaStorage",
                    "LastUpdatedTimestamp": "2026-01-01T00:00:00Z",
                }
            },
        }[operation]
        text = f'<{operation}Response xmlns="{NAMESPACE}">{_xml({f"{operation}Result": told})}</{operation}Response>'
        head = f"HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: {len(text.encode())}\r\n\r\n"
        return (head + text).encode()


def _physical_id(event: dict[str, str]) -> str:
    return event.get("PhysicalResourceId", "")


def _xml(members: dict[str, object]) -> str:
    inner = {name: _xml(value) if isinstance(value, dict) else escape(str(value)) for name, value in members.items()}
    return "".join(f"<{name}>{value}</{name}>" for name, value in inner.items())
