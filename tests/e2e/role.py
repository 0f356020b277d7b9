"""The provider's role: its policy in template.yaml, and as CloudFormation makes it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from aws import LocalAws
from bench import Bench

TEMPLATE = Path(__file__).parents[2] / "template.yaml"

Policy = dict[str, Any]


def _listed(actions: str | list[str]) -> list[str]:
    return [actions] if isinstance(actions, str) else actions


def actions(policy: Policy) -> list[str]:
    """Every action that a policy allows, once, in its order."""
    return list(dict.fromkeys(action for one in policy["Statement"] for action in _listed(one["Action"])))


def in_template() -> Policy:
    """The policy as it stands in template.yaml, functions and all."""
    return yaml_parse(TEMPLATE.read_text())["Resources"]["ProviderPolicy"]["Properties"]["PolicyDocument"]


def deployed(aws: LocalAws, stack: str) -> Policy:
    """The policy that CloudFormation gave the role of a provider, with what conftest.py adds for MiniStack."""
    resource = aws.client("cloudformation").describe_stack_resource(StackName=stack, LogicalResourceId="ProviderRole")
    name = resource["StackResourceDetail"]["PhysicalResourceId"]
    policy = aws.client("iam").get_role_policy(RoleName=name, PolicyName="ica-storage-provider")["PolicyDocument"]
    assert set(actions(policy)) == set(actions(in_template()))
    return policy


def its_own(policy: Policy) -> Policy:
    """Without what conftest.py adds."""
    return policy | {"Statement": [statement for statement in policy["Statement"] if "Sid" in statement]}


def without(policy: Policy, action: str) -> Policy:
    """A policy that allows all but one action."""
    rest = [one | {"Action": [a for a in _listed(one["Action"]) if a != action]} for one in policy["Statement"]]
    return policy | {"Statement": [statement for statement in rest if statement["Action"]]}


class Bound(Bench):
    """A bench whose function runs under a role, and may do what the role may at the moment."""

    def __init__(self, aws: LocalAws, directory: Path, role: str) -> None:
        super().__init__(aws, directory)
        self._role = role

    def allow(self, policy: Policy) -> None:
        """From here on the role has this policy."""
        document = json.dumps(policy)
        self.aws.client("iam").put_role_policy(RoleName=self._role, PolicyName="provider", PolicyDocument=document)

    @contextmanager
    def runtime(self, *, timeout: int = 60, **environment: str) -> Iterator[Any]:
        trust = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
        }
        made = self.aws.client("iam").create_role(RoleName=self._role, AssumeRolePolicyDocument=json.dumps(trust))
        session = self.aws.client("sts").assume_role(RoleArn=made["Role"]["Arn"], RoleSessionName="function")
        credentials = {
            "AWS_ACCESS_KEY_ID": session["Credentials"]["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": session["Credentials"]["SecretAccessKey"],
            "AWS_SESSION_TOKEN": session["Credentials"]["SessionToken"],
        }
        with super().runtime(timeout=timeout, **credentials, **environment) as runtime:
            yield runtime
