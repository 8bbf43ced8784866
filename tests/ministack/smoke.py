"""The template and the built functions on MiniStack, an independent emulator: it runs the zips as Lambda does, and
deploys the translated template as two stacks, which share nothing. One upload passes through S3, SQS and the ingest
program to the table, its event is delivered twice, and the members are exported.

    smoke.py ZIPS MPULSE     ZIPS: target/lambda, of `cargo lambda build --output-format zip`
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import boto3
import botocore.config

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".ci"))
from translate import translate  # noqa: E402

PORT = int(os.environ.get("PORT", "4599"))
ENDPOINT = f"http://127.0.0.1:{PORT}"
STACKS = ("mpulse", "mpulse-other")
PROGRAMS = "programs"
ROWS = 1000
BAD = 7


def client(service):
    config = botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1})
    return boto3.client(
        service,
        endpoint_url=ENDPOINT,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=config,
    )


def wait(what, ready, seconds=90):
    """What `ready` gives once it gives something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = ready()
        if found:
            return found
        time.sleep(0.3)
    sys.exit(f"waited too long for {what}")


def is_up():
    try:
        with urllib.request.urlopen(f"{ENDPOINT}/_ministack/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def upload_programs(zips):
    s3 = client("s3")
    s3.create_bucket(Bucket=PROGRAMS)
    for folder in zips.iterdir():
        program = folder / "bootstrap.zip"
        if program.exists():
            s3.upload_file(str(program), PROGRAMS, f"{folder.name}.zip")


def deploy(name):
    """Makes a stack, and gives its resources' physical ids by their logical ones."""
    template = translate(ROOT / "template.yaml", lambda program: f"s3://{PROGRAMS}/{program}.zip")
    # Too large for the request itself, as it is on AWS.
    client("s3").put_object(Bucket=PROGRAMS, Key="template.json", Body=json.dumps(template))
    cloudformation = client("cloudformation")
    cloudformation.create_stack(
        StackName=name,
        TemplateURL=f"{ENDPOINT}/{PROGRAMS}/template.json",
        Parameters=[{"ParameterKey": "Architecture", "ParameterValue": "x86_64"}],
        Capabilities=["CAPABILITY_IAM"],
    )

    def made():
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        if "ROLLBACK" in stack["StackStatus"] or "FAILED" in stack["StackStatus"]:
            for event in cloudformation.describe_stack_events(StackName=name)["StackEvents"]:
                if "FAILED" in event["ResourceStatus"]:
                    print(event["LogicalResourceId"], event.get("ResourceStatusReason"))
            sys.exit(f"the stack is {stack['StackStatus']}")
        return stack["StackStatus"] == "CREATE_COMPLETE"

    wait("the stack", made)
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    resources = {
        one["LogicalResourceId"]: one["PhysicalResourceId"]
        for page in pages
        for one in page["StackResourceSummaries"]
    }
    return template, resources


def check_apart(one, other):
    """A stage has its name within its API, and every other name is a stack's own."""
    shared = set(one.values()) & set(other.values()) - {"$default"}
    assert not shared, f"two stacks share {shared}"


def make_routes(template, resources):
    """The routes of the API, which this host's CloudFormation leaves out."""
    api, gateway = resources["Api"], client("apigatewayv2")
    paths = template["Resources"]["Api"]["Properties"]["Body"]["paths"]
    integrations = {}
    for path, methods in paths.items():
        for method, operation in methods.items():
            uri = operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
            function = uri.split("${")[-1].split(".Arn}")[0]
            if function not in integrations:
                made = gateway.create_integration(
                    ApiId=api,
                    IntegrationType="AWS_PROXY",
                    PayloadFormatVersion="2.0",
                    IntegrationUri=client("lambda").get_function(FunctionName=resources[function])[
                        "Configuration"
                    ]["FunctionArn"],
                )
                integrations[function] = made["IntegrationId"]
            key = "$default" if path == "/$default" else f"{method.upper()} {path}"
            gateway.create_route(
                ApiId=api, RouteKey=key, Target=f"integrations/{integrations[function]}"
            )


class Api:
    """The deployed API, asked with a key."""

    def __init__(self, api, key):
        self.host = f"{api}.execute-api.localhost:{PORT}"
        self.key = base64.b64encode(key.encode()).decode()

    def __call__(self, method, path, body=None):
        request = urllib.request.Request(ENDPOINT + path, method=method)
        request.add_header("host", self.host)
        request.add_header("authorization", "Basic " + self.key)
        if body is not None:
            request.add_header("content-type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


def roster():
    rows = ["account_id,client_member_id,first_name,last_name,phone_number"]
    for row in range(ROWS):
        phone = "" if row < BAD else f"+1714{2000000 + row}"
        rows.append(f"4,c{row},Ann,Lee {row},{phone}")
    return ("\n".join(rows) + "\n").encode()


def send(batch, content):
    upload = batch["upload"]
    request = urllib.request.Request(upload["url"], data=content, method=upload["method"])
    for name, value in upload["headers"].items():
        request.add_header(name, value)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200, answer.status


def main():
    zips, mpulse = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
    upload_programs(zips)
    template, resources = deploy(STACKS[0])
    _, others = deploy(STACKS[1])
    check_apart(resources, others)
    make_routes(template, resources)
    made = subprocess.run(
        [mpulse, "keys", "--table", resources["KeysTable"], "--endpoint", ENDPOINT]
        + ["create", "--id", "ops", "--role", "admin"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    api = Api(resources["Api"], made.stdout.strip())

    status, answer = api("GET", "/api/health")
    assert (status, answer) == (200, {"status": "ok"}), (status, answer)
    status, batch = api("POST", "/api/members/batch", {"file_name": "roster.csv"})
    assert status == 201, (status, batch)
    content = roster()
    send(batch, content)
    path = f"/api/members/batch/{batch['batch_id']}"
    over = ("completed", "completed_with_rejects", "failed", "cancelled")

    def ended():
        status, batch = api("GET", path)
        assert status == 200, (status, batch)
        return batch if batch["status"] in over else None

    def check(batch):
        expected = {"read": ROWS, "created": ROWS - BAD, "updated": 0, "unchanged": 0}
        expected |= {"superseded": 0, "rejected": BAD, "absent": 0, "removed": 0}
        assert batch["status"] == "completed_with_rejects", batch
        assert batch["rows"] == expected, batch
        count = client("dynamodb").get_paginator("scan")
        pages = count.paginate(TableName=resources["MembersTable"], Select="COUNT")
        members = sum(page["Count"] for page in pages)
        assert members == ROWS - BAD, members

    check(wait("the batch's end", ended))

    # The members as a file, by way of the other queue and function.
    status, export = api("POST", "/api/exports", {"account_id": "4"})
    assert status == 202, (status, export)

    def exported():
        status, found = api("GET", f"/api/exports/{export['export_id']}")
        assert status == 200, (status, found)
        return found if found["status"] in ("completed", "failed") else None

    export = wait("the export's end", exported)
    assert (export["status"], export["rows"]) == ("completed", ROWS - BAD), export
    with urllib.request.urlopen(export["links"]["file"], timeout=60) as answer:
        rows = answer.read().decode().splitlines()
    expected = [f"4,c{row},Ann,Lee {row},+1714{2000000 + row}" for row in range(BAD, ROWS)]
    assert rows[1:] == sorted(expected), rows[:3]

    # The same event once more. It comes after the end, since one that meets a run at work waits
    # for the queue's visibility, a quarter of an hour: so the batch is looked at and acknowledged.
    sample = json.loads((ROOT / "events" / "ingest.json").read_text())
    event = json.loads(sample["Records"][0]["body"])
    upload = event["Records"][0]["s3"]
    upload["bucket"]["name"] = resources["FilesBucket"]
    upload["object"] |= {"key": f"uploads/{batch['batch_id']}.csv", "size": len(content)}
    sqs, queue = client("sqs"), resources["IngestQueue"]
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(event))

    def is_empty():
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return all(int(counts[name]) == 0 for name in names)

    wait("the second event's acknowledgement", is_empty)
    check(ended())
    status, member = api("GET", "/api/members/4~c999")
    assert (status, member["phone_number"]) == (200, "+17142000999"), (status, member)
    assert member["updated_by"] == f"batch:{batch['batch_id']}", member
    print(f"{ROWS} rows by way of S3, SQS and ingest, their event twice: the table is right")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as work:
        environment = os.environ | {
            "GATEWAY_PORT": str(PORT),
            "BIND_HOST": "127.0.0.1",
            "AWS_ENDPOINT_URL": ENDPOINT,
            "LAMBDA_EXECUTOR": "local",
            "TMPDIR": work,
        }
        log = pathlib.Path(work) / "log"
        host = [sys.executable, "-m", "ministack"]
        with log.open("w") as out:
            server = subprocess.Popen(host, env=environment, stdout=out, stderr=out)
        try:
            wait("MiniStack", is_up)
            main()
        except BaseException:
            print(log.read_text()[-6000:])
            raise
        finally:
            server.terminate()
            server.wait()
