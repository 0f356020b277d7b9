"""The way to AWS: a proxy on which every call takes a given time, however many are made at once.

A reply leaves when the call is that old, or when the local AWS has it, if that is later. What the local AWS does
is so part of the time, as it is on AWS, and calls that were too slow for it are counted: `late`.

It is asyncio because one thread a connection was slower than the calls. What it costs itself is measured beside
everything else.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from aws import HOST
from calls import action_of

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Traffic:
    """What went over the wire since it was asked last."""

    calls: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    late: int = 0
    # The longest chain of calls each of which began when the one before had been answered.
    chain: int = 0


class Wire:
    """Listens where the function looks for AWS, from `with` to the end of the block."""

    def __init__(self, port: int, reply: Callable[[str, bytes], bytes | None]) -> None:
        """`port` is the local AWS's; what `reply` answers is not asked there."""
        self._upstream = port
        self._reply = reply
        self._idle: list[Stream] = []
        self._broken: list[BaseException] = []
        self._traffic = Traffic()
        # Seconds that a call takes, and that a connection takes to be made before its first call.
        self.latency = 0.0
        self.connecting = 0.0

    def __enter__(self) -> "Wire":
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        starting = asyncio.start_server(self._serve, HOST, 0)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        self.endpoint = f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def traffic(self) -> Traffic:
        """What there was, and from here on anew."""
        if self._broken:
            raise self._broken[0]
        traffic, self._traffic = self._traffic, Traffic()
        return traffic

    async def _hang_up(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for _, writer in self._idle:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._traffic.connections += 1
        await asyncio.sleep(self.connecting)
        try:
            # The function hangs up, also in the middle of something when it is ended.
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    arrived, traffic = self._loop.time(), self._traffic
                    place = traffic.chain + 1
                    line, headers = _parsed(head)
                    body = await reader.readexactly(int(headers.get("content-length", 0)))
                    method, path, _ = line.split(" ")
                    action = action_of(method, path, headers, body)
                    traffic.calls[action] += 1
                    try:
                        reply = self._reply(action, body)
                        reply = reply or await self._forward(head + body, is_head=method == "HEAD")
                    except (EOFError, ConnectionError) as error:
                        raise RuntimeError("the local AWS hung up") from error
                    left = arrived + self.latency - self._loop.time()
                    traffic.late += left < 0 < self.latency
                    await asyncio.sleep(max(0, left))
                    traffic.chain = max(traffic.chain, place)
                    writer.write(reply)
        except Exception as error:  # told to whoever asks next
            self._broken.append(error)
        finally:
            writer.close()

    async def _forward(self, request: bytes, *, is_head: bool) -> bytes:
        reader, writer = await self._connection()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        line, headers = _parsed(head)
        if is_head or line.split(" ")[1] in ("204", "304"):
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = await _chunks(reader)
        else:
            body = await reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return head + body


    async def _connection(self) -> Stream:
        """One that the local AWS has not hung up."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
        return await asyncio.open_connection(HOST, self._upstream)


class _Headers(dict[str, str]):
    """Finds a name in any case."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())


def _parsed(head: bytes) -> tuple[str, _Headers]:
    line, *rest = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    named = (header.partition(":") for header in rest)
    return line, _Headers((name.lower(), value.strip()) for name, _, value in named)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """A body in chunks, as it came."""
    body = b""
    while True:
        size = await reader.readuntil(b"\r\n")
        chunk = await reader.readexactly(int(size, 16) + 2)
        body += size + chunk
        if int(size, 16) == 0:
            return body
