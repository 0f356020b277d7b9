"""The binary between an AWS on which calls go wrong and a CloudFormation that follows a script."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from aws import Lab, LocalAws, changes, snapshot
from callback import request, stack_id
from faults import Proxy
from runtime import Invocation, Runtime
from sink import SECRET, Sink

SERVICE_TOKEN = "arn:aws:lambda:us-east-1:123456789012:function:ica-storage"

# Such as CloudFormation makes up for a resource whose Create never answered.
MADE_UP_ID = "single-requests-Connection-1GQXKDJ4ZP0S"


class Bench:
    """One account, one proxy, one receiver, and one function with a minute of time; others on request."""

    def __init__(self, aws: LocalAws, directory: Path) -> None:
        self.aws = aws
        self.directory = directory
        self.sink = Sink()
        self.proxy = Proxy(aws, kill=lambda: self.function.kill())
        self._runtimes = 0

    def __enter__(self) -> "Bench":
        with ExitStack() as stack:
            stack.enter_context(self.sink)
            stack.enter_context(self.proxy)
            self.function = stack.enter_context(self.runtime())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exit: object) -> None:
        self._stack.__exit__(*exit)

    @contextmanager
    def runtime(self, *, timeout: int = 60, **environment: str) -> Iterator[Runtime]:
        """A function of its own: with less time, or another environment, where an empty value takes one away."""
        self._runtimes += 1
        settings = self.aws.settings() | {"AWS_ENDPOINT_URL": self.proxy.endpoint} | environment
        given = {name: value for name, value in settings.items() if value}
        with Runtime(self.directory / str(self._runtimes), given, timeout=timeout) as runtime:
            yield runtime

    def reset(self) -> None:
        """All goes well again, and nothing has happened yet."""
        self.proxy.disarm()
        self.sink.clear()

    def request(self, request_type: str, properties: dict[str, Any], **members: Any) -> dict[str, Any]:
        """An event of a new stack, unless `StackId` is given."""
        members = {"StackId": stack_id()} | members
        return request(request_type, self.sink.url, members["StackId"], properties, SERVICE_TOKEN, **members)

    def create(self, customer: Lab, **properties: Any) -> dict[str, Any]:
        return self.request("Create", {"BucketName": customer.bucket, "KeyPrefix": "project-a/"} | properties)

    def delete(self, created: dict[str, Any], identity: str) -> dict[str, Any]:
        """The Delete that CloudFormation sends for what a Create made, or failed to make.

        With all the time it needs: it believes that something is not there only after it has looked for seconds.
        """
        properties, stack = dict(created["ResourceProperties"]), created["StackId"]
        properties.pop("ServiceTimeout", None)
        return self.request("Delete", properties, StackId=stack, PhysicalResourceId=identity)

    def invoke(self, event: Any, runtime: Runtime | None = None) -> Invocation:
        """An invocation of which nothing is expected."""
        self.sink.attempts = []
        return (runtime or self.function).invoke(event)

    def answer(self, event: dict[str, Any], runtime: Runtime | None = None) -> dict[str, Any]:
        """The one answer to an event, whose invocation ends well."""
        invocation = self.invoke(event, runtime)
        assert invocation.error is None
        return self.sink.answer(event)

    def succeed(self, event: dict[str, Any], runtime: Runtime | None = None) -> dict[str, Any]:
        """The answer to an event that has to succeed."""
        answer = self.answer(event, runtime)
        assert answer["Status"] == "SUCCESS", answer["Reason"]
        return answer

    def fail(self, event: dict[str, Any], runtime: Runtime | None = None) -> dict[str, Any]:
        """The answer to an event that has to fail."""
        answer = self.answer(event, runtime)
        assert answer["Status"] == "FAILED", answer
        return answer

    def remains(self, before: dict[str, Any], created: dict[str, Any], identity: str) -> list[str]:
        """What is left when all goes well again and CloudFormation deletes what a Create left."""
        self.reset()
        deleted = self.succeed(self.delete(created, identity))
        assert deleted["PhysicalResourceId"] == identity
        return changes(before, snapshot(self.aws))

    def leaks(self) -> list[str]:
        """What of the presigned address is in anything that the functions and their emulators printed or returned."""
        files = (file for file in self.directory.rglob("*") if file.is_file())
        printed = "\n".join(file.read_text(errors="replace") for file in files)
        assert '"name":"request"' in printed
        return [part for part in ("X-Amz-Signature", "Signature=", SECRET) if part in printed]


def identity(event: dict[str, Any]) -> str:
    """The physical id of what an event describes."""
    properties = event["ResourceProperties"]
    bucket, prefix = properties["BucketName"], properties["KeyPrefix"]
    parts = [event["StackId"], event["LogicalResourceId"], bucket, prefix, properties.get("PolicyName", "")]
    return f"s3://{bucket}/{prefix}#{sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"
