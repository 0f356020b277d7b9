"""CloudFormation's end of a single request to the deployed provider: the event, and the one answer."""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aws import ACCOUNT, REGION, LocalAws
from sink import Sink


def stack_id() -> str:
    """The id of a stack that only the event knows of."""
    return f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/single-requests/{uuid4()}"


def request(
    request_type: str, url: str, stack_id: str, properties: dict[str, Any], service_token: str, **members: Any
) -> dict[str, Any]:
    """An event as CloudFormation sends it."""
    return {
        "RequestType": request_type,
        "ResponseURL": url,
        "StackId": stack_id,
        "RequestId": str(uuid4()),
        "ResourceType": "Custom::IcaStorage",
        "LogicalResourceId": "Connection",
        "ServiceToken": service_token,
        "ResourceProperties": {"ServiceToken": service_token} | properties,
    } | members


@dataclass
class Callback:
    """Sends events to the provider, and listens where CloudFormation would wait for the answer."""

    aws: LocalAws
    service_token: str
    _sink: Sink = field(default_factory=Sink, init=False)

    def __enter__(self) -> "Callback":
        self._sink.__enter__()
        return self

    def __exit__(self, *exit: object) -> None:
        self._sink.__exit__(*exit)

    def stack_id(self) -> str:
        return stack_id()

    def send(self, request_type: str, stack_id: str, properties: dict[str, Any], **members: Any) -> dict[str, Any]:
        """Send one event; the answer, which has to be as CloudFormation wants it."""
        event = request(request_type, self._sink.url, stack_id, properties, self.service_token, **members)
        self._sink.clear()
        result = self.aws.client("lambda").invoke(FunctionName=self.service_token, Payload=json.dumps(event))
        assert "FunctionError" not in result, result["Payload"].read()
        return self._sink.answer(event)
