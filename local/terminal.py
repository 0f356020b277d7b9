"""What the demo looks like on a terminal, and in a log file."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from itertools import count

TERMINAL = sys.stdout.isatty()
COLOURS = TERMINAL and "NO_COLOR" not in os.environ

# Seconds between two signs of life: often where a line can be overwritten, seldom in a log.
PULSE = 0.5 if TERMINAL else 20.0

_steps = count(1)


class CommandFailed(Exception):
    """A command did not succeed; the message says which and ends with its last lines."""


def bold(text: str) -> str:
    return _coloured("1", text)


def dim(text: str) -> str:
    return _coloured("2", text)


def green(text: str) -> str:
    return _coloured("32", text)


def red(text: str) -> str:
    return _coloured("31", text)


def step(title: str) -> None:
    """Announce a part of the demo."""
    print(f"\n{bold(f'{next(_steps)}  {title}')}", flush=True)


def done(text: str) -> None:
    """Report something that was made or found as it should be."""
    print(f"   {green('✓')} {text}", flush=True)


def table(rows: dict[str, str]) -> None:
    width = max(len(name) for name in rows)
    for name, value in rows.items():
        print(f"   {name:<{width}}  {value}".rstrip(), flush=True)


def run(label: str, *command: str) -> None:
    """Run a command quietly, with a sign of life and the time it takes; its output is shown only if it fails."""
    started = pulsed = time.monotonic()
    process = subprocess.Popen(
        command,
        # Cargo counts what it has built also when nobody looks.
        env=os.environ | {"CARGO_TERM_PROGRESS_WHEN": "always", "CARGO_TERM_PROGRESS_WIDTH": "80"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that what it started is stopped with it
    )
    output = _Output(process)
    try:
        while process.poll() is None:
            time.sleep(0.1)
            if time.monotonic() - pulsed > PULSE:
                pulsed = time.monotonic()
                _pulse(f"   … {label}  {_elapsed(started)}{output.progress}")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    output.join()
    _clear()
    if process.returncode:
        raise CommandFailed(f"`{label}` ended with exit code {process.returncode}:\n" + "\n".join(output.lines))
    done(f"{label}  {dim(_elapsed(started))}")


class _Output(threading.Thread):
    """Reads what a command says: its last lines, and how far Cargo is."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__(daemon=True)
        self.lines: deque[str] = deque(maxlen=60)
        self.progress = ""
        self._stream = process.stdout
        self.start()

    def run(self) -> None:
        for line in self._stream or ():
            if counted := re.search(r"Building \[.*\] (\d+/\d+)", line):
                self.progress = f"  crate {counted[1]}"
            else:
                self.lines.append(line.rstrip())


def _pulse(text: str) -> None:
    if TERMINAL:
        print(f"\r\033[K{text}", end="", flush=True)
    else:
        print(text, flush=True)


def _clear() -> None:
    if TERMINAL:
        print("\r\033[K", end="", flush=True)


def _elapsed(started: float) -> str:
    seconds = round(time.monotonic() - started)
    return f"{seconds // 60}:{seconds % 60:02}"


def _coloured(code: str, text: str) -> str:
    return f"\033[{code}m{text}\033[0m" if COLOURS else text
