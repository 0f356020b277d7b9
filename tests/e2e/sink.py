"""CloudFormation's end of an answer: a strict receiver, whose replies can be scripted.

    sink.script = [500, 503]      # what the next attempts get; all others get 200
"""

import json
import threading
from dataclasses import dataclass, field
from typing import Any, Literal

from listener import Handler, Listener

# What nobody but the function and this receiver may ever see.
SECRET = "c2lnbmVkIHdpdGggYSBzZWNyZXQ"

# Presigned addresses look like this: escapes that a careless client decodes, and a signature that it must not lose.
PATH = (
    "/arn%3Aaws%3Acloudformation%3Aus-east-1%7CConnection%7C?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    f"&X-Amz-SignedHeaders=host&X-Amz-Credential=A%2Fb%7C&x=%7C&X-Amz-Signature={SECRET}%2B"
)

# Of the answer, in bytes, and of the physical id (CloudFormation's user guide, custom resource responses).
ANSWER_LIMIT = 4096
ID_LIMIT = 1024

MEMBERS = {"Status", "PhysicalResourceId", "StackId", "RequestId", "LogicalResourceId", "NoEcho", "Data"}

Reply = int | Literal["reset", "hang"]


@dataclass
class Attempt:
    """One request that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    reply: Reply


@dataclass
class Sink:
    """Listens where CloudFormation would wait for the answer."""

    script: list[Reply] = field(default_factory=list, init=False)
    attempts: list[Attempt] = field(default_factory=list, init=False)

    def __enter__(self) -> "Sink":
        self._released = threading.Event()
        self._listener = Listener(_Receiver, sink=self)
        self._listener.__enter__()
        return self

    def __exit__(self, *exit: object) -> None:
        self._released.set()
        self._listener.__exit__(*exit)

    @property
    def url(self) -> str:
        """A ResponseURL."""
        return self._listener.url + PATH

    def clear(self) -> None:
        """Forget what arrived, let go of what hangs, and take everything from now on."""
        self._released.set()
        self._released = threading.Event()
        self.script, self.attempts = [], []

    def receive(self, attempt: Attempt) -> threading.Event:
        """Note an attempt and decide about it; the event ends its hanging."""
        attempt.reply = self.script.pop(0) if self.script else 200
        self.attempts.append(attempt)
        return self._released

    def answer(self, event: dict[str, Any]) -> dict[str, Any]:
        """The one answer to an event that was accepted, which has to be as AWS wants it, as had all attempts at it."""
        [accepted] = [attempt for attempt in self.attempts if attempt.reply == 200]
        assert accepted is self.attempts[-1], "another attempt came after the accepted one"
        for attempt in self.attempts:
            assert attempt.body == accepted.body
            _check_request(attempt, event)
        return _checked_answer(accepted.body, event)


def _check_request(attempt: Attempt, event: dict[str, Any]) -> None:
    _, _, path = event["ResponseURL"].removeprefix("http://").partition("/")
    assert (attempt.method, attempt.path) == ("PUT", f"/{path}")
    # The signature covers a content type that is empty, and S3 takes no chunks without a length.
    assert attempt.headers.get("content-type", "") == ""
    assert attempt.headers["content-length"] == str(len(attempt.body))
    assert not {"transfer-encoding", "content-encoding", "authorization", "cookie"} & attempt.headers.keys()
    assert len(attempt.body) <= ANSWER_LIMIT


def _checked_answer(body: bytes, event: dict[str, Any]) -> dict[str, Any]:
    answer = json.loads(body)
    reason = {"Reason"} if answer["Status"] == "FAILED" else set()
    assert answer.keys() == MEMBERS | reason
    for member in ("StackId", "RequestId", "LogicalResourceId"):
        sent = event.get(member)
        assert answer[member] == (sent if isinstance(sent, str) else "")
    assert answer["Status"] in ("SUCCESS", "FAILED")
    assert answer["Status"] == "SUCCESS" or (answer["Reason"] and "\n" not in answer["Reason"])
    assert 0 < len(answer["PhysicalResourceId"].encode()) <= ID_LIMIT
    assert answer["NoEcho"] is False
    assert all(isinstance(value, str) for value in answer["Data"].values())
    return answer


class _Receiver(Handler):
    sink: Sink

    def handle_call(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        attempt = Attempt(self.command, self.path, headers, self.body(), 200)
        released = self.sink.receive(attempt)
        if attempt.reply == "hang":
            released.wait()
        if isinstance(attempt.reply, int):
            self.answer(attempt.reply)
        else:
            self.reset()
