"""Lambda's Runtime API for one function, which tells when the function first asks for work and what it takes.

AWS's emulator cannot: it starts the function with the first event, and its own work is in every duration.
"""

import json
import os
import queue
import subprocess
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from listener import Handler, Listener

# The function's time, and how long it may take to start. Seconds.
TIMEOUT = 300
START_TIMEOUT = 30

NEXT = "/2018-06-01/runtime/invocation/next"


class Died(Exception):
    """The function ended, failed, or did not come back; the message is what it printed last."""


class Function:
    """The binary as Lambda runs it, from `with` to the end of the block."""

    def __init__(self, bootstrap: Path, environment: dict[str, str], log: Path) -> None:
        """`environment` is all that it has besides Lambda's own."""
        self._bootstrap, self._environment, self._log = bootstrap, environment, log
        self._polls: queue.Queue[float] = queue.Queue()
        self._events: queue.Queue[bytes] = queue.Queue()
        self._results: queue.Queue[tuple[float, bool]] = queue.Queue()

    def __enter__(self) -> "Function":
        self._api = Listener(_Handler, function=self)
        self._api.__enter__()
        environment = {
            "AWS_LAMBDA_RUNTIME_API": self._api.url.removeprefix("http://"),
            "AWS_LAMBDA_FUNCTION_NAME": "ica-storage",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/ica-storage",
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/31/[$LATEST]0f",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
        }
        output = self._log.open("ab")
        started = time.monotonic()
        self._process = subprocess.Popen(
            [self._bootstrap],
            env=environment | self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            self.init = self._wait(self._polls, START_TIMEOUT) - started
            self.init_processor_time = self.processor_time()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exit: object) -> None:
        self._process.kill()
        self._process.wait()
        self._events.put(b"")  # lets go of whoever waits for one
        self._api.__exit__(*exit)

    def invoke(self, event: dict[str, Any]) -> float:
        """Seconds from handing out an event to being told that it is done."""
        started = time.monotonic()
        self._events.put(json.dumps(event).encode())
        ended, is_success = self._wait(self._results, TIMEOUT)
        self._wait(self._polls, START_TIMEOUT)
        if not is_success:
            raise Died(self._tail())
        return ended - started

    def peak_memory(self) -> int:
        """The most that it had in memory so far, in bytes."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        [kilobytes] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(kilobytes) * 1024

    def processor_time(self) -> float:
        """What it has had of a processor so far, in seconds: a busy machine takes nothing from it."""
        # The clock of a process, as clock_getcpuclockid(3) makes it; Python has no name for it.
        return time.clock_gettime(~self._process.pid << 3 | 2)

    def next(self) -> bytes:
        self._polls.put(time.monotonic())
        return self._events.get()

    def done(self, *, is_success: bool) -> None:
        self._results.put((time.monotonic(), is_success))

    def _wait(self, what: "queue.Queue[Any]", seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                return what.get(timeout=1)
            except queue.Empty:
                pass
        raise Died(self._tail())

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


class _Handler(Handler):
    function: Function

    def handle_call(self) -> None:
        if self.path == NEXT:
            event = self.function.next()
            if event:
                self._hand_out(event)
            return
        self.body()
        self.function.done(is_success=self.path.endswith("/response"))
        self.answer(202)

    def _hand_out(self, event: bytes) -> None:
        self.answer(
            200,
            event,
            Content_Type="application/json",
            Lambda_Runtime_Aws_Request_Id=str(uuid4()),
            Lambda_Runtime_Deadline_Ms=str(round((time.time() + TIMEOUT) * 1000)),
            Lambda_Runtime_Invoked_Function_Arn="arn:aws:lambda:us-east-1:123456789012:function:ica-storage",
            Lambda_Runtime_Trace_Id=f"Root=1-{os.urandom(4).hex()}-{os.urandom(12).hex()};Sampled=0",
        )
