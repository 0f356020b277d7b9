"""Every template of examples/, from deployment to the proof that its deletion leaves what was there before."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import illumina
import pytest
from aws import ACCOUNT, Lab, LocalAws, changes, snapshot
from botocore.exceptions import ClientError
from cfnlint.decode import cfn_yaml
from conftest import ROOT
from connection import ROLE, bucket_statements, cors_rules, has_policy, invoke, key_statements, objects, policies

CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
ISSUER = "issuer.example.org/tenant"

# Of the types in the examples MiniStack's CloudFormation lacks these two. They are left out here, with what needs
# them, so only cfn-lint looks at them; the tests make by hand what they would make.
LACKING = {"AWS::IAM::AccessKey": ["AccessKey", "CredentialSecret"], "AWS::IAM::OIDCProvider": ["OidcProvider"]}


@pytest.fixture(autouse=True)
def provider(service_token: str) -> str:
    """The provider that the examples import."""
    return service_token


class Example:
    """The stack of one example."""

    def __init__(self, aws: LocalAws, name: str, **parameters: str) -> None:
        self.aws = aws
        self.name = f"example-{name}"
        self._template = loaded(name)
        self._cloudformation = aws.client("cloudformation")
        self._do("create", parameters)

    def update(self, changed: dict[str, str], **parameters: str) -> None:
        """Deploy the template again with some of its words changed."""
        text = json.dumps(self._template)
        for old, new in changed.items():
            assert f'"{old}"' in text, old
            text = text.replace(f'"{old}"', f'"{new}"')
        self._template = json.loads(text)
        self._do("update", parameters)

    def delete(self) -> None:
        self._cloudformation.delete_stack(StackName=self.name)
        self._settle("delete")

    def outputs(self) -> dict[str, str]:
        [stack] = self._cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def resource(self, name: str) -> dict[str, Any]:
        return self._template["Resources"][name]["Properties"]

    def physical_id(self, resource: str) -> str:
        detail = self._cloudformation.describe_stack_resource(StackName=self.name, LogicalResourceId=resource)
        return detail["StackResourceDetail"]["PhysicalResourceId"]

    def _do(self, verb: str, parameters: dict[str, str]) -> None:
        of_provider = {"Provider": "provider"} if "Provider" in self._template["Parameters"] else {}
        getattr(self._cloudformation, f"{verb}_stack")(
            StackName=self.name,
            TemplateBody=json.dumps(self._template),
            Capabilities=CAPABILITIES,
            Parameters=arguments(of_provider | parameters),
        )
        self._settle(verb)
        self._verify()

    def _verify(self) -> None:
        """Every connection of the stack is healthy, as the function itself finds it."""
        made = self._template["Resources"].values()
        connections = [resource for resource in made if resource["Type"] == "Custom::IcaStorage"]
        exports = self._cloudformation.list_exports()["Exports"]
        [provider] = [export["Value"] for export in exports if export["Name"] == "provider-ServiceToken"]
        report = invoke(self.aws, provider, {"Action": "Verify", "StackId": self.name})
        assert [found["Status"] for found in report["Connections"]] == ["healthy"] * len(connections), report

    def _settle(self, verb: str) -> None:
        waiter = self._cloudformation.get_waiter(f"stack_{verb}_complete")
        waiter.wait(StackName=self.name, WaiterConfig={"Delay": 0.2, "MaxAttempts": 300})


def loaded(name: str) -> dict[str, Any]:
    """The template of an example, without what MiniStack cannot make."""
    template = cfn_yaml.load(str(ROOT / f"examples/{name}.yaml"))
    for lacking, needing in LACKING.items():
        if any(resource["Type"] == lacking for resource in template["Resources"].values()):
            for resource in needing:
                del template["Resources"][resource]
                template["Outputs"].pop(resource, None)
    if bucket_policy := template["Resources"].get("BucketPolicy"):
        # The local AWS speaks no TLS: this condition, as it is, refuses every call to the bucket.
        [statement] = bucket_policy["Properties"]["PolicyDocument"]["Statement"]
        assert statement["Effect"] == "Deny"
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        statement["Condition"] = {"Bool": {"aws:SecureTransport": "maybe"}}
    # MiniStack makes in the order of their names what does not depend on each other, and CloudFormation in none:
    # under this name the bucket policy comes last, unless the template says otherwise.
    return json.loads(json.dumps(template).replace('"BucketPolicy"', '"YourBucketPolicy"'))


def arguments(parameters: dict[str, str]) -> list[dict[str, str]]:
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]


@contextmanager
def example(aws: LocalAws, name: str, **parameters: str) -> Iterator[Example]:
    """An example that is deployed, looked at and deleted, and has to leave the account as it was."""
    before = account(aws)
    deployed = Example(aws, name, **parameters)
    yield deployed
    deployed.delete()
    assert changes(before, account(aws)) == []


def account(aws: LocalAws) -> dict[str, Any]:
    """What an example could change: besides what a connection does, secrets and parameters."""
    secrets = aws.client("secretsmanager").list_secrets()["SecretList"]
    parameters = aws.client("ssm").describe_parameters()["Parameters"]
    return snapshot(aws) | {
        "secrets": sorted(secret["Name"] for secret in secrets),
        "parameters": sorted(parameter["Name"] for parameter in parameters),
    }


def test_the_quick_start_makes_a_connection_that_ica_can_use(aws: LocalAws):
    before = account(aws)
    stack = Example(aws, "quick-start")
    outputs = stack.outputs()
    lab = Lab(outputs["BucketName"], stack.physical_id("Key"), outputs["KeyName"])
    assert (outputs["KeyPrefix"], outputs["Algorithm"]) == ("project-a/", "aws:kms")
    complete(aws, stack, lab)
    stack.update({}, ServiceTimeout="361")
    assert stack.outputs()["Warnings"] == ""

    # The statement that the template wrote is there, and so is the connection's.
    sids = ["OnlyWithTls", "AllowCrossAccountAccess"]
    assert [statement["Sid"] for statement in bucket_statements(aws, lab)] == sids
    assert key_statements(aws, lab)[1:] == [illumina.key_policy_statement(ROLE)]
    hardened(aws, lab)

    # An access key of the user opens the folder but not what is beside it.
    iam = aws.client("iam")
    user = stack.physical_id("User")
    key = iam.create_access_key(UserName=user)["AccessKey"]
    ica = signed_in(key)
    ica.put_object(Bucket=lab.bucket, Key="project-a/reads.fastq", Body=b"reads")
    assert ica.get_object(Bucket=lab.bucket, Key="project-a/reads.fastq")["Body"].read() == b"reads"
    with pytest.raises(ClientError, match="AccessDenied"):
        ica.put_object(Bucket=lab.bucket, Key="elsewhere/reads.fastq", Body=b"reads")
    iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])

    # The data stay, under their key and the policies of the template; all else goes.
    stack.delete()
    assert objects(aws, lab) == ["project-a/", "project-a/reads.fastq"]
    assert [statement["Sid"] for statement in bucket_statements(aws, lab)] == sids[:1]
    assert [statement["Sid"] for statement in key_statements(aws, lab)] == ["EnableIamPolicies"]
    hardened(aws, lab)
    discard(aws, lab)
    after = account(aws)
    del after["keys"][lab.key_id]  # KMS shows it until it is deleted
    assert changes(before, after) == []


def test_the_statements_survive_a_change_of_the_policies_that_the_quick_start_owns(aws: LocalAws):
    stack = Example(aws, "quick-start", KeyPrefix="project-b/")
    outputs = stack.outputs()
    lab = Lab(outputs["BucketName"], stack.physical_id("Key"), outputs["KeyName"])

    changed = {"OnlyWithTls": "Tls", "EnableIamPolicies": "Iam"}
    stack.update(changed, KeyPrefix="project-b/", ServiceTimeout="361")
    ours = "AllowCrossAccountAccess"
    assert [statement["Sid"] for statement in bucket_statements(aws, lab)] == ["Tls", ours]
    assert [statement["Sid"] for statement in key_statements(aws, lab)] == ["Iam", ours]
    assert len(cors_rules(aws, lab)) == 1

    stack.delete()
    assert [statement["Sid"] for statement in bucket_statements(aws, lab)] == ["Tls"]
    assert [statement["Sid"] for statement in key_statements(aws, lab)] == ["Iam"]
    discard(aws, lab)


def test_an_existing_bucket_is_connected(aws: LocalAws, customer: Lab):
    with example(aws, "existing-bucket", BucketName=customer.bucket, KeyPrefix="project-a/") as stack:
        outputs = stack.outputs()
        assert outputs["Warnings"] == ""
        assert has_policy(aws, customer, "project-a/", outputs["PolicyArn"], versioned=False)
        assert len(key_statements(aws, customer)) == 2
        assert len(bucket_statements(aws, customer)) == 1


def test_an_existing_bucket_whose_policies_others_keep_is_connected_without_writing_them(
    aws: LocalAws, customer: Lab
):
    switches = {"ConfigureKeyPolicy": "false", "ConfigureBucketPolicy": "false"}
    with example(aws, "existing-bucket", BucketName=customer.bucket, KeyPrefix="project-a/", **switches) as stack:
        assert len(key_statements(aws, customer)) == 1
        with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
            bucket_statements(aws, customer)
        assert json.loads(stack.outputs()["KeyPolicyStatement"]) == illumina.key_policy_statement(ROLE)


def test_many_projects_share_the_bucket_and_nothing_else(aws: LocalAws, customer: Lab):
    with example(aws, "many-projects", BucketName=customer.bucket) as stack:
        outputs = stack.outputs()
        prefixes = ["oncology/", "rare-disease/", "research/microbiome/"]
        for output, prefix in zip(("Oncology", "RareDisease", "Microbiome"), prefixes, strict=True):
            assert json.loads(outputs[output])["awsDetails"]["keyPrefix"] == prefix
        assert len(policies(aws, customer)) == 3
        assert len(key_statements(aws, customer)) == 2
        assert len(bucket_statements(aws, customer)) == 1

        iam = aws.client("iam")
        for user, folder in [("OncologyUser", "oncology/"), ("RareDiseaseUser", "rare-disease/")]:
            key = iam.create_access_key(UserName=outputs[user])["AccessKey"]
            ica = signed_in(key)
            ica.put_object(Bucket=customer.bucket, Key=f"{folder}reads", Body=b"")
            ica.delete_object(Bucket=customer.bucket, Key=f"{folder}reads")
            for other in set(prefixes) - {folder}:
                with pytest.raises(ClientError, match="AccessDenied"):
                    ica.put_object(Bucket=customer.bucket, Key=f"{other}reads", Body=b"")
            iam.delete_access_key(UserName=outputs[user], AccessKeyId=key["AccessKeyId"])


def test_a_role_is_trusted_for_one_subject_of_icas_tokens(aws: LocalAws, customer: Lab):
    iam = aws.client("iam")
    oidc = iam.create_open_id_connect_provider(Url=f"https://{ISSUER}", ClientIDList=["ica"])
    arn = oidc["OpenIDConnectProviderArn"]
    parameters = {
        "BucketName": customer.bucket,
        "KeyPrefix": "project-a/",
        "Issuer": ISSUER,
        "Audience": "ica",
        "Subject": "credential-1",
        "OidcProviderArn": arn,
    }
    with example(aws, "role-method", **parameters) as stack:
        role = iam.get_role(RoleName=stack.physical_id("Role"))["Role"]
        assert role["Arn"] == stack.outputs()["RoleArn"]
        assert role["MaxSessionDuration"] == 12 * 60 * 60
        [statement] = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Federated": arn}
        assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
        expected = {f"{ISSUER}:aud": "ica", f"{ISSUER}:sub": "credential-1"}
        assert statement["Condition"] == {"StringEquals": expected}
        attached = iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
        assert [policy["PolicyName"] for policy in attached] == policies(aws, customer)
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)


def test_another_stack_gets_the_values_of_a_connection(aws: LocalAws, template: str, customer: Lab):
    cloudformation = aws.client("cloudformation")
    parameters = {"BucketName": customer.bucket, "KeyPrefix": "project-a/"}
    cloudformation.create_stack(
        StackName="storage-of-consumer",
        TemplateBody=template,
        Capabilities=CAPABILITIES,
        Parameters=arguments(parameters),
    )
    waiter = cloudformation.get_waiter("stack_create_complete")
    waiter.wait(StackName="storage-of-consumer", WaiterConfig={"Delay": 0.2, "MaxAttempts": 300})
    with example(aws, "consumer", Storage="storage-of-consumer"):
        ssm = aws.client("ssm")
        stored = {p["Name"]: p["Value"] for p in ssm.get_parameters_by_path(Path="/ica/")["Parameters"]}
        configuration = json.loads(stored.pop("/ica/storage-configuration"))
        assert configuration["awsDetails"]["serverSideEncryptionKey"] == customer.key_arn
        assert stored == {
            "/ica/bucket-name": customer.bucket,
            "/ica/key-prefix": "project-a/",
            "/ica/key-name": customer.key_arn,
        }
    cloudformation.delete_stack(StackName="storage-of-consumer")
    waiter = cloudformation.get_waiter("stack_delete_complete")
    waiter.wait(StackName="storage-of-consumer", WaiterConfig={"Delay": 0.2, "MaxAttempts": 300})


def test_no_example_is_untested():
    tests = (ROOT / "tests/e2e/test_examples.py").read_text()
    for path in (ROOT / "examples").glob("*.yaml"):
        assert f'aws, "{path.stem}"' in tests, path.name


def complete(aws: LocalAws, stack: Example, lab: Lab) -> None:
    """What MiniStack's CloudFormation leaves out of a bucket, written as the template has it."""
    properties = stack.resource("Bucket")
    [encryption] = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    default = encryption["ServerSideEncryptionByDefault"]
    assert default["KMSMasterKeyID"] == {"Fn::GetAtt": ["Key", "Arn"]}
    rule = {
        "ApplyServerSideEncryptionByDefault": default | {"KMSMasterKeyID": lab.key_arn},
        "BucketKeyEnabled": encryption["BucketKeyEnabled"],
    }
    s3 = aws.client("s3")
    s3.put_bucket_encryption(Bucket=lab.bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.put_bucket_ownership_controls(Bucket=lab.bucket, OwnershipControls=properties["OwnershipControls"])
    [lifecycle] = properties["LifecycleConfiguration"]["Rules"]
    rule = {"ID": lifecycle["Id"], "Filter": {"Prefix": ""}} | {k: v for k, v in lifecycle.items() if k != "Id"}
    s3.put_bucket_lifecycle_configuration(Bucket=lab.bucket, LifecycleConfiguration={"Rules": [rule]})


def hardened(aws: LocalAws, lab: Lab) -> None:
    """What a bucket for such data should have."""
    s3 = aws.client("s3")
    [encryption] = s3.get_bucket_encryption(Bucket=lab.bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    default = encryption["ApplyServerSideEncryptionByDefault"]
    assert (default["SSEAlgorithm"], default["KMSMasterKeyID"]) == ("aws:kms", lab.key_arn)
    assert encryption["BucketKeyEnabled"]
    [ownership] = s3.get_bucket_ownership_controls(Bucket=lab.bucket)["OwnershipControls"]["Rules"]
    assert ownership["ObjectOwnership"] == "BucketOwnerEnforced"
    blocked = s3.get_public_access_block(Bucket=lab.bucket)["PublicAccessBlockConfiguration"]
    assert list(blocked.values()) == [True] * 4
    [rule] = s3.get_bucket_lifecycle_configuration(Bucket=lab.bucket)["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert aws.client("kms").get_key_rotation_status(KeyId=lab.key_id)["KeyRotationEnabled"]


def signed_in(key: dict[str, str]) -> Any:
    """S3 as ICA sees it."""
    credentials = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    return boto3.client("s3", **credentials)


def discard(aws: LocalAws, lab: Lab) -> None:
    """What the header of the quick start says to do to be rid of the data."""
    s3 = aws.client("s3")
    for key in objects(aws, lab):
        s3.delete_object(Bucket=lab.bucket, Key=key)
    s3.delete_bucket(Bucket=lab.bucket)
    aws.client("kms").schedule_key_deletion(KeyId=lab.key_id, PendingWindowInDays=7)
