"""What is measured, and the fewest rounds it could take.

A round is one call after another; calls at once are one round. A case yields the event that is measured, in an
account that was made ready for it, and cleans up behind it.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from aws import Lab
from connection import set_versioning
from stage import Event, Stage


@dataclass(frozen=True)
class Case:
    name: str
    # The fewest rounds, and which they are.
    floor: int
    rounds: str
    # The most that it is to take, in rounds; none where nothing was agreed on.
    target: float | None
    event: Callable[[Stage], AbstractContextManager[Event]]
    # Whether the function is started for it, and makes its connections first.
    cold: bool = False


@contextmanager
def create(stage: Stage, named: Callable[[Stage, Lab], dict[str, str]]) -> Iterator[Event]:
    """A Create that names the key in one of several ways."""
    customer = stage.lab()
    created = stage.create(customer, **named(stage, customer))
    yield created
    stage.run(stage.follow(created, "Delete"))


def by_arn(_: Stage, customer: Lab) -> dict[str, str]:
    return {"KmsKeyId": customer.key_arn}


def by_default(_: Stage, __: Lab) -> dict[str, str]:
    return {}


def by_alias(stage: Stage, customer: Lab) -> dict[str, str]:
    alias = f"alias/{customer.bucket}"
    stage.aws.client("kms").create_alias(AliasName=alias, TargetKeyId=customer.key_id)
    return {"KmsKeyId": alias}


@contextmanager
def update(stage: Stage, *, versioning: bool = False, **properties: str) -> Iterator[Event]:
    customer = stage.lab()
    with stage.connected(customer, KmsKeyId=customer.key_arn) as created:
        if versioning:
            set_versioning(stage.aws, customer, "Enabled")
        yield stage.follow(created, "Update", **properties)


@contextmanager
def delete_last(stage: Stage) -> Iterator[Event]:
    customer = stage.lab()
    created = stage.create(customer, KmsKeyId=customer.key_arn)
    stage.run(created)
    yield stage.follow(created, "Delete")


@contextmanager
def delete_one(stage: Stage) -> Iterator[Event]:
    """The other connection stays, and what both share."""
    customer = stage.lab()
    with stage.connected(customer, "project-b/", KmsKeyId=customer.key_arn):
        created = stage.create(customer, KmsKeyId=customer.key_arn)
        stage.run(created)
        yield stage.follow(created, "Delete")


@contextmanager
def create_in(stage: Stage, customer: Lab) -> Iterator[Event]:
    """A Create in a bucket that is there already."""
    created = stage.create(customer, KmsKeyId=customer.key_arn)
    yield created
    stage.run(stage.follow(created, "Delete"))


WRITE = "register, write, confirm"

CASES = [
    Case("Create, key by ARN", 4, f"read, {WRITE}", 4.5, lambda stage: create(stage, by_arn)),
    Case(
        "Create, key by ARN, cold",
        5,
        f"connect, read, {WRITE}",
        None,
        lambda stage: create(stage, by_arn),
        cold=True,
    ),
    Case(
        "Create, key of default encryption",
        5,
        f"read which key, read the key, {WRITE}",
        5.5,
        lambda stage: create(stage, by_default),
    ),
    Case(
        "Create, key by alias",
        5,
        f"read which key, read its policy, {WRITE}",
        None,
        lambda stage: create(stage, by_alias),
    ),
    Case(
        "Update, nothing differs",
        1,
        "read",
        2.6,
        lambda stage: update(stage, ServiceTimeout="400"),
    ),
    Case(
        "Update, versioning switched on",
        3,
        "read, write, confirm",
        None,
        lambda stage: update(stage, versioning=True, ServiceTimeout="400"),
    ),
    Case(
        "Update, CORS switched off",
        5,
        "read, record it, look who else wants the rule, take it out, confirm",
        None,
        lambda stage: update(stage, ConfigureCors="false"),
    ),
    Case(
        "Delete, the last one",
        6,
        "read, record it, look who else is there, take out, confirm, delete the IAM policy",
        7,
        delete_last,
    ),
    Case(
        "Delete, one of two",
        6,
        "read, record it, look who else is there, read that one's record, ask for its stack, delete the IAM policy",
        7,
        delete_one,
    ),
]
