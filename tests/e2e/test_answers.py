"""The one answer to every event, whatever the event is and whatever becomes of the answer on its way."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from aws import HOST, Lab, changes, snapshot
from bench import Bench, identity
from runtime import emulator
from sink import Reply

pytestmark = pytest.mark.skipif(emulator() is None, reason="AWS's emulator of Lambda runs on Linux only")

# Of a tag: properties are nobody's business but the template's.
PROPERTY = "seen-by-the-template-only"


def changed(event: dict[str, Any], **members: Any) -> dict[str, Any]:
    """The event with other members; `None` takes one away."""
    return {name: value for name, value in (event | members).items() if value is not None}


def an_event(bench: Bench) -> dict[str, Any]:
    """A sound event, about a bucket that does not exist."""
    return bench.request("Create", {"BucketName": "nobodys-bucket", "KeyPrefix": "project-a/"})


# On its way


@pytest.mark.parametrize("script", [[500, 503], [408, 429], ["reset"], ["reset", 500]], ids=str)
def test_an_answer_that_meets_passing_trouble_is_sent_again(bench: Bench, site: Lab, script: list[Reply]):
    bench.sink.script = list(script)
    bench.succeed(bench.create(site))

    assert [attempt.reply for attempt in bench.sink.attempts] == [*script, 200]


@pytest.mark.parametrize("status", [302, 400, 403, 404])
def test_an_answer_that_is_refused_fails_the_invocation_at_once(bench: Bench, status: Reply):
    bench.sink.script = [status] * 10
    invocation = bench.invoke(an_event(bench))

    assert str(status) in (invocation.error or "")
    assert len(bench.sink.attempts) == 1


def test_an_answer_that_was_refused_is_given_when_lambda_repeats_the_event(bench: Bench, site: Lab):
    before, created = snapshot(bench.aws), bench.create(site)
    bench.sink.script = [403]
    assert bench.invoke(created).error is not None
    [refused] = bench.sink.attempts

    bench.succeed(created)
    [accepted] = bench.sink.attempts
    assert accepted.body == refused.body
    assert bench.remains(before, created, identity(created)) == []


@pytest.mark.parametrize("reply", ["hang", 503, "reset"])
def test_an_answer_that_never_gets_out_fails_the_invocation_in_time(bench: Bench, reply: Reply):
    bench.sink.script = [reply] * 100
    with bench.runtime(timeout=3) as short:
        invocation = bench.invoke(an_event(bench), short)

    assert "did not get out in time" in (invocation.error or "")
    assert invocation.seconds < 3


def test_an_address_that_is_never_up_fails_the_invocation_in_time(bench: Bench):
    with socket.socket() as unused:
        unused.bind((HOST, 0))  # and does not listen
        event = changed(an_event(bench), ResponseURL=f"http://{HOST}:{unused.getsockname()[1]}/x?X-Amz-Signature=s")
        with bench.runtime(timeout=3) as short:
            invocation = bench.invoke(event, short)

    assert "did not get out in time" in (invocation.error or "")
    assert invocation.seconds < 3


# Events that are none

UNREADABLE: dict[str, dict[str, Any]] = {
    "no_type": {"RequestType": None},
    "an_unknown_type": {"RequestType": "Upsert"},
    "a_type_in_lower_case": {"RequestType": "create"},
    "a_type_that_is_no_text": {"RequestType": 1},
    "no_stack": {"StackId": None},
    "a_stack_without_an_arn": {"StackId": "stack"},
    "a_stack_that_is_no_text": {"StackId": ["stack"]},
    "no_request_id": {"RequestId": None},
    "no_logical_id": {"LogicalResourceId": None},
    "a_logical_id_that_is_no_text": {"LogicalResourceId": {}},
    "no_resource_type": {"ResourceType": None},
    "no_properties": {"ResourceProperties": None},
    "properties_that_are_a_list": {"ResourceProperties": ["BucketName"]},
    "properties_that_are_a_text": {"ResourceProperties": "BucketName"},
    "properties_of_300_kB": {"ResourceProperties": {"BucketName": "b", "KeyPrefix": "a/", "Notes": "é" * 150_000}},
    "an_unknown_property_of_300_kB": {"ResourceProperties": {"BucketName": "b", "K" * 300_000: "x"}},
    "a_prefix_of_300_kB": {"ResourceProperties": {"BucketName": "b", "KeyPrefix": "\x01\U0001f9ec" * 60_000}},
    "an_update_without_an_id": {"RequestType": "Update", "OldResourceProperties": {}},
    "an_update_with_an_id_that_is_too_long": {
        "RequestType": "Update",
        "OldResourceProperties": {},
        "PhysicalResourceId": "i" * 1025,
    },
    "an_update_without_the_properties_before": {"RequestType": "Update", "PhysicalResourceId": "id"},
}


@pytest.mark.parametrize("members", UNREADABLE.values(), ids=UNREADABLE)
def test_an_event_that_cannot_be_read_is_answered(bench: Bench, members: dict[str, Any]):
    failed = bench.fail(changed(an_event(bench), **members))

    assert not any(call.writes for call in bench.proxy.calls)
    assert failed["Data"] == {}


@pytest.mark.parametrize("member", ["StackId", "RequestId", "LogicalResourceId", "ResourceType", "ResourceProperties"])
def test_a_delete_is_carried_out_whatever_it_lacks(bench: Bench, member: str):
    event = an_event(bench) | {"RequestType": "Delete", "PhysicalResourceId": "made-up"}
    deleted = bench.succeed(changed(event, **{member: None}))

    assert deleted["PhysicalResourceId"] == "made-up"


UNANSWERABLE: dict[str, Any] = {
    "null": None,
    "a_list": [{"RequestType": "Create"}],
    "a_text": "Create",
    "a_number": 1,
    "nothing": {},
    "no_json": b"Create?X-Amz-Signature=c2lnbmVk",
    "no_address": {"RequestType": "Create", "ResponseURL": None},
    "an_empty_address": {"ResponseURL": ""},
    "an_address_that_is_no_text": {"ResponseURL": 5},
    "an_address_of_another_kind": {"ResponseURL": "ftp://127.0.0.1/x?X-Amz-Signature=c2lnbmVk"},
    "an_address_with_a_space": {"ResponseURL": "http://127.0.0.1/ x?X-Amz-Signature=c2lnbmVk"},
    "an_address_without_a_host": {"ResponseURL": "https://?X-Amz-Signature=c2lnbmVk"},
}


@pytest.mark.parametrize("event", UNANSWERABLE.values(), ids=UNANSWERABLE)
def test_an_event_that_nobody_waits_for_fails_the_invocation(bench: Bench, event: Any):
    if isinstance(event, dict) and event:
        event = an_event(bench) | event
    assert bench.invoke(event).error is not None

    assert bench.sink.attempts == []
    assert bench.proxy.calls == []


def test_an_address_without_tls_is_for_a_local_stand_in_only(bench: Bench):
    with bench.runtime(AWS_ENDPOINT_URL="") as deployed:
        invocation = bench.invoke(an_event(bench), deployed)

    assert "no usable ResponseURL: it is not https" in (invocation.error or "")
    assert bench.sink.attempts == []


# Late and twice


@pytest.mark.parametrize("expiry", ["X-Amz-Date=20200101T000000Z&X-Amz-Expires=7200", "Expires=1577836800"])
@pytest.mark.parametrize("request_type", ["Create", "Delete"])
def test_an_event_that_is_too_late_changes_nothing(bench: Bench, site: Lab, request_type: str, expiry: str):
    created = bench.create(site)
    bench.succeed(created)
    bench.reset()
    event = {"Create": bench.create(site, KeyPrefix="project-b/"), "Delete": bench.delete(created, identity(created))}
    invocation = bench.invoke(late := event[request_type] | {"ResponseURL": f"{bench.sink.url}&{expiry}"})

    assert invocation.error is None
    assert (bench.sink.attempts, bench.proxy.calls) == ([], [])
    [line] = [line for line in bench.function.log() if line["span"].get("request_id") == late["RequestId"]]
    assert "expired" in line["fields"]["message"]


def test_an_event_in_time_is_worked_on(bench: Bench, site: Lab):
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    address = f"{bench.sink.url}&X-Amz-Date={now}&X-Amz-Expires=7200"
    bench.succeed(bench.create(site) | {"ResponseURL": address})


def test_an_event_that_comes_twice_changes_nothing_the_second_time(bench: Bench, site: Lab):
    created = bench.create(site)
    first = bench.succeed(created)
    after = snapshot(bench.aws)
    bench.reset()

    assert bench.succeed(created) == first
    assert not any(call.writes for call in bench.proxy.calls)
    assert changes(after, snapshot(bench.aws)) == []
    assert list(after["policies"][first["Data"]["PolicyArn"]]["versions"]) == ["v1"]


def test_an_event_that_comes_twice_at_once_ends_as_one(bench: Bench, site: Lab):
    before, created = snapshot(bench.aws), bench.create(site)
    with bench.runtime() as other, ThreadPoolExecutor() as threads:
        invocations = list(threads.map(lambda runtime: runtime.invoke(created), [bench.function, other]))

    assert [invocation.error for invocation in invocations] == [None, None]
    [one, two] = (json.loads(attempt.body) for attempt in bench.sink.attempts)
    assert one == two
    assert one["Status"] == "SUCCESS"
    assert list(snapshot(bench.aws)["policies"][one["Data"]["PolicyArn"]]["versions"]) == ["v1"]
    assert bench.remains(before, created, identity(created)) == []


# What is printed


def test_every_line_of_the_log_says_what_it_is_about(bench: Bench, site: Lab):
    created = bench.create(site, Tags=[{"Key": "note", "Value": PROPERTY}])
    refused = changed(an_event(bench), RequestType="Upsert")
    with bench.runtime() as alone:
        bench.sink.script = [503]
        bench.succeed(created, alone)
        bench.fail(an_event(bench), alone)
        bench.fail(refused, alone)
        bench.succeed(bench.delete(created, identity(created)), alone)
    spans = [span for line in alone.log() for span in line["spans"] if span["name"] == "request"]

    assert len(spans) == len(alone.log()) > 8
    for span in spans:
        assert span["stack"] == "single-requests"
        assert span["logical_id"] == "Connection"
        assert len(span["request_id"]) == 36
    assert [span["request_type"] for span in spans][-1] == "Delete"
    assert PROPERTY not in json.dumps(alone.lines())


def test_every_answer_is_counted_once(bench: Bench, site: Lab):
    created = bench.create(site)
    with bench.runtime() as alone:
        bench.succeed(created, alone)
        bench.fail(an_event(bench), alone)
        bench.fail(changed(an_event(bench), RequestType="Upsert"), alone)
        bench.succeed(bench.delete(created, identity(created)), alone)

    counted = [(line["RequestType"], line["Requests"], line.get("Code")) for line in alone.metrics()]
    assert counted == [
        ("Create", 1, None),
        ("Create", 1, "NotFound"),
        ("Unreadable", 1, "InvalidRequest"),
        ("Delete", 1, None),
    ]
    assert all(line["Duration"] >= 0 for line in alone.metrics())


@pytest.mark.parametrize("reply", [503, "hang"])
def test_an_answer_that_does_not_get_out_is_in_the_log_with_its_cause(bench: Bench, reply: Reply):
    """Whoever looks for a stack that waits searches the log for its name."""
    bench.sink.script = [reply] * 100
    with bench.runtime(timeout=3) as short:
        bench.invoke(event := an_event(bench), short)
    about_it = [line for line in short.log() if line["span"].get("request_id") == event["RequestId"]]
    after_the_work = json.dumps(about_it[1:])

    assert ("503" if reply == 503 else "did not answer") in after_the_work


def test_the_log_at_its_finest_keeps_the_presigned_address(bench: Bench, site: Lab):
    created = bench.create(site)
    with bench.runtime(AWS_LAMBDA_LOG_LEVEL="DEBUG") as chatty:
        bench.sink.script = [503, "reset"]
        bench.succeed(created, chatty)
        bench.sink.script = [403]
        bench.invoke(an_event(bench), chatty)

    assert any(line["level"] == "DEBUG" for line in chatty.log())
    assert bench.sink.url.rpartition("X-Amz-Signature=")[2] not in json.dumps(chatty.lines())


def test_nothing_that_was_printed_names_the_presigned_address(bench: Bench):
    assert bench.leaks() == []
