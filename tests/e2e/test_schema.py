"""The parameters of the template take what docs/Custom-IcaStorage.schema.json takes, which is what the parser takes."""

import json
import re
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml
from conftest import ROOT
from jsonschema import Draft202012Validator

SCHEMA: dict[str, Any] = json.loads((ROOT / "docs/Custom-IcaStorage.schema.json").read_text())
KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"

# Of each property what is right, and what is wrong by one character or one rule. Tags, a list, is no parameter. An
# empty BucketName is right for the template alone, which then deploys no connection.
VALUES = {
    "BucketName": ["abc", "a.b-c1", "ab", "A-b", "-ab", "ab-", "a..b", "1.2.3.4", "a_b", "a" * 63, "a" * 64],
    "KeyPrefix": [
        *["", "a", "a/b/", "A_b-c.d=e+f@g:h", ".a", "...", "/", "/a", "a//b", "a//", ".", "..", "a/./b", "a/.."],
        *["a*", "a?", "a b", "ä", "a" * 255, "a" * 256, "a" * 255 + "/", "a" * 256 + "/"],
    ],
    "KmsKeyId": [
        *["", KEY, f"arn:aws:kms:us-east-1:123456789012:key/{KEY}", f"key/{KEY}", KEY[1:], "mrk-" + "0" * 32, "lab"],
        *["mrk-" + "0" * 31, "alias/lab/data", "alias/", "alias/aws/s3", "alias/a b", "alias/aws"],
        *["arn:aws:kms:us-east-1:123456789012:alias/lab", "arn:aws:kms:us-east-1:123456789012:alias/aws/s3"],
    ],
    "AssumeRoleArn": [
        *["", "*", "arn:aws:iam::079623148045:role/r", "arn:aws:iam::079623148045:role/a/b", "079623148045"],
        *["arn:aws:iam::079623148045:role/", "arn:aws:iam::079623148045:role/a/", "arn:aws:iam::0:role/r"],
        *["arn:aws:iam::079623148045:root", "arn:aws:iam::079623148045:role/*", "arn:aws:iam::079623148045:user/u"],
    ],
    "PolicyName": ["", "a_b+c=d,e.f@g-h", "a b", "a/b", "a" * 128, "a" * 129],
    **{
        name: ["true", "false", "yes", "1"]
        for name, shape in SCHEMA["properties"].items()
        if isinstance(shape.get("default"), bool)
    },
}


def parameters(template: str) -> dict[str, dict[str, Any]]:
    return cfn_yaml.load(str(ROOT / template))["Parameters"]


def takes(parameter: dict[str, Any], value: str) -> bool:
    """What CloudFormation checks before it asks anybody."""
    if "AllowedValues" in parameter:
        return value in parameter["AllowedValues"]
    fits = len(value) <= parameter.get("MaxLength", len(value))
    return fits and re.fullmatch(parameter["AllowedPattern"], value) is not None


@pytest.mark.parametrize("name", VALUES)
def test_a_parameter_takes_what_the_schema_takes(name: str):
    parameter = parameters("template.yaml")[name]
    validator = Draft202012Validator(SCHEMA["properties"][name])
    taken = {value: takes(parameter, value) for value in VALUES[name]}
    assert taken == {value: validator.is_valid(value) for value in VALUES[name]}
    assert {True, False} == set(taken.values())
    default = SCHEMA["properties"][name].get("default", "")
    assert parameter["Default"] == str(default).lower()


def test_every_property_is_compared():
    properties = set(SCHEMA["properties"]) - {"Tags", "ServiceToken", "ServiceTimeout"}
    assert properties == set(VALUES)


@pytest.mark.parametrize("path", sorted(path.stem for path in (ROOT / "examples").glob("*.yaml")))
def test_the_connections_of_an_example_have_known_properties_and_attributes(path: str):
    template = cfn_yaml.load(str(ROOT / f"examples/{path}.yaml"))
    connections = {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "Custom::IcaStorage"
    }
    for properties in connections.values():
        assert set(properties) <= set(SCHEMA["properties"])
        assert {"ServiceToken", "ServiceTimeout", "BucketName", "KeyPrefix"} <= set(properties)
    attributes = set(SCHEMA["$defs"]["attributes"]["properties"])
    for name, attribute in re.findall(r'"Fn::GetAtt": \["(\w+)", "(\w+)"\]', json.dumps(template)):
        assert name not in connections or attribute in attributes, (name, attribute)
