"""A Lambda function in Python that does what get-member does: look at the key, read the member.
Its loop asks the Runtime API as Lambda's own client for Python does, and nothing more."""

import base64
import hashlib
import hmac
import http.client
import json
import os

import boto3

dynamodb = boto3.client("dynamodb", endpoint_url=os.environ["AWS_ENDPOINT_URL_DYNAMODB"])


def handle(event):
    encoded = event["headers"]["authorization"].split(" ")[1]
    key_id, secret = base64.b64decode(encoded).decode().split(":", 1)
    key = dynamodb.get_item(TableName=os.environ["KEYS_TABLE"], Key={"key_id": {"S": key_id}})
    digest = hashlib.sha256(secret.encode()).hexdigest()
    if not hmac.compare_digest(key["Item"]["secret_hash"]["S"], digest):
        return {"statusCode": 401}
    account, client = event["pathParameters"]["id"].split("~")
    member = dynamodb.get_item(
        TableName=os.environ["MEMBERS_TABLE"],
        Key={"account_id": {"S": account}, "client_member_id": {"S": client}},
        ConsistentRead=True,
    )
    if "Item" not in member:
        return {"statusCode": 404}
    body = {name: value["S"] for name, value in member["Item"].items()}
    return {"statusCode": 200, "body": json.dumps(body)}


runtime = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    runtime.request("GET", "/2018-06-01/runtime/invocation/next")
    invocation = runtime.getresponse()
    request_id = invocation.headers["Lambda-Runtime-Aws-Request-Id"]
    answer = json.dumps(handle(json.load(invocation)))
    runtime.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", answer)
    runtime.getresponse().read()
