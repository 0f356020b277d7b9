"""template.yaml with a connection of its own, and a stack that imports its values."""

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
    del expected["Warnings"]  # empty when all is well, and CloudFormation exports nothing that is empty
    assert {name: exports[f"storage-{name}"] for name in ATTRIBUTES if name != "Warnings"} == expected
    assert exports["storage-ServiceToken"].startswith(f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:")

    consumer = (ROOT / "local/consumer.yaml").read_text()
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
