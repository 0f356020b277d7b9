"""Accounts of a given size, each with the wire and the function in front of it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from aws import ACCOUNT, Lab, LocalAws, lab
from callback import request, stack_id
from lambda_api import Function
from sink import Sink
from stacks import Stacks
from wire import Traffic, Wire

SERVICE_TOKEN = "arn:aws:lambda:us-east-1:123456789012:function:ica-storage"

Event = dict[str, Any]

_numbers = count(1)


class Account(LocalAws):
    """A local AWS in which buckets hold objects from the start.

    MiniStack reads them from its directory, where a file is made in no time; 100,000 calls would take minutes.
    """

    def __init__(self, objects: dict[str, int]) -> None:
        """How many objects are under `project-a/` of each bucket."""
        super().__init__()
        for bucket, number in objects.items():
            folder = self.directory / "s3" / ACCOUNT / bucket / "project-a"
            folder.mkdir(parents=True)
            for name in range(number):
                os.close(os.open(folder / f"{name:06}", os.O_CREAT | os.O_WRONLY))

    def _own_settings(self) -> dict[str, str]:
        return super()._own_settings() | {"S3_PERSIST": "1"}


@dataclass(frozen=True)
class Speed:
    """What a call and the making of a connection take, in seconds."""

    latency: float
    connecting: float


AT_ONCE = Speed(0, 0)


@dataclass(frozen=True)
class Sample:
    """One invocation."""

    seconds: float
    processor_time: float
    traffic: Traffic


class Stage:
    """One account, and a function that is warm; others on request. Lives as long as what it is given."""

    def __init__(self, life: ExitStack, bootstrap: Path, objects: dict[str, int] | None = None) -> None:
        self.bootstrap = bootstrap
        self.aws = life.enter_context(Account(objects) if objects is not None else LocalAws())
        self.stacks = Stacks()
        self.wire = life.enter_context(Wire(self.aws.port, self.stacks.reply))
        self._sink = life.enter_context(Sink())
        self.function = life.enter_context(self.start())

    def start(self, bootstrap: Path | None = None, *, direct: bool = False) -> Function:
        """A function that is cold; `direct` leaves out the wire."""
        settings = self.aws.settings() | ({} if direct else {"AWS_ENDPOINT_URL": self.wire.endpoint})
        return Function(bootstrap or self.bootstrap, settings, self.aws.directory / "function.log")

    def lab(self) -> Lab:
        """Another bucket with its key."""
        return lab(self.aws, f"bench-{next(_numbers)}")

    def create(self, customer: Lab, prefix: str = "project-a/", **properties: Any) -> Event:
        """A Create of a new stack."""
        properties = {"BucketName": customer.bucket, "KeyPrefix": prefix} | properties
        return request("Create", self._sink.url, stack_id(), properties, SERVICE_TOKEN)

    def follow(self, created: Event, request_type: str, **properties: Any) -> Event:
        """An Update or Delete of what a Create has made."""
        new = created["ResourceProperties"] | properties
        members = {"PhysicalResourceId": created["PhysicalResourceId"]}
        if request_type == "Update":
            members["OldResourceProperties"] = created["ResourceProperties"]
        return request(request_type, self._sink.url, created["StackId"], new, SERVICE_TOKEN, **members)

    def run(self, event: Event, speed: Speed = AT_ONCE, function: Function | None = None) -> Sample:
        """Invoke a function with an event, which has to succeed; it then knows the id that was answered."""
        self.wire.latency, self.wire.connecting = speed.latency, speed.connecting
        self.wire.traffic()
        self._sink.clear()
        self.stacks.begin(event)
        function = function or self.function
        before = function.processor_time()
        seconds = function.invoke(event)
        processor_time = function.processor_time() - before
        traffic = self.wire.traffic()
        self.wire.latency = self.wire.connecting = 0
        answer = self._sink.answer(event)
        assert answer["Status"] == "SUCCESS", answer["Reason"]
        event["PhysicalResourceId"] = answer["PhysicalResourceId"]
        self.stacks.end(event)
        return Sample(seconds, processor_time, traffic)

    @contextmanager
    def connected(self, customer: Lab, prefix: str = "project-a/", **properties: Any) -> Iterator[Event]:
        """A connection, from `with` to the end of the block; the Create that made it."""
        created = self.create(customer, prefix, **properties)
        self.run(created)
        try:
            yield created
        finally:
            self.run(self.follow(created, "Delete"))
