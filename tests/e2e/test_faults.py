"""What becomes of a connection when the function dies, or AWS fails it, at any call."""

import re
from typing import Any

import pytest

from aws import ACCOUNT, Lab, changes, snapshot
from bench import MADE_UP_ID, Bench, identity
from faults import ALL, EVERY_ACTION, EVERY_OTHER, Call, Fault
from runtime import emulator

pytestmark = pytest.mark.skipif(emulator() is None, reason="AWS's emulator of Lambda runs on Linux only")

# The function keeps ten seconds for its answer: the work may take two.
TWO_SECONDS = {"ServiceTimeout": "12"}


def calls_of(bench: Bench, event: dict[str, Any]) -> list[Call]:
    """The calls of a request when all goes well."""
    bench.reset()
    bench.succeed(event)
    return bench.proxy.calls


def calls_of_create(bench: Bench, site: Lab) -> list[Call]:
    """The calls of a Create, of which nothing is left then."""
    before, created = snapshot(bench.aws), bench.create(site)
    calls = calls_of(bench, created)
    assert len(calls) > 20
    assert bench.remains(before, created, identity(created)) == []
    return calls


def writes_of_delete(bench: Bench, site: Lab) -> list[Call]:
    created = bench.create(site)
    bench.succeed(created)
    calls = calls_of(bench, bench.delete(created, identity(created)))
    writes = [call for call in calls if call.writes]
    assert len(writes) > 5
    return writes


# Death


def test_a_create_that_is_killed_before_any_call_can_be_deleted(bench: Bench, site: Lab):
    left = {}
    for call in calls_of_create(bench, site):
        before, created = snapshot(bench.aws), bench.create(site)
        killed_at(bench, Fault.KILL, call, created)
        left[str(call)] = bench.remains(before, created, MADE_UP_ID)
    assert only_leftovers(left) == {}


def test_a_create_that_is_killed_after_any_write_can_be_deleted(bench: Bench, site: Lab):
    left = {}
    for call in calls_of_create(bench, site):
        if call.writes:
            before, created = snapshot(bench.aws), bench.create(site)
            killed_at(bench, Fault.KILL_AFTER, call, created)

            assert changes(before, snapshot(bench.aws)) != []
            left[str(call)] = bench.remains(before, created, MADE_UP_ID)
    assert only_leftovers(left) == {}


def test_a_create_that_is_killed_after_any_write_succeeds_when_lambda_repeats_it(bench: Bench, site: Lab):
    left = {}
    for call in calls_of_create(bench, site):
        if call.writes:
            before, created = snapshot(bench.aws), bench.create(site)
            killed_at(bench, Fault.KILL_AFTER, call, created)
            bench.reset()

            assert bench.succeed(created)["PhysicalResourceId"] == identity(created)
            left[str(call)] = bench.remains(before, created, identity(created))
    assert only_leftovers(left) == {}


def test_a_delete_that_is_killed_after_any_write_can_be_repeated(bench: Bench, site: Lab):
    left = {}
    for call in writes_of_delete(bench, site):
        before, created = snapshot(bench.aws), bench.create(site)
        bench.succeed(created)
        killed_at(bench, Fault.KILL_AFTER, call, bench.delete(created, identity(created)))
        left[str(call)] = bench.remains(before, created, identity(created))
    assert only_leftovers(left) == {}


def killed_at(bench: Bench, fault: Fault, call: Call, event: dict[str, Any]) -> None:
    """The function dies over an event, and answers nothing."""
    bench.reset()
    bench.proxy.arm(fault, call.action, [call.number])
    invocation = bench.invoke(event)
    assert "Runtime.ExitError" in (invocation.error or ""), call
    assert bench.sink.attempts == []


def only_leftovers(left: dict[str, list[str]]) -> dict[str, list[str]]:
    return {call: lines for call, lines in left.items() if lines}


# Trouble that passes


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.UNAVAILABLE, Fault.INTERNAL, Fault.RESET, Fault.LOST])
def test_a_create_each_of_whose_calls_fails_once_succeeds(bench: Bench, site: Lab, fault: Fault):
    before, created = snapshot(bench.aws), bench.create(site)
    bench.proxy.arm(fault, EVERY_ACTION, EVERY_OTHER)
    assert bench.succeed(created)["PhysicalResourceId"] == identity(created)

    repeated = {call.action for call in bench.proxy.calls if call.number > 1}
    assert repeated == {call.action for call in bench.proxy.calls}
    assert {action.partition(":")[0] for action in repeated} == {"s3", "kms", "iam", "cloudformation"}
    assert bench.remains(before, created, identity(created)) == []


def test_a_create_that_loses_the_reply_to_any_write_succeeds(bench: Bench, site: Lab):
    left = {}
    for call in calls_of_create(bench, site):
        if call.writes:
            before, created = snapshot(bench.aws), bench.create(site)
            bench.reset()
            bench.proxy.arm(Fault.LOST, call.action, [call.number])

            assert bench.succeed(created)["PhysicalResourceId"] == identity(created), call
            left[str(call)] = bench.remains(before, created, identity(created))
    assert only_leftovers(left) == {}


def test_a_delete_that_loses_the_reply_to_any_write_succeeds(bench: Bench, site: Lab):
    left = {}
    for call in writes_of_delete(bench, site):
        before, created = snapshot(bench.aws), bench.create(site)
        bench.reset()
        bench.succeed(created)
        bench.reset()
        bench.proxy.arm(Fault.LOST, call.action, [call.number])

        bench.succeed(bench.delete(created, identity(created)))
        left[str(call)] = changes(before, snapshot(bench.aws))
    assert only_leftovers(left) == {}


# Trouble that stays


@pytest.mark.parametrize(
    ("fault", "action", "code"),
    [
        (Fault.THROTTLED, "iam:CreatePolicy", "Throttling"),
        (Fault.UNAVAILABLE, "kms:PutKeyPolicy", "ServiceInternalError"),
        (Fault.RESET, "s3:PutBucketPolicy", "NetworkFailure"),
    ],
)
def test_trouble_that_stays_is_named_and_leaves_what_delete_removes(
    bench: Bench, site: Lab, action: str, fault: Fault, code: str
):
    before, created = snapshot(bench.aws), bench.create(site)
    bench.proxy.arm(fault, action, ALL)
    failed = bench.fail(created)

    assert re.match(rf"{code}: {action} on `.+`: .+; repeat the deployment", failed["Reason"])
    assert failed["PhysicalResourceId"] == identity(created)
    assert 1 < len([call for call in bench.proxy.calls if call.action == action]) < 10
    assert bench.remains(before, created, identity(created)) == []
    # In words for the reader of a stack's events: neither paths nor structures of Rust.
    assert not re.search(r"\w::\w|\w \{", failed["Reason"]), failed["Reason"]


@pytest.mark.parametrize(
    ("fault", "action"),
    [
        (Fault.HANG, "kms:GetKeyPolicy"),
        (Fault.HANG_AFTER, "iam:CreatePolicy"),
        (Fault.HANG_AFTER, "kms:PutKeyPolicy"),
    ],
)
def test_a_call_that_hangs_is_answered_before_cloudformation_gives_up(
    bench: Bench, site: Lab, action: str, fault: Fault
):
    before, created = snapshot(bench.aws), bench.create(site, **TWO_SECONDS)
    bench.proxy.arm(fault, action)
    failed = bench.fail(created)

    assert failed["Reason"].startswith("NotStabilized: not finished after 2 s")
    assert failed["PhysicalResourceId"] == identity(created)
    assert bench.remains(before, created, identity(created)) == []


def test_a_call_that_hangs_is_answered_before_lambda_ends_the_function(bench: Bench, site: Lab):
    before, created = snapshot(bench.aws), bench.create(site)
    bench.proxy.arm(Fault.HANG, "s3:PutBucketPolicy")
    with bench.runtime(timeout=22) as short:
        failed = bench.fail(created, short)

    assert failed["Reason"].startswith("NotStabilized: not finished after ")
    assert failed["PhysicalResourceId"] == identity(created)
    assert bench.remains(before, created, identity(created)) == []


def test_a_delete_that_hangs_is_answered_and_can_be_repeated(bench: Bench, site: Lab):
    before, created = snapshot(bench.aws), bench.create(site)
    failed = hanging_delete(bench, created)

    assert failed["Reason"].startswith("NotStabilized: not finished after 2 s")
    assert failed["PhysicalResourceId"] == identity(created)
    assert bench.remains(before, created, identity(created)) == []


def test_a_delete_that_hangs_names_what_is_left_and_the_way_out(bench: Bench, site: Lab):
    failed = hanging_delete(bench, bench.create(site))

    assert f"policy `arn:aws:iam::{ACCOUNT}:policy/ica-storage/{site.bucket}/project-a/" in failed["Reason"]
    assert f"statement `AllowCrossAccountAccess` of the key policy of `{site.key_arn}`" in failed["Reason"]
    assert "FORCE_DELETE_STACK" in failed["Reason"]


def hanging_delete(bench: Bench, created: dict[str, Any]) -> dict[str, Any]:
    """The answer to a Delete that cannot write the key policy within its two seconds."""
    bench.succeed(created)
    bench.reset()
    bench.proxy.arm(Fault.HANG, "kms:PutKeyPolicy")
    deleted = bench.delete(created, identity(created))
    deleted["ResourceProperties"] |= TWO_SECONDS
    return bench.fail(deleted)


def test_nothing_that_was_printed_names_the_presigned_address(bench: Bench):
    assert bench.leaks() == []
