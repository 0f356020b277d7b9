"""The binary of this build as Lambda runs it: under AWS's own Runtime Interface Emulator, out of the SAM CLI.

    with Runtime(directory, {"AWS_ENDPOINT_URL": endpoint}) as runtime:
        runtime.invoke(event)

The emulator starts the function with the first event and again after a crash or a timeout, as Lambda does.
"""

import importlib.util
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aws import HOST

BOOTSTRAP = Path(__file__).parents[2] / "target/debug/bootstrap"

# It listens after some milliseconds; a busy two-core machine may need a few seconds.
START_TIMEOUT = 30
STOP_TIMEOUT = 5

# Notes its process id, to be killed by, and keeps the function's own output apart from the emulator's.
LAUNCHER = """\
#!/bin/sh
cd "$(dirname "$0")"
echo $$ >pid
exec "{bootstrap}" >>function.out 2>>function.err
"""


def emulator() -> Path | None:
    """The emulator for this machine; there is none for anything but Linux."""
    machine = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine())
    package = importlib.util.find_spec("samcli")
    if sys.platform != "linux" or machine is None or package is None or package.origin is None:
        return None
    return Path(package.origin).parent / f"local/rapid/aws-lambda-rie-{machine}"


@dataclass(frozen=True)
class Invocation:
    """How an invocation ended: with an error Lambda would repeat an asynchronous one."""

    error: str | None
    seconds: float


class Runtime:
    """One emulator, from `with` to the end of the block; its output stays in the directory."""

    def __init__(self, directory: Path, environment: dict[str, str], *, timeout: int = 60) -> None:
        """`timeout` is the function's, in seconds; `environment` all that it has besides Lambda's own."""
        self.directory = directory
        self.timeout = timeout
        self._environment = environment

    def __enter__(self) -> "Runtime":
        self.directory.mkdir(parents=True)
        launcher = self.directory / "launcher"
        launcher.write_text(LAUNCHER.format(bootstrap=BOOTSTRAP))
        launcher.chmod(0o755)
        (self.directory / "function.out").touch()
        (self.directory / "function.err").touch()
        # Both are asked for before either is given back, or they might be one.
        with socket.socket() as one, socket.socket() as other:
            for probe in (one, other):
                probe.bind((HOST, 0))
            address, api = (f"{HOST}:{probe.getsockname()[1]}" for probe in (one, other))
        self._url = f"http://{address}/2015-03-31/functions/function/invocations"
        command = [emulator(), "--runtime-interface-emulator-address", address, "--runtime-api-address", api, launcher]
        self._process = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"]}
            | {
                "AWS_LAMBDA_FUNCTION_NAME": "ica-storage",
                "AWS_LAMBDA_FUNCTION_TIMEOUT": str(self.timeout),
                "AWS_LAMBDA_LOG_FORMAT": "JSON",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
            | self._environment,
            stdin=subprocess.DEVNULL,
            stdout=(self.directory / "emulator.log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        self._await(address)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()  # the function is ended with it
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.kill()
            self._process.wait()

    def invoke(self, event: Any) -> Invocation:
        """Invoke the function with an event; bytes go as they are."""
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        started = time.monotonic()
        try:
            with direct.open(urllib.request.Request(self._url, data=payload), timeout=self.timeout + 10) as response:
                body = response.read()
        except urllib.error.HTTPError as refused:  # the function died
            body = refused.read()
        seconds = time.monotonic() - started
        with (self.directory / "results").open("ab") as results:
            results.write(body + b"\n")
        return Invocation(None if body == b"null" else body.decode(), seconds)

    def kill(self) -> None:
        """End the function as a machine that fails does."""
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.kill(int((self.directory / "pid").read_text()), signal.SIGKILL)

    def lines(self) -> list[dict[str, Any]]:
        """What the function printed: every line has to be JSON."""
        text = "".join((self.directory / name).read_text() for name in ("function.out", "function.err"))
        return [json.loads(line) for line in text.splitlines()]

    def log(self) -> list[dict[str, Any]]:
        """What it printed but for the metrics."""
        return [line for line in self.lines() if "_aws" not in line]

    def metrics(self) -> list[dict[str, Any]]:
        return [line for line in self.lines() if "_aws" in line]

    def _await(self, address: str) -> None:
        host, port = address.split(":")
        deadline = time.monotonic() + START_TIMEOUT
        while self._process.poll() is None and time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
                return
            time.sleep(0.01)
        self._process.kill()
        raise AssertionError((self.directory / "emulator.log").read_text())
