"""template.yaml with a connection of its own, and a stack that imports its values."""

import json

from aws import ACCOUNT, Lab, LocalAws
from conftest import ROOT
from connection import attributes, policies
from stack import ATTRIBUTES


def test_the_template_connects_a_bucket_and_exports_its_values(aws: LocalAws, template: str, customer: Lab):
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(
        StackName="storage",
        TemplateBody=template,
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[
            {"ParameterKey": "BucketName", "ParameterValue": customer.bucket},
            {"ParameterKey": "KeyPrefix", "ParameterValue": "project-a/"},
        ],
    )
    _settle(aws, "storage", "create")
    exports = {export["Name"]: export["Value"] for export in cloudformation.list_exports()["Exports"]}
    [policy_name] = policies(aws, customer)
    expected = attributes(customer, "project-a/", policy_name)
    # They are empty when all is well, and CloudFormation exports nothing that is empty.
    for name in ("Warnings", "Changes"):
        assert expected.pop(name) == ""
    assert {name: exports[f"storage-{name}"] for name in ATTRIBUTES if name in expected} == expected
    assert exports["storage-ServiceToken"].startswith(f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:")

    consumer = (ROOT / "examples/consumer.yaml").read_text()
    parameters = [{"ParameterKey": "Storage", "ParameterValue": "storage"}]
    cloudformation.create_stack(StackName="consumer", TemplateBody=consumer, Parameters=parameters)
    _settle(aws, "consumer", "create")
    stored = aws.client("ssm").get_parameter(Name="/ica/storage-configuration")["Parameter"]["Value"]
    assert stored == expected["StorageConfiguration"]

    for name in ("consumer", "storage"):
        cloudformation.delete_stack(StackName=name)
        _settle(aws, name, "delete")
    assert policies(aws, customer) == []


def _settle(aws: LocalAws, stack: str, verb: str) -> None:
    waiter = aws.client("cloudformation").get_waiter(f"stack_{verb}_complete")
    waiter.wait(StackName=stack, WaiterConfig={"Delay": 0.2, "MaxAttempts": 300})


def test_a_schedule_asks_the_function_to_verify_and_drift_raises_an_alarm(aws: LocalAws, template: str):
    cloudformation = aws.client("cloudformation")
    topic = aws.client("sns").create_topic(Name="drift")["TopicArn"]
    cloudformation.create_stack(
        StackName="watchful",
        TemplateBody=template,
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[
            {"ParameterKey": "VerifySchedule", "ParameterValue": "rate(1 day)"},
            {"ParameterKey": "AlarmTopicArn", "ParameterValue": topic},
        ],
    )
    _settle(aws, "watchful", "create")
    resources = cloudformation.describe_stack_resources(StackName="watchful")["StackResources"]
    made = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}

    scheduler = aws.client("scheduler")
    [schedule] = scheduler.list_schedules()["Schedules"]
    target = scheduler.get_schedule(Name=schedule["Name"])["Target"]
    asked = aws.client("lambda").invoke(FunctionName=target["Arn"], Payload=target["Input"])
    assert "Connections" in json.loads(asked["Payload"].read())["Counts"]
    assert target["RoleArn"].endswith(f":role/{made['VerifySchedulerRole']}")
    [alarm] = aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert (alarm["AlarmActions"], alarm["OKActions"]) == ([topic], [topic])
    assert (alarm["Namespace"], alarm["MetricName"]) == ("IcaStorage", "Unhealthy")

    cloudformation.delete_stack(StackName="watchful")
    _settle(aws, "watchful", "delete")
    assert scheduler.list_schedules()["Schedules"] == []
