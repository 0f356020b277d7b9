"""What a missing permission of the function's role does: every one of template.yaml is withheld once."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import pytest

from aws import Lab, LocalAws, changes, lab, snapshot
from bench import Bench, identity
from connection import objects, set_versioning, traces
from faults import ALL, Call, Fault
from role import Bound, Policy, actions, deployed, in_template, without
from runtime import emulator

pytestmark = pytest.mark.skipif(emulator() is None, reason="AWS's emulator of Lambda runs on Linux only")

# What others do in the role's name, so that no call of the function shows it. The second judge decides these
# (test_grants.py).
ON_ITS_BEHALF = {
    "kms:GenerateDataKey": "S3 asks KMS for it; MiniStack's S3 encrypts without asking",
    "logs:CreateLogStream": "Lambda logs; MiniStack's Lambda does so without asking",
    "logs:PutLogEvents": "Lambda logs; MiniStack's Lambda does so without asking",
    "sqs:SendMessage": "Lambda queues; MiniStack's Lambda does so without asking",
}

# What a lack of only warns: the function looked in order to warn of something.
ADVISORY = [
    "s3:GetBucketOwnershipControls",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketNotification",
    "cloudformation:DescribeStackResource",
    "cloudformation:DescribeStacks",
]

# What only the log tells of: an empty folder that stays grants nothing.
LOGGED = ["s3:DeleteObject", "s3:DeleteObjectVersion"]

# The lack of any other permission is a failure.
JUDGED = [action for action in actions(in_template()) if action not in ON_ITS_BEHALF]

# How many functions are tried at once. A Delete tries again for up to half a minute before it gives up.
AT_ONCE = 8

Event = dict[str, Any]

# Prepares what a request is about, and gives the request.
Operation = Callable[[Bench, Lab], Event]


def a_create(bench: Bench, site: Lab) -> Event:
    return bench.create(site)


def an_update(bench: Bench, site: Lab) -> Event:
    """With other tags, in a bucket that has versions by now, of a policy that has no room for another version."""
    created = bench.create(site, Tags=[{"Key": "lab", "Value": "A"}])
    arn = bench.succeed(created)["Data"]["PolicyArn"]
    document = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"}]}'
    for _ in range(4):
        bench.aws.client("iam").create_policy_version(PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)
    set_versioning(bench.aws, site, "Enabled")
    return _updated(bench, created, Tags=[{"Key": "group", "Value": "B"}])


def an_update_that_lets_go(bench: Bench, site: Lab) -> Event:
    """Of what was in the key's policy, and all there was in the bucket's."""
    created = bench.create(site)
    bench.succeed(created)
    return _updated(bench, created, CrossAccountAccess=False)


def a_delete(bench: Bench, site: Lab) -> Event:
    """Of a policy that a user, a group and a role have. One that shares nothing gives up soonest."""
    created = bench.create(site, CrossAccountAccess=False, ConfigureCors=False)
    arn = bench.succeed(created)["Data"]["PolicyArn"]
    iam, name = bench.aws.client("iam"), site.bucket
    iam.create_user(UserName=name)
    iam.attach_user_policy(UserName=name, PolicyArn=arn)
    iam.create_group(GroupName=name)
    iam.attach_group_policy(GroupName=name, PolicyArn=arn)
    iam.create_role(RoleName=name, AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[]}')
    iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    return bench.delete(created, identity(created))


def a_delete_with_versions(bench: Bench, site: Lab) -> Event:
    """In a bucket that keeps versions."""
    set_versioning(bench.aws, site, "Enabled")
    created = bench.create(site)
    bench.succeed(created)
    return bench.delete(created, identity(created))


def _updated(bench: Bench, created: Event, **properties: Any) -> Event:
    return bench.request(
        "Update",
        created["ResourceProperties"] | properties,
        StackId=created["StackId"],
        PhysicalResourceId=identity(created),
        OldResourceProperties=created["ResourceProperties"],
    )


# The first in which an action is called is the one that shows what its lack does.
OPERATIONS = [a_create, an_update, an_update_that_lets_go, a_delete, a_delete_with_versions]


@dataclass(frozen=True)
class Trial:
    """An operation for which one permission was withheld, and then given."""

    event: Event
    calls: list[Call]
    answer: Event
    log: str
    # The answer when the permission is there again.
    again: Event
    # What is left when CloudFormation has deleted it.
    left: list[str]


def try_without(action: str, operation: Operation, bench: Bound, site: Lab, policy: Policy) -> Trial:
    before = traces(bench.aws, site)
    bench.allow(policy)
    event = operation(bench, site)
    bench.reset()
    lines = len(bench.function.log())
    bench.allow(without(policy, action))
    answer = bench.answer(event)
    calls, log = list(bench.proxy.calls), "\n".join(str(line) for line in bench.function.log()[lines:])

    bench.allow(policy)
    left = []
    if event["RequestType"] == "Create":
        left = _left(bench, site, before, event)
    again = bench.answer(event)
    return Trial(event, calls, answer, log, again, left + _left(bench, site, before, event))


def _left(bench: Bench, site: Lab, before: dict[str, Any], event: Event) -> list[str]:
    """What is left of an operation after a Delete, if it was none itself."""
    if event["RequestType"] != "Delete":
        bench.succeed(bench.delete(event, identity(event)))
    return changes(before, traces(bench.aws, site))


@pytest.fixture(scope="module")
def policy(aws: LocalAws, service_token: str) -> Policy:
    return deployed(aws, "provider")


@pytest.fixture(scope="module")
def bounds(quiet_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator["SimpleQueue[Bound]"]:
    """Functions, each under a role of its own."""
    with ExitStack() as stack:
        queue: SimpleQueue[Bound] = SimpleQueue()
        for number in range(AT_ONCE):
            bound = Bound(quiet_aws, tmp_path_factory.mktemp("bound"), f"function-{number}")
            queue.put(stack.enter_context(bound))
        yield queue


@pytest.fixture(scope="module")
def operations(bounds: "SimpleQueue[Bound]", policy: Policy) -> dict[str, Operation]:
    """For each action the first operation that calls it. With the whole policy all of them succeed."""
    found = {}
    bench = bounds.get()
    bench.allow(policy)
    for operation in OPERATIONS:
        event = operation(bench, lab(bench.aws, f"whole-{len(found)}"))
        bench.reset()
        assert bench.succeed(event).get("Data", {}).get("Warnings", "") == ""
        found = {call.action: operation for call in bench.proxy.calls} | found
    bounds.put(bench)
    return found


@pytest.fixture(scope="module")
def trials(
    bounds: "SimpleQueue[Bound]", policy: Policy, operations: dict[str, Operation]
) -> Iterator[dict[str, Future[Trial]]]:
    """Each action withheld from the operation that calls it, several at a time."""

    def trial(number: int, action: str) -> Trial:
        bench = bounds.get()
        try:
            return try_without(action, operations[action], bench, lab(bench.aws, f"without-{number}"), policy)
        finally:
            bounds.put(bench)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        # Those of a Delete take longest.
        longest_first = sorted(JUDGED, key=lambda action: OPERATIONS.index(operations[action]), reverse=True)
        yield {action: pool.submit(trial, number, action) for number, action in enumerate(longest_first)}
        pool.shutdown(cancel_futures=True)


def actions_in(text: str) -> set[str]:
    """Every permission that a text names."""
    return set(re.findall(r"\b(?:s3|kms|iam|cloudformation):[A-Z]\w+", text))


def is_named_with_what_to_do(action: str, reason: str) -> bool:
    """Whether a reason says that this permission is missing, no other, and that it is to be granted."""
    sentence, _, _ = reason.partition("add this by hand: ")  # a statement names permissions of others
    _, _, remedy = sentence.partition("; ")
    return reason.startswith("AccessDenied: ") and actions_in(sentence) == {action} == actions_in(remedy)


def test_every_permission_of_the_role_is_judged_here_or_by_the_second_judge(operations: dict[str, Operation]):
    assert set(operations) == set(JUDGED)
    assert {*ON_ITS_BEHALF, *ADVISORY, *LOGGED} <= set(actions(in_template()))


def tried_without(trials: dict[str, Future[Trial]], action: str) -> Trial:
    """A trial that ended well when the permission was there again, under its own id, and left nothing."""
    trial = trials[action].result()
    assert trial.answer["PhysicalResourceId"] == identity(trial.event)
    assert (trial.again["Status"], trial.again.get("Data", {}).get("Warnings", "")) == ("SUCCESS", "")
    assert trial.left == []
    return trial


@pytest.mark.parametrize("action", [action for action in JUDGED if action not in (*ADVISORY, *LOGGED)])
def test_a_missing_permission_is_named_with_what_to_do(trials: dict[str, Future[Trial]], action: str):
    trial = tried_without(trials, action)

    assert trial.answer["Status"] == "FAILED", trial.answer
    assert is_named_with_what_to_do(action, trial.answer["Reason"]), trial.answer["Reason"]
    # What may not be read is found out before anything is written.
    if trial.event["RequestType"] == "Create" and not Call(action, 1).writes:
        assert not any(call.writes for call in trial.calls)


@pytest.mark.parametrize("action", ADVISORY)
def test_a_missing_permission_to_look_is_a_warning(trials: dict[str, Future[Trial]], action: str):
    answer = tried_without(trials, action).answer

    warning = f"not checked for lack of a permission: grant `{action}` to the function's role"
    assert (answer["Status"], answer["Data"]["Warnings"]) == ("SUCCESS", warning)


@pytest.mark.parametrize("action", LOGGED)
def test_a_missing_permission_to_remove_the_folder_is_logged(trials: dict[str, Future[Trial]], action: str):
    trial = tried_without(trials, action)

    assert trial.answer["Status"] == "SUCCESS", trial.answer
    assert actions_in(trial.log) == {action}


@pytest.mark.parametrize(
    ("action", "property"),
    [
        ("s3:GetEncryptionConfiguration", "KmsKeyId"),
        ("kms:GetKeyPolicy", "ConfigureKeyPolicy"),
        ("s3:GetBucketPolicy", "ConfigureBucketPolicy"),
        ("s3:GetBucketCORS", "ConfigureCors"),
    ],
)
def test_a_permission_is_needed_only_for_what_is_asked(bench: Bench, site: Lab, action: str, property: str):
    value = site.key_arn if property == "KmsKeyId" else "false"
    bench.proxy.arm(Fault.DENIED, action, ALL)
    warnings = bench.succeed(bench.create(site, **{property: value}))["Data"]["Warnings"]

    assert actions_in(warnings) <= {action}


@pytest.mark.parametrize("action", ["kms:PutKeyPolicy", "iam:DeletePolicy"])
def test_a_delete_waits_for_a_permission_that_is_about_to_come(bench: Bench, site: Lab, action: str):
    before, created = snapshot(bench.aws), bench.create(site)
    bench.succeed(created)
    bench.reset()
    bench.proxy.arm(Fault.DENIED, action)

    bench.succeed(bench.delete(created, identity(created)))
    assert changes(before, snapshot(bench.aws)) == []


@pytest.mark.parametrize("action", ["s3:GetObject", "s3:ListBucket", "s3:DeleteObject"])
def test_a_delete_that_may_not_remove_the_folder_removes_all_else(bench: Bench, site: Lab, action: str):
    before, created = snapshot(bench.aws), bench.create(site)
    bench.succeed(created)
    bench.reset()
    bench.proxy.arm(Fault.DENIED, action, ALL)
    bench.succeed(bench.delete(created, identity(created)))

    assert objects(bench.aws, site) == ["project-a/"]
    bench.aws.client("s3").delete_object(Bucket=site.bucket, Key="project-a/")
    assert changes(before, snapshot(bench.aws)) == []


def test_nothing_that_was_printed_names_the_presigned_address(bench: Bench, bounds: "SimpleQueue[Bound]"):
    assert bench.leaks() == []
    for _ in range(AT_ONCE):
        bound = bounds.get()
        bounds.put(bound)
        assert bound.leaks() == []
