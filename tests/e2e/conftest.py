"""One local AWS for all tests, with the provider of template.yaml; every test has its own bucket, key and stacks."""

import io
import zipfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

import leaks
from aws import Lab, LocalAws, end_on_signals, lab
from bench import Bench
from callback import Callback
from runtime import BOOTSTRAP
from stack import Stack

ROOT = Path(__file__).parents[2]
ARTEFACTS = "artefacts"

# What the role needs besides, because MiniStack denies what AWS allows: it evaluates iam:CreatePolicy on `*`,
# whatever policy is made; does not know the conditions iam:PolicyARN, kms:KeySpec and s3:if-none-match; takes the
# alias of a key for the key; and forgets the slash at the end of an object's key. These statements have no Sid, the
# role's own have one. What they hide here, the second judge looks at (test_grants.py).
BESIDES = """\
          - Effect: Allow
            Action: [iam:CreatePolicy, iam:DetachUserPolicy, iam:DetachGroupPolicy, iam:DetachRolePolicy]
            Resource: "*"
          - Effect: Allow
            Action: kms:DescribeKey
            Resource: !Sub arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:alias/*
          - Effect: Allow
            Action: kms:PutKeyPolicy
            Resource: !Sub arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:key/*
          - Effect: Allow
            Action: [s3:GetObject, s3:PutObject, s3:DeleteObject, s3:DeleteObjectVersion]
            Resource: !Sub arn:${AWS::Partition}:s3:::${BucketNamePattern}/*
"""

_numbers = count(1)


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    """The account: it enforces IAM, so the function can do what its role allows and no more."""
    end_on_signals()
    with LocalAws(auth=True) as local:
        yield local
        assert leaks.found("\n".join(_logged(local))) == []


@pytest.fixture(scope="session")
def template(aws: LocalAws) -> str:
    """template.yaml with the binary of this build in the place of the source code."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=ARTEFACTS)
    s3.put_object(Bucket=ARTEFACTS, Key="bootstrap.zip", Body=_zipped(BOOTSTRAP))
    text = (ROOT / "template.yaml").read_text()
    text = _replaced(text, "      CodeUri: .\n", f"      CodeUri: s3://{ARTEFACTS}/bootstrap.zip\n")
    return _replaced(text, "          - Sid: Buckets\n", BESIDES + "          - Sid: Buckets\n")


@pytest.fixture(scope="session")
def deploy_provider(aws: LocalAws, template: str) -> Callable[..., None]:
    """Deploys a provider without a connection of its own, with these parameters."""

    def deploy(stack: str, **parameters: str) -> None:
        cloudformation = aws.client("cloudformation")
        cloudformation.create_stack(
            StackName=stack,
            TemplateBody=template,
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        )
        waiter = cloudformation.get_waiter("stack_create_complete")
        waiter.wait(StackName=stack, WaiterConfig={"Delay": 0.2, "MaxAttempts": 300})

    return deploy


@pytest.fixture(scope="session")
def service_token(aws: LocalAws, deploy_provider: Callable[..., None]) -> str:
    """The provider, deployed without a connection of its own."""
    deploy_provider("provider")
    exports = {export["Name"]: export["Value"] for export in aws.client("cloudformation").list_exports()["Exports"]}
    return exports["provider-ServiceToken"]


@pytest.fixture
def customer(aws: LocalAws) -> Lab:
    """A bucket and its key, nobody else's."""
    return lab(aws, f"lab-{next(_numbers)}")


@pytest.fixture
def new_stack(aws: LocalAws, service_token: str) -> Callable[[], Stack]:
    """Another stack, not yet deployed."""
    return lambda: Stack(aws, service_token, f"stack-{next(_numbers)}")


@pytest.fixture
def stack(new_stack: Callable[[], Stack]) -> Stack:
    """A stack, not yet deployed."""
    return new_stack()


@pytest.fixture
def callback(aws: LocalAws, service_token: str) -> Iterator[Callback]:
    """Single requests, for what MiniStack's CloudFormation does not do."""
    with Callback(aws, service_token) as listening:
        yield listening


@pytest.fixture(scope="module")
def quiet_aws() -> Iterator[LocalAws]:
    """An account of the module's own, small enough to be compared as a whole many times."""
    end_on_signals()
    with LocalAws(auth=True) as local:
        yield local


@pytest.fixture(scope="module")
def module_bench(quiet_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    directory = tmp_path_factory.mktemp("bench")
    with Bench(quiet_aws, directory) as bench:
        yield bench
    assert leaks.found_below(directory) == []


@pytest.fixture
def bench(module_bench: Bench) -> Iterator[Bench]:
    """The binary under AWS's emulator, where everything goes well until the test says otherwise."""
    module_bench.reset()
    yield module_bench
    module_bench.reset()


@pytest.fixture
def site(module_bench: Bench) -> Lab:
    """A bucket and its key in the account of the bench."""
    return lab(module_bench.aws, f"site-{next(_numbers)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """A failed test shows what the function logged last."""
    report = yield
    aws = getattr(item, "funcargs", {}).get("aws")
    is_up = report.when != "teardown"  # afterwards the account may be gone
    if report.failed and is_up and isinstance(aws, LocalAws):
        report.sections.append(("The function's log", _function_log(aws)))
    bench = getattr(item, "funcargs", {}).get("bench")
    if report.failed and is_up and isinstance(bench, Bench):
        report.sections.append(("The function's log", "\n".join(map(str, bench.function.log()[-10:]))))
        report.sections.append(("The calls", ", ".join(map(str, bench.proxy.calls))))
    return report


def _replaced(text: str, old: str, new: str) -> str:
    """Fails if the template no longer has what is replaced, once."""
    assert text.count(old) == 1, old
    return text.replace(old, new)


def _function_log(aws: LocalAws) -> str:
    return "\n".join(_logged(aws)[-30:])


def _logged(aws: LocalAws) -> list[str]:
    """Everything in CloudWatch Logs, event by event."""
    logs = aws.client("logs")
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    pages = [
        page
        for group in groups
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group)
    ]
    return [event["message"].rstrip() for page in pages for event in page["events"]]


def _zipped(binary: Path) -> bytes:
    """A deployment package as Lambda wants it: one executable file, `bootstrap`."""
    entry = zipfile.ZipInfo("bootstrap")
    entry.external_attr = 0o755 << 16
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(entry, binary.read_bytes())
    return package.getvalue()
