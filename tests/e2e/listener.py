"""An HTTP server on this machine: what the proxy, the receiver of the answers and Lambda's API are made of."""

import os
import socket
import struct
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aws import HOST


class Handler(BaseHTTPRequestHandler):
    """One connection, on which `handle_call` takes every request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_call(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self.handle_call()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer with all that there is to say."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def reset(self) -> None:
        """Break the connection: the other end reads an error, not an end."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Listener(ThreadingHTTPServer):
    """Listens from `with` to the end of the block; what is given by name is an attribute of every handler."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, handler: type[Handler], **members: object) -> None:
        super().__init__((HOST, 0), type(handler.__name__, (handler,), members))

    def __enter__(self) -> "Listener":
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}"

    def handle_error(self, *address: Any) -> None:
        """A connection that broke is what the tests are about; anything else is a mistake of theirs."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(*address)
