"""One bucket, one key, ten projects: what a lab does on its first day."""

import os
from collections.abc import Callable

import illumina
from aws import Lab, LocalAws, changes, snapshot
from connection import ROLE, bucket_statements, cors_rules, key_statements, policies
from stack import Stack

# How often they come and go; every time has to end where it began.
ROUNDS = int(os.environ.get("ROUNDS", "1"))


def test_ten_connections_come_and_go_and_leave_no_trace(
    aws: LocalAws, new_stack: Callable[[], Stack], customer: Lab
):
    before = snapshot(aws)
    ten = {f"Project{n}": {"BucketName": customer.bucket, "KeyPrefix": f"project-{n}/"} for n in range(10)}
    five = dict(list(ten.items())[5:])
    for _ in range(ROUNDS):
        stack = new_stack()
        for connections in (ten, five):
            stack.deploy(**connections)
            assert len(policies(aws, customer)) == len(connections)
            assert key_statements(aws, customer)[1:] == [illumina.key_policy_statement(ROLE)]
            assert len(bucket_statements(aws, customer)) == 1
            assert len(cors_rules(aws, customer)) == 1
        stack.delete()
        assert changes(before, snapshot(aws)) == []
