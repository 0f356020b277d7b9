"""A stack of connections: what a user of Custom::IcaStorage does, through CloudFormation."""

import json
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from aws import LocalAws

ATTRIBUTES = [
    "BucketName",
    "KeyPrefix",
    "Region",
    "Algorithm",
    "KeyName",
    "BucketVersioning",
    "PolicyArn",
    "PolicyName",
    "AssumeRoleArn",
    "StorageConfiguration",
    "KeyPolicyStatement",
    "BucketPolicyStatement",
    "Warnings",
    "Changes",
]

Properties = dict[str, Any]


class StackFailed(AssertionError):
    """CloudFormation gave up; the message is what its events say."""


@dataclass
class Stack:
    """One stack, whose connections are given by their logical ids."""

    aws: LocalAws
    service_token: str
    name: str
    _deployed: bool = field(default=False, init=False)

    def deploy(self, **connections: Properties) -> None:
        """Create or update the stack; `DependsOn` among the properties is the resource's."""
        cloudformation = self.aws.client("cloudformation")
        verb = "update" if self._deployed else "create"
        call = getattr(cloudformation, f"{verb}_stack")
        call(StackName=self.name, TemplateBody=json.dumps(self._template(connections)))
        self._deployed = True
        self._settle(verb)

    def delete(self) -> None:
        self.aws.client("cloudformation").delete_stack(StackName=self.name)
        self._settle("delete")

    def attributes(self, connection: str = "Connection") -> dict[str, str]:
        """What `Fn::GetAtt` gives for every attribute."""
        outputs = self._outputs()
        return {name: outputs[f"{connection}{name}"] for name in ATTRIBUTES}

    def ref(self, connection: str = "Connection") -> str:
        return self._outputs()[f"{connection}Ref"]

    def status(self) -> str:
        return self._description()["StackStatus"]

    def id(self) -> str:
        return self._description()["StackId"]

    def reasons(self, connection: str = "Connection") -> str:
        """What the events tab says about the failures of a connection."""
        return "\n".join(
            event.get("ResourceStatusReason", "")
            for event in self._events()
            if event["LogicalResourceId"] == connection and event["ResourceStatus"].endswith("_FAILED")
        )

    def _template(self, connections: dict[str, Properties]) -> dict[str, Any]:
        def resource(properties: Properties) -> dict[str, Any]:
            depends_on = {name: value for name, value in properties.items() if name == "DependsOn"}
            rest = {name: value for name, value in properties.items() if name != "DependsOn"}
            return {
                "Type": "Custom::IcaStorage",
                "Properties": {"ServiceToken": self.service_token, "ServiceTimeout": 60} | rest,
            } | depends_on

        values = {
            f"{connection}{attribute}": {"Fn::GetAtt": [connection, attribute]}
            for connection in connections
            for attribute in ATTRIBUTES
        } | {f"{connection}Ref": {"Ref": connection} for connection in connections}
        return {
            "Resources": {name: resource(properties) for name, properties in connections.items()},
            "Outputs": {name: {"Value": value} for name, value in values.items()},
        }

    def _settle(self, verb: str) -> None:
        waiter = self.aws.client("cloudformation").get_waiter(f"stack_{verb}_complete")
        try:
            waiter.wait(StackName=self.name, WaiterConfig={"Delay": 0.2, "MaxAttempts": 450})
        except WaiterError as error:
            events = [
                f"{e['LogicalResourceId']} {e['ResourceStatus']} {e.get('ResourceStatusReason', '')}"
                for e in self._events()
            ]
            raise StackFailed(f"{self.name}: {verb} failed\n" + "\n".join(reversed(events))) from error

    def _description(self) -> dict[str, Any]:
        [stack] = self.aws.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        return stack

    def _outputs(self) -> dict[str, str]:
        return {output["OutputKey"]: output["OutputValue"] for output in self._description()["Outputs"]}

    def _events(self) -> list[dict[str, Any]]:
        try:
            return self.aws.client("cloudformation").describe_stack_events(StackName=self.name)["StackEvents"]
        except ClientError:
            return []  # deleted
