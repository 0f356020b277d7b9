"""Events of ill will, sent to the real binary as Lambda hands them over."""

import json
from typing import Any

import pytest

from aws import ACCOUNT, REGION, Lab
from bench import Bench
from runtime import emulator
from sink import SECRET

pytestmark = pytest.mark.skipif(emulator() is None, reason="AWS's emulator of Lambda runs on Linux only")

# What JSON allows and no value of a program holds.
UNHOLDABLE = {
    "nested_deeply": "[" * 5_000 + "]" * 5_000,
    "half_a_surrogate_pair": '"\\ud800"',
    "a_number_beyond_all_bounds": "1e999",
}


def an_event(bench: Bench, **members: Any) -> dict[str, Any]:
    """An event about a bucket that does not exist."""
    return bench.request("Create", {"BucketName": "nobodys-bucket", "KeyPrefix": "project-a/"}) | members


def with_unholdable(event: dict[str, Any], value: str) -> bytes:
    properties = event["ResourceProperties"] | {"KeyPrefix": "UNHOLDABLE"}
    return json.dumps(event | {"ResourceProperties": properties}).replace('"UNHOLDABLE"', value).encode()


@pytest.mark.parametrize("value", UNHOLDABLE.values(), ids=UNHOLDABLE)
def test_an_event_that_no_value_can_hold_is_answered(bench: Bench, value: str):
    event = an_event(bench)
    assert bench.invoke(with_unholdable(event, value)).error is None

    failed = bench.sink.answer(event)
    assert failed["Status"] == "FAILED"
    assert failed["Reason"].startswith("InvalidRequest: ")
    assert not any(call.writes for call in bench.proxy.calls)


@pytest.mark.parametrize("value", UNHOLDABLE.values(), ids=UNHOLDABLE)
def test_a_delete_that_no_value_can_hold_is_carried_out(bench: Bench, value: str):
    event = an_event(bench, RequestType="Delete", PhysicalResourceId="made-up")
    assert bench.invoke(with_unholdable(event, value)).error is None

    assert bench.sink.answer(event)["Status"] == "SUCCESS"


EXCESSIVE: dict[str, dict[str, Any]] = {
    "10_000_tags": {"Tags": [{"Key": f"k{number}", "Value": "v"} for number in range(10_000)]},
    "1_000_unknown_properties": {f"Unknown{number}": "x" * 300 for number in range(1_000)},
    "a_bucket_of_300_kB": {"BucketName": "arn:" + "x" * 300_000},
    "a_folder_of_300_kB": {"KeyPrefix": "a//" + "x" * 300_000},
    "nested_120_times": {"Nested": json.loads("[" * 120 + "]" * 120)},
}


@pytest.mark.parametrize("properties", EXCESSIVE.values(), ids=EXCESSIVE)
def test_what_is_too_much_is_answered_and_not_repeated_in_the_log(bench: Bench, properties: dict[str, Any]):
    event = an_event(bench)
    event["ResourceProperties"] |= properties
    with bench.runtime() as alone:
        bench.fail(event, alone)

    assert not any(call.writes for call in bench.proxy.calls)
    assert max(len(json.dumps(line)) for line in alone.lines()) < 10_000


FORGED = '\r\n{"level":"INFO","stack":"other"}\x1b[2J ERROR forged="yes"\u2028'


@pytest.mark.parametrize("log_format", ["JSON", "Text"])
@pytest.mark.parametrize("member", ["StackId", "LogicalResourceId", "RequestId", "RequestType"])
def test_no_name_begins_a_line_of_the_log(bench: Bench, member: str, log_format: str):
    name = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/lab{FORGED}/x" if member == "StackId" else FORGED
    with bench.runtime(AWS_LAMBDA_LOG_FORMAT=log_format) as alone:
        bench.fail(an_event(bench, **{member: name}), alone)
    lines = (alone.directory / "function.out").read_text().split("\n")

    assert not any(line.lstrip().startswith(('{"level":"INFO","stack"', "ERROR forged")) for line in lines)
    assert "\x1b[2J" not in "".join(lines)
    # The metrics, why it failed, that it was answered.
    assert len([line for line in lines if line]) == 3


def test_a_stack_of_another_account_is_turned_away_before_anything_is_read(bench: Bench, site: Lab):
    """AWS's emulator is in an account of its own, and believed where no local AWS stands in."""
    with bench.runtime(AWS_ENDPOINT_URL="", timeout=3) as deployed:
        # Nobody listens for TLS there, so the answer gets no further than the log.
        bench.invoke(bench.create(site) | {"ResponseURL": f"https://127.0.0.1:9/?X-Amz-Signature={SECRET}"}, deployed)
    failures = [line["fields"] for line in deployed.log() if line["fields"].get("code")]

    assert [failure["code"] for failure in failures] == ["AccessDenied"]
    assert f"the stack is in {REGION} of account {ACCOUNT} (partition aws)" in failures[0]["error"]
    assert bench.proxy.calls == []
