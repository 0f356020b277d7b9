"""Every command that the documents and the headers of the examples give is run here, or is known not to be.

The commands stand in the lists below to the letter. One that stands in none fails, and so does one that is in no
document any more.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from aws import ACCOUNT, LocalAws, lab
from conftest import ROOT
from runtime import BOOTSTRAP
from test_examples import loaded

Done = subprocess.CompletedProcess[str]

# The page of the command line has a test of its own.
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")]
DOCUMENTS.remove(ROOT / "docs/command-line.md")
QUICK_START = "sam deploy --template examples/quick-start.yaml --stack-name ica-lab --capabilities CAPABILITY_IAM"

UNINSTALL = "aws cloudformation delete-stack --stack-name ica-storage"

# A lab's first months, in this order, in one account. SAM and the AWS CLI are the real ones.
RUN = [
    "sam build && sam deploy",
    QUICK_START,
    "sam list stack-outputs --stack-name ica-lab",
    "aws secretsmanager get-secret-value --secret-id CREDENTIAL_SECRET --query SecretString --output text",
    "sam list stack-outputs --stack-name ica-storage",
    "aws logs filter-log-events --log-group-name LOG_GROUP --query 'events[].message' --output text",
    "aws cloudwatch list-metrics --namespace IcaStorage",
    "aws cloudwatch put-metric-alarm --alarm-name ica-storage-unanswered --namespace AWS/SQS --metric-name "
    "ApproximateNumberOfMessagesVisible --dimensions Name=QueueName,Value=QUEUE_NAME --statistic Maximum --period 300 "
    "--evaluation-periods 1 --threshold 0 --comparison-operator GreaterThanThreshold --treat-missing-data "
    "notBreaching --alarm-actions TOPIC_ARN",
    "aws cloudwatch put-metric-alarm --alarm-name ica-storage-delete-failed --namespace IcaStorage --metric-name "
    "Failures --dimensions Name=RequestType,Value=Delete --statistic Sum --period 300 --evaluation-periods 1 "
    "--threshold 0 --comparison-operator GreaterThanThreshold --treat-missing-data notBreaching --alarm-actions "
    "TOPIC_ARN",
    "aws sqs receive-message --queue-url QUEUE_URL --visibility-timeout 0",
    "aws sqs purge-queue --queue-url QUEUE_URL",
    f"{QUICK_START} --parameter-overrides ServiceTimeout=361",
    "aws iam create-access-key --user-name USER",
    "aws iam delete-access-key --user-name USER --access-key-id OLD_ACCESS_KEY_ID",
    "sam deploy --template examples/existing-bucket.yaml --stack-name ica-project-a --parameter-overrides "
    "BucketName=my-bucket KeyPrefix=project-a/",
    "aws iam attach-user-policy --user-name USER --policy-arn POLICY_ARN",
    "sam deploy --template examples/many-projects.yaml --stack-name ica-projects --capabilities CAPABILITY_IAM "
    "--parameter-overrides BucketName=my-bucket",
    "sam deploy --template examples/role-method.yaml --stack-name ica-project-b --capabilities CAPABILITY_IAM "
    "--parameter-overrides BucketName=my-bucket KeyPrefix=project-b/ Issuer=HOST/PATH Audience=AUDIENCE "
    "Subject=SUBJECT",
    "sam deploy --parameter-overrides BucketName=my-bucket KeyPrefix=project-c",
    "sam deploy --template examples/consumer.yaml --stack-name ica-consumer --parameter-overrides "
    "Storage=ica-storage",
    "aws iam list-policies --scope Local --path-prefix /ica-storage/",
    "aws iam list-policies --scope Local --path-prefix /ica-storage/ --query 'Policies[].Path'",
    UNINSTALL,
    "sam build",
    'for region in us-east-1 eu-west-2; do sam deploy --region "$region" --profile PROFILE; done',
]

# The CLI understands these commands and sends them, and nobody carries them out: MiniStack has no stack sets, and
# CloudFormation forces the deletion of none but stacks whose deletion has failed.
SENT = [
    "aws cloudformation delete-stack --stack-name STACK --deletion-mode FORCE_DELETE_STACK",
    "aws cloudformation create-stack-set --stack-set-name ica-labs --template-body file://examples/quick-start.yaml "
    "--permission-model SERVICE_MANAGED --auto-deployment Enabled=false --capabilities CAPABILITY_IAM",
    "aws cloudformation create-stack-instances --stack-set-name ica-labs --regions us-east-1 --deployment-targets "
    "OrganizationalUnitIds=ou-abcd-12345678",
    "aws cloudformation create-stack-set --stack-set-name ica-buckets --template-body "
    "file://examples/existing-bucket.yaml --permission-model SERVICE_MANAGED --auto-deployment Enabled=false "
    "--parameters ParameterKey=BucketName,ParameterValue=unset ParameterKey=KeyPrefix,ParameterValue=project-a/",
    "aws cloudformation create-stack-instances --stack-set-name ica-buckets --regions us-east-1 --deployment-targets "
    "AccountFilterType=INTERSECTION,Accounts=111122223333,OrganizationalUnitIds=ou-abcd-12345678 "
    "--parameter-overrides ParameterKey=BucketName,ParameterValue=my-bucket",
    "aws cloudformation update-stack-set --stack-set-name ica-labs --use-previous-template --capabilities "
    "CAPABILITY_IAM --parameters ParameterKey=ServiceTimeout,ParameterValue=361",
    "aws cloudformation delete-stack-instances --stack-set-name ica-labs --regions us-east-1 --no-retain-stacks "
    "--deployment-targets OrganizationalUnitIds=ou-abcd-12345678",
    "aws cloudformation delete-stack-set --stack-set-name ica-labs",
]

# Parts of the suite: to run them here would be to run them twice.
OF_THE_SUITE = [
    "cargo test lifecycle::faults",
    "cargo test lifecycle::",
    "cargo test reasons",
    "python -m pytest tests/e2e/test_delete.py -k test_deleting_twice_is_deleting_once",
    "python -m pytest tests/e2e/test_create.py",
]

# Stands before SAM: `sam build` is a release build of minutes, which `make demo` does. Here it packs the binary of
# the tests as SAM would, and writes the paths as they are from there.
SAM = """\
#!/bin/sh
[ "$1" != build ] && exec "{sam}" "$@"
rm -rf .aws-sam && mkdir -p .aws-sam/build/Provider && cp "{bootstrap}" .aws-sam/build/Provider/bootstrap
sed -E -e 's|^      CodeUri: [.]$|      CodeUri: Provider|' -e 's#^    (License|Readme)Url: #&../../#' \\
  template.yaml >.aws-sam/build/template.yaml
"""


def of_document(path: Path) -> list[str]:
    """The commands in the blocks of a document that are marked as shell."""
    blocks = re.findall(r"^```sh\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
    return [command for block in blocks for command in of_block(block)]


def of_header(path: Path) -> list[str]:
    """The commands in the comment at the head of an example: what is indented by four."""
    header = path.read_text().split("AWSTemplateFormatVersion")[0]
    return of_block("\n".join(re.findall(r"^#     (.*)", header, re.MULTILINE)))


def of_block(block: str) -> list[str]:
    """One command a line, without its comment; a backslash goes on on the next line."""
    lines = re.sub(r"\s*\\\n\s*", " ", block).splitlines()
    commands = [re.sub(r"\s+#.*", "", line).strip() for line in lines]
    return [command for command in commands if command]


def documented() -> set[str]:
    found = [command for path in DOCUMENTS for command in of_document(path)]
    found += [command for path in ROOT.glob("examples/*.yaml") for command in of_header(path)]
    assert len(found) > 40
    return set(found)


def test_every_command_of_the_documents_is_known():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    known = {*RUN, *SENT, *OF_THE_SUITE}
    unknown = {command for command in documented() - known if command.removeprefix("make ") not in targets}
    assert not unknown, "to be run here as well"
    assert not known - documented(), "in no document any more"


def test_what_is_said_to_be_of_the_suite_is():
    for command in OF_THE_SUITE:
        name = command.split()[-1]
        files = [*ROOT.glob("tests/**/*.rs")] if command.startswith("cargo") else [*ROOT.glob("tests/e2e/*.py")]
        parts = name.strip(":").split("::")
        path = ROOT.joinpath("tests", *parts) if command.startswith("cargo") else ROOT / name
        is_path = path.exists() or path.with_suffix(".rs").exists()
        assert is_path or any(f"def {name}(" in file.read_text() for file in files), command


def test_every_link_between_the_documents_leads_somewhere():
    for path in [*DOCUMENTS, ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md"]:
        for link in re.findall(r"\]\(([^)]+)\)", path.read_text()):
            target, _, anchor = link.partition("#")
            if target.startswith("https://"):
                continue
            page = path.parent / target if target else path
            assert page.exists(), f"{path.name}: {link}"
            assert not anchor or anchor in anchors(page), f"{path.name}: {link}"


def anchors(page: Path) -> list[str]:
    """What the headings of a page are linked by."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.fixture
def account() -> Iterator[LocalAws]:
    with LocalAws() as local:
        yield local


@pytest.fixture
def shell(account: LocalAws, tmp_path: Path) -> Callable[[str], Done]:
    """Runs a command in a copy of the project; its words in capitals are filled in."""
    for name in ("template.yaml", "samconfig.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    examples = tmp_path / "examples"
    examples.mkdir()
    for path in ROOT.glob("examples/*.yaml"):
        (examples / path.name).write_text(yaml.safe_dump(local_example(path.stem)))
    shims = tmp_path / "shims"
    shims.mkdir()
    (shims / "sam").write_text(SAM.format(sam=shutil.which("sam"), bootstrap=BOOTSTRAP))
    (shims / "sam").chmod(0o755)
    config = tmp_path / "config"
    config.write_text("[profile lab]\naws_access_key_id = test\naws_secret_access_key = test\n")
    environment = os.environ | {
        "PATH": f"{shims}:{os.environ['PATH']}",
        "AWS_CONFIG_FILE": str(config),
        "SAM_CLI_POLL_DELAY": "0.2",  # seconds; it looks every five, and MiniStack is done at once
    }

    def run(command: str) -> Done:
        for word, value in FILLED_IN.items():
            if re.search(rf"\b{word}\b", command):
                command = re.sub(rf"\b{word}\b", value(account), command)
        # The one service for which version 1 of the CLI has an address that no variable changes.
        command = command.replace("aws sqs ", f"aws --endpoint-url {account.endpoint} sqs ")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        print(f"$ {command}\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
        return done

    return run


def local_example(name: str) -> dict[str, object]:
    """An example as MiniStack can deploy it, with the provider for tokens that it cannot make."""
    template = loaded(name)
    if existing := template["Parameters"].get("OidcProviderArn"):
        existing["Default"] = f"arn:aws:iam::{ACCOUNT}:oidc-provider/HOST/PATH"
    return json.loads(json.dumps(template))


def output(aws: LocalAws, stack: str, name: str) -> str:
    [description] = aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in description["Outputs"]}[name]


def delete(aws: LocalAws, *stacks: str) -> None:
    cloudformation = aws.client("cloudformation")
    for stack in stacks:
        cloudformation.delete_stack(StackName=stack)
        waiter = cloudformation.get_waiter("stack_delete_complete")
        waiter.wait(StackName=stack, WaiterConfig={"Delay": 0.2, "MaxAttempts": 300})


def user(aws: LocalAws) -> str:
    detail = aws.client("cloudformation").describe_stack_resource(StackName="ica-lab", LogicalResourceId="User")
    return detail["StackResourceDetail"]["PhysicalResourceId"]


def secret(aws: LocalAws) -> str:
    """A secret like that of the quick start, which MiniStack cannot make."""
    return aws.client("secretsmanager").create_secret(Name="credential", SecretString="{}")["ARN"]


def access_key(aws: LocalAws) -> str:
    [key] = aws.client("iam").list_access_keys(UserName=user(aws))["AccessKeyMetadata"]
    return key["AccessKeyId"]


# The words in capitals that the reader fills in.
FILLED_IN: dict[str, Callable[[LocalAws], str]] = {
    "LOG_GROUP": lambda aws: output(aws, "ica-storage", "LogGroup"),
    "QUEUE_URL": lambda aws: output(aws, "ica-storage", "UnansweredEventsUrl"),
    "QUEUE_NAME": lambda aws: output(aws, "ica-storage", "UnansweredEventsUrl").rsplit("/", 1)[1],
    "TOPIC_ARN": lambda aws: f"arn:aws:sns:us-east-1:{ACCOUNT}:alarms",
    "POLICY_ARN": lambda aws: output(aws, "ica-project-a", "PolicyArn"),
    "USER": user,
    "OLD_ACCESS_KEY_ID": access_key,
    "CREDENTIAL_SECRET": secret,
    "STACK": lambda aws: "ica-storage",
    "PROFILE": lambda aws: "lab",
}


def test_the_commands_of_the_documents_do_what_they_say(account: LocalAws, shell: Callable[[str], Done]):
    lab(account, "my-bucket")
    for command in RUN:
        if command == UNINSTALL:
            delete(account, "ica-consumer", "ica-projects", "ica-project-b", "ica-project-a", "ica-lab")
        assert shell(command).returncode == 0, command
        if command == UNINSTALL:
            delete(account, "ica-storage")
            assert account.client("iam").list_policies(PathPrefix="/ica-storage/")["Policies"] == []
    for command in SENT:
        sent = shell(command)
        assert re.search(r"An error occurred \(\w+\) when calling the \w+ operation", sent.stderr), command
