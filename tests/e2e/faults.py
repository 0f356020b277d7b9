"""A proxy between the function and the local AWS, on which any call can go wrong.

    proxy.arm(Fault.LOST, "kms:PutKeyPolicy")             # the first call of its kind
    proxy.arm(Fault.THROTTLED, EVERY_ACTION, EVERY_OTHER)  # every call, but not its repetition

It is written with the standard library because mitmproxy does not install beside the SAM CLI: the two ask for
different versions of ruamel.yaml.

The Host header goes through as it came, so what was signed for the proxy is still valid behind it.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from http.client import HTTPConnection

from aws import ACCOUNT, HOST, LocalAws
from calls import action_of
from listener import Handler, Listener

# How long a call hangs if nobody ends it, and how long is waited for calls that are on their way. Seconds.
PATIENCE = 30

# Which calls of a kind go wrong, counted from 1.
ALL = range(1, 1_000_000)
EVERY_OTHER = range(1, 1_000_000, 2)

EVERY_ACTION = "*"


class Fault(Enum):
    """What becomes of a call."""

    UNAVAILABLE = auto()  # answered 503
    INTERNAL = auto()  # answered 500
    THROTTLED = auto()  # refused for coming too often, in the service's own words
    DENIED = auto()  # refused for lack of a permission
    RESET = auto()  # the connection breaks before AWS sees the call
    LOST = auto()  # it takes effect, and the connection breaks before the reply
    HANG = auto()  # AWS never sees it, and nothing comes back
    HANG_AFTER = auto()  # it takes effect, and nothing comes back
    KILL = auto()  # the function dies before AWS sees the call
    KILL_AFTER = auto()  # it takes effect, and the function dies before the reply


@dataclass(frozen=True)
class Call:
    """A call, by the permission it needs as it is granted, and the how-manieth of its kind it is."""

    action: str
    number: int

    def __str__(self) -> str:
        return f"{self.action} #{self.number}"

    @property
    def writes(self) -> bool:
        return not self.action.partition(":")[2].startswith(("Get", "List", "Describe"))


@dataclass
class Reply:
    """What goes back to the function."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""


@dataclass
class Proxy:
    """Listens where the function looks for AWS."""

    aws: LocalAws
    kill: Callable[[], None] = lambda: None
    calls: list[Call] = field(default_factory=list, init=False)

    def __enter__(self) -> "Proxy":
        self._idle = threading.Condition()
        self._in_flight, self._life = 0, 0
        self._released = threading.Event()
        self.disarm()
        self._listener = Listener(_Handler, proxy=self)
        self._listener.__enter__()
        return self

    def __exit__(self, *exit: object) -> None:
        self._released.set()
        self._listener.__exit__(*exit)

    @property
    def endpoint(self) -> str:
        return self._listener.url

    def arm(self, fault: Fault, action: str, numbers: Container[int] = (1,)) -> None:
        """Let calls of a kind go wrong, the first unless others are said."""
        self._faults[action] = fault, numbers

    def disarm(self) -> None:
        """From here on all goes well, and the calls are counted anew. What is on its way ends first."""
        self._released.set()
        with self._idle:
            assert self._idle.wait_for(lambda: self._in_flight == 0, PATIENCE), "a call does not end"
            self._released = threading.Event()
            self._faults: dict[str, tuple[Fault, Container[int]]] = {}
            self._counts: Counter[str] = Counter()
            self.calls = []

    def handle(self, handler: "_Handler") -> None:
        """One call. What a killed function had sent and was not looked at yet is lost, as its connection is."""
        request = handler.body()
        action = action_of(handler.command, handler.path, handler.headers, request)
        with self._idle:
            if handler.life != self._life:
                return handler.reset()
            self._in_flight += 1
            self._counts[action] += 1
            call = Call(action, self._counts[action])
            self.calls.append(call)
            fault, numbers = self._faults.get(action) or self._faults.get(EVERY_ACTION) or (None, ())
            fault = fault if call.number in numbers else None
            released = self._released
            if fault is Fault.KILL:
                self._kill()
        try:
            self._answer(handler, action, request, fault, released)
        finally:
            with self._idle:
                self._in_flight -= 1
                self._idle.notify_all()

    def _answer(
        self, handler: "_Handler", action: str, request: bytes, fault: Fault | None, released: threading.Event
    ) -> None:
        match fault:
            case Fault.UNAVAILABLE | Fault.INTERNAL | Fault.THROTTLED | Fault.DENIED:
                handler.reply(_refusal(fault, action))
            case Fault.RESET | Fault.KILL:
                handler.reset()
            case Fault.HANG:
                released.wait(PATIENCE)
                handler.reset()
            case _:
                reply = self._forward(handler, request)
                if fault is None:
                    return handler.reply(reply)
                if fault is Fault.KILL_AFTER:
                    with self._idle:
                        self._kill()
                if fault is Fault.HANG_AFTER:
                    released.wait(PATIENCE)
                handler.reset()

    def _kill(self) -> None:
        self._life += 1
        self.kill()

    def _forward(self, handler: "_Handler", request: bytes) -> Reply:
        upstream = HTTPConnection(HOST, self.aws.port, timeout=PATIENCE)
        try:
            upstream.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            for name, value in handler.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(request)
            response = upstream.getresponse()
            return Reply(response.status, response.getheaders(), response.read())
        finally:
            upstream.close()

    @property
    def life(self) -> int:
        """How often the function has been killed."""
        return self._life


class _Handler(Handler):
    proxy: Proxy

    def setup(self) -> None:
        super().setup()
        self.life = self.proxy.life

    def handle_call(self) -> None:
        self.proxy.handle(self)

    def reply(self, reply: Reply) -> None:
        lines = [f"HTTP/1.1 {reply.status} {self.responses.get(reply.status, ('Status',))[0]}"]
        # The body is here as a whole, however it came.
        kept = [(name, value) for name, value in reply.headers if name.lower() not in _HOP_BY_HOP]
        if self.command != "HEAD":
            kept = [(name, value) for name, value in kept if name.lower() != "content-length"]
            kept.append(("Content-Length", str(len(reply.body))))
        lines += [f"{name}: {value}" for name, value in kept]
        body = b"" if self.command == "HEAD" else reply.body
        with suppress(OSError):
            self.wfile.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}


def _refusal(fault: Fault, action: str) -> Reply:
    """An error as the service writes it: KMS in JSON, S3 in XML of its own, IAM and CloudFormation in a query's."""
    service = action.partition(":")[0]
    status, code, message = {
        Fault.UNAVAILABLE: (503, "ServiceUnavailable", "The service is unavailable"),
        Fault.INTERNAL: (500, "InternalError" if service == "s3" else "InternalFailure", "An internal error"),
        Fault.THROTTLED: {
            "kms": (400, "ThrottlingException", "Rate exceeded"),
            "s3": (503, "SlowDown", "Please reduce your request rate."),
        }.get(service, (400, "Throttling", "Rate exceeded")),
        Fault.DENIED: (
            400 if service == "kms" else 403,
            "AccessDeniedException" if service == "kms" else "AccessDenied",
            f"User: arn:aws:sts::{ACCOUNT}:assumed-role/provider/ica-storage is not authorized to perform: {action}",
        ),
    }[fault]
    if service == "kms":
        body = json.dumps({"__type": code, "message": message}).encode()
        return Reply(status, [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-RequestId", "7f3c")], body)
    error = f"<Code>{code}</Code><Message>{message}</Message>"
    if service == "s3":
        text = f"<Error>{error}<RequestId>7f3c</RequestId></Error>"
        return Reply(status, [("Content-Type", "application/xml"), ("x-amz-request-id", "7f3c")], text.encode())
    text = f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error><RequestId>7f3c</RequestId></ErrorResponse>"
    return Reply(status, [("Content-Type", "text/xml"), ("x-amzn-RequestId", "7f3c")], text.encode())
