"""CloudFormation's end of a single request: the event, and a strict receiver of the one answer.

MiniStack believes any answer. This receiver asks for what AWS asks for.
"""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

from aws import ACCOUNT, HOST, REGION, LocalAws

# Presigned addresses look like this: escapes that a careless client decodes, and a signature that it must not lose.
PATH = "/arn%3Aaws%3Acloudformation%3Aus-east-1%7CConnection%7C?X-Amz-Signature=c2VjcmV0%2B&x=%7C"

# Of the answer, in bytes, and of the physical id (CloudFormation's user guide, custom resource responses).
ANSWER_LIMIT = 4096
ID_LIMIT = 1024


@dataclass
class Put:
    """One request that arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Callback:
    """Listens where CloudFormation would wait for the answer."""

    aws: LocalAws
    service_token: str
    puts: list[Put] = field(default_factory=list, init=False)

    def __enter__(self) -> "Callback":
        puts = self.puts

        class Receiver(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                puts.append(Put(self.path, headers, body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((HOST, 0), Receiver)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def stack_id(self) -> str:
        """The id of a stack that this is the CloudFormation of."""
        return f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/single-requests/{uuid4()}"

    def send(self, request_type: str, stack_id: str, properties: dict[str, Any], **members: Any) -> dict[str, Any]:
        """Send one event; the answer, which has to be as CloudFormation wants it."""
        event = {
            "RequestType": request_type,
            "ResponseURL": f"http://{HOST}:{self._server.server_port}{PATH}",
            "StackId": stack_id,
            "RequestId": str(uuid4()),
            "ResourceType": "Custom::IcaStorage",
            "LogicalResourceId": "Connection",
            "ServiceToken": self.service_token,
            "ResourceProperties": {"ServiceToken": self.service_token} | properties,
        } | members
        self.puts.clear()
        result = self.aws.client("lambda").invoke(FunctionName=self.service_token, Payload=json.dumps(event))
        assert "FunctionError" not in result, result["Payload"].read()
        return self._answer(event)

    def _answer(self, event: dict[str, Any]) -> dict[str, Any]:
        [put] = self.puts
        assert put.path == PATH
        assert put.headers.get("content-type", "") == ""
        assert put.headers["content-length"] == str(len(put.body))
        assert not {"transfer-encoding", "authorization"} & put.headers.keys()
        assert len(put.body) <= ANSWER_LIMIT

        answer = json.loads(put.body)
        for member in ("StackId", "RequestId", "LogicalResourceId"):
            assert answer[member] == event[member]
        assert answer["Status"] in ("SUCCESS", "FAILED")
        assert answer["Status"] == "SUCCESS" or answer["Reason"]
        assert 0 < len(answer["PhysicalResourceId"].encode()) <= ID_LIMIT
        assert all(isinstance(value, str) for value in answer.get("Data", {}).values())
        return answer
