"""The main job on a local AWS: deploy template.yaml, look, change it, delete it, prove that nothing is left.

Started by `make demo`. Every step is checked; the first that is not as promised ends the demo with a sentence.
"""

import json
import os
import platform
import re
import signal
import sys
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, WaiterError

import illumina
from aws import REGION, Lab, LocalAws, NotStarted, changes, end_on_signals, lab, policy_document, snapshot
from terminal import CommandFailed, bold, dim, done, green, red, run, step, table

ROOT = Path(__file__).parent.parent
STACK = "ica-storage"
CONSUMER = "ica-consumer"
BUCKET = "lab-sequencing-data"
PREFIX = "project-a/"
# Where `sam deploy` puts what it uploads. It outlives the stack, as on AWS, and is SAM's, not ours.
SAM_BUCKET = "aws-sam-cli-managed-default"

ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}


class Unproven(Exception):
    """Something is not as promised."""


def main() -> int:
    """Run the demo; the exit code says whether every promise was kept."""
    os.chdir(ROOT)
    end_on_signals()
    keep = "--keep" in sys.argv[1:]
    try:
        build()
        with LocalAws() as aws:
            show(aws, keep)
    except (Unproven, CommandFailed, NotStarted, ClientError, WaiterError) as failure:
        print(f"\n{red('Failed:')} {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; nothing is left running.", file=sys.stderr)
        return 0 if keep else 130
    print(f"\n{green('Every step was as promised.')} Everything that was started is stopped.")
    return 0


def build() -> None:
    """The release binary, built and packaged as for AWS."""
    machine = ARCHITECTURES.get(platform.machine())
    if sys.platform != "linux" or not machine:
        raise Unproven("the packaged function is a Linux program for x86_64 or arm64 and runs here as a process")
    step("Build the release binary (the first time takes some minutes)")
    # `sam build` runs the same command, but shows nothing until it ends.
    arm = ["--arm64"] if machine == "arm64" else []
    run("cargo lambda build --release", "cargo", "lambda", "build", "--release", "--bin", "bootstrap", *arm)
    run("sam build", "sam", "build", "--parameter-overrides", f"Architecture={machine}")
    size = (ROOT / ".aws-sam/build/Provider/bootstrap").stat().st_size
    done(f"bootstrap, {size / 1e6:.1f} MB, for provided.al2023 on {machine}")


def show(aws: LocalAws, keep: bool) -> None:
    """The life of a connection."""
    step("Start a local AWS, with a customer managed key and a bucket that is encrypted with it")
    customer = lab(aws, BUCKET)
    before = state(aws)
    done(f"{aws.endpoint} in place of AWS {REGION}; it ends with this demo")
    done(f"bucket  {customer.bucket} (SSE-KMS by default, S3 Bucket Key on)")
    done(f"key     {customer.key_arn}")

    step("Deploy template.yaml")
    deploy(f"BucketName={customer.bucket}", f"KeyPrefix={PREFIX}")
    outputs = stack_outputs(aws, STACK)
    show_form(customer, outputs)
    show_folder(aws, customer)
    show_policy(aws, customer, outputs)
    show_statements(aws, customer, outputs)

    step("Import the values into a second stack")
    consume(aws, outputs)

    step("Switch versioning on, and let CloudFormation look at the connection again")
    update(aws, customer, outputs)

    if keep:
        look_around(aws, customer, outputs)

    step("Delete both stacks")
    delete(aws)

    step("Prove that nothing is left")
    prove(aws, customer, before)


def deploy(*parameters: str) -> None:
    architecture = ARCHITECTURES[platform.machine()]
    run(
        f"sam deploy {' '.join(parameters)}",
        "sam",
        "deploy",
        "--parameter-overrides",
        f"Architecture={architecture}",
        *parameters,
    )


def stack_outputs(aws: LocalAws, stack: str) -> dict[str, str]:
    [description] = aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in description["Outputs"]}


def show_form(customer: Lab, outputs: dict[str, str]) -> None:
    """The outputs as the fields of ICA's form, System Settings > Storage > Create."""
    configuration = json.loads(outputs["StorageConfiguration"])
    form = {
        "Type": configuration["type"],
        "Region": outputs["Region"],
        "Bucket name": outputs["BucketName"],
        "Key prefix": outputs["KeyPrefix"],
        "Server Side Encryption": "",
        "  Algorithm": outputs["Algorithm"],
        "  Key Name": outputs["KeyName"],
    }
    expected = ["AWS_S3", REGION, customer.bucket, PREFIX, "", "aws:kms", customer.key_arn]
    require(list(form.values()) == expected, f"the outputs should read {expected}, they read {list(form.values())}")
    print(bold("\n   What to type into ICA (System Settings > Storage > Create)"))
    table(form)
    print(bold("\n   What to give ICA's user or role"))
    table({"Policy": outputs["PolicyArn"], "For a bucket that is": outputs["BucketVersioning"]})
    if outputs.get("Warnings"):
        print(bold("\n   Warnings"))
        print("\n".join(f"   {line}" for line in outputs["Warnings"].splitlines()))


def show_folder(aws: LocalAws, customer: Lab) -> None:
    head = aws.client("s3").head_object(Bucket=customer.bucket, Key=PREFIX)
    print(bold("\n   The folder"))
    table(
        {
            f"s3://{customer.bucket}/{PREFIX}": head["ContentType"],
            "Encryption": head["ServerSideEncryption"],
            "Key": head["SSEKMSKeyId"],
        }
    )
    require(head["SSEKMSKeyId"] == customer.key_arn, "the folder is not encrypted with the bucket's key")


def show_policy(aws: LocalAws, customer: Lab, outputs: dict[str, str]) -> None:
    document = policy_document(aws, outputs["PolicyArn"])
    expected = illumina.policy(customer.key_arn, customer.bucket, PREFIX, versioned=False)
    print(bold("\n   The IAM policy: Illumina's, for an unversioned bucket"))
    show_json(document)
    require(illumina.same(document, expected), "the IAM policy is not Illumina's document for unversioned buckets")


def show_statements(aws: LocalAws, customer: Lab, outputs: dict[str, str]) -> None:
    role = outputs["AssumeRoleArn"]
    require(role == illumina.role(REGION), f"{role} is not Illumina's role for {REGION}")

    key_policy = json.loads(aws.client("kms").get_key_policy(KeyId=customer.key_id, PolicyName="default")["Policy"])
    print(bold("\n   The key policy: your own statement first, then Illumina's"))
    show_json(key_policy)
    expected = illumina.key_policy_statement(role)
    require(
        illumina.same(key_policy["Statement"][1:], [expected]), "the key policy did not gain Illumina's statement"
    )

    s3 = aws.client("s3")
    bucket_policy = json.loads(s3.get_bucket_policy(Bucket=customer.bucket)["Policy"])
    print(bold("\n   The bucket policy, and the CORS rule for uploads from the browser"))
    show_json(bucket_policy)
    rules = s3.get_bucket_cors(Bucket=customer.bucket)["CORSRules"]
    show_json(rules)
    expected = illumina.bucket_policy_statement(role, customer.bucket, versioned=False)
    require(
        illumina.same(bucket_policy["Statement"], [expected]), "the bucket policy did not gain Illumina's statement"
    )
    require(rules == [illumina.cors_rule()], "the bucket did not gain Illumina's CORS rule")


def consume(aws: LocalAws, outputs: dict[str, str]) -> None:
    cloudformation = aws.client("cloudformation")
    template = (ROOT / "examples/consumer.yaml").read_text()
    cloudformation.create_stack(StackName=CONSUMER, TemplateBody=template)
    settle(aws, CONSUMER, "create")
    ssm = aws.client("ssm")
    parameters = {p["Name"]: p["Value"] for p in ssm.get_parameters_by_path(Path="/ica/")["Parameters"]}
    table(parameters)
    imported = [parameters[name] for name in ("/ica/bucket-name", "/ica/key-prefix", "/ica/key-name")]
    exported = [outputs[name] for name in ("BucketName", "KeyPrefix", "KeyName")]
    require(imported == exported, f"the second stack should have imported {exported}, it has {imported}")


def update(aws: LocalAws, customer: Lab, outputs: dict[str, str]) -> None:
    before = policy_document(aws, outputs["PolicyArn"])
    versioning = {"Status": "Enabled"}
    aws.client("s3").put_bucket_versioning(Bucket=customer.bucket, VersioningConfiguration=versioning)
    done("versioning is on")
    # CloudFormation sends an update only if a property changed: this one exists for that.
    deploy(f"BucketName={customer.bucket}", f"KeyPrefix={PREFIX}", "ServiceTimeout=361")
    after = policy_document(aws, outputs["PolicyArn"])
    print(bold("\n   The IAM policy is now Illumina's for a versioned bucket"))
    show_changes(before, after)
    expected = illumina.policy(customer.key_arn, customer.bucket, PREFIX, versioned=True)
    require(illumina.same(after, expected), "the IAM policy is not Illumina's document for versioned buckets")
    require(
        stack_outputs(aws, STACK)["BucketVersioning"] == "Enabled", "the outputs do not say that versioning is on"
    )


def look_around(aws: LocalAws, customer: Lab, outputs: dict[str, str]) -> None:
    """Leave everything standing until the reader has seen enough and presses Ctrl-C."""
    exports = " ".join(f"{name}={value}" for name, value in aws.settings().items())
    step("Look around (KEEP=1)")
    print(
        f"""
   In another terminal, in this folder:

     export PATH=$PWD/.venv/bin:$PATH {exports}

     sam list stack-outputs --stack-name {STACK}
     sam deploy --stack-name project-b --parameter-overrides BucketName={customer.bucket} KeyPrefix=project-b
     python -c 'import boto3; print(*boto3.client("iam").list_policies(PathPrefix="/ica-storage/")["Policies"], sep="\\n")'

   and, if you have the AWS CLI:

     aws s3api head-object --bucket {customer.bucket} --key {PREFIX}
     aws iam get-policy --policy-arn {outputs["PolicyArn"]}
     aws kms get-key-policy --key-id {customer.key_id} --policy-name default --output text
     aws cloudformation describe-stack-events --stack-name {STACK}
     aws cloudformation delete-stack --stack-name {CONSUMER}
     aws cloudformation delete-stack --stack-name {STACK}

   Its log: {aws.log}

   {bold("Ctrl-C stops everything")} (or: kill {os.getpid()})
""",
        flush=True,
    )
    signal.pause()


def delete(aws: LocalAws) -> None:
    aws.client("cloudformation").delete_stack(StackName=CONSUMER)
    settle(aws, CONSUMER, "delete")
    done(f"{CONSUMER} is deleted")
    # Not by `sam delete`, which does the same but looks every 30 seconds only.
    aws.client("cloudformation").delete_stack(StackName=STACK)
    settle(aws, STACK, "delete")
    done(f"{STACK} is deleted")


def prove(aws: LocalAws, customer: Lab, before: dict[str, Any]) -> None:
    after = state(aws)
    register = [arn for arn in after["policies"] if ":policy/ica-storage/" in arn]
    require(not register, f"policies are left: {register}")
    done("no policy under /ica-storage/")
    require(after["keys"] == before["keys"], "the key policy is not as it was before")
    done("the key policy is, byte for byte, what it was before")
    left, was = after["buckets"][customer.bucket], before["buckets"][customer.bucket]
    require(not left["objects"], f"objects are left in the bucket: {left['objects']}")
    done("the folder is gone, and no version or delete marker of it is left")
    require((left["policy"], left["cors"]) == (was["policy"], was["cors"]), "bucket policy or CORS are not as before")
    done("the bucket policy and the CORS rules are what they were before")
    left["versioning"] = was["versioning"]  # switched on by the demo, not by the connection
    require(after == before, "the account is not as it was before:\n" + "\n".join(changes(before, after)))
    done("the rest of the account (roles, users, policies, buckets) is what it was before")


def state(aws: LocalAws) -> dict[str, Any]:
    """The account without SAM's own bucket."""
    account = snapshot(aws)
    account["buckets"] = {n: b for n, b in account["buckets"].items() if not n.startswith(SAM_BUCKET)}
    return account


def settle(aws: LocalAws, stack: str, verb: str) -> None:
    waiter = aws.client("cloudformation").get_waiter(f"stack_{verb}_complete")
    waiter.wait(StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def require(kept: bool, sentence: str) -> None:
    if not kept:
        raise Unproven(sentence)


def show_json(document: Any) -> None:
    """Indented, with the lists of strings that fit on a line on one line."""
    lists = re.compile(r'\[\s+("[^"]*",?\s+)+\]')
    text = lists.sub(one_line, json.dumps(document, indent=2))
    print("\n".join(f"   {line}" for line in text.splitlines()))


def one_line(found: re.Match[str]) -> str:
    line = re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]")
    return line if len(line) <= 80 else found[0]


def show_changes(before: Any, after: Any) -> None:
    for line in changes(before, after):
        colour = {"+": green, "-": red}.get(line[0], dim)
        print(f"   {colour(line)}")


if __name__ == "__main__":
    sys.exit(main())
