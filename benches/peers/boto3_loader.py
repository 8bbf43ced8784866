"""What a Lambda function for the same work looks like when nothing is made of it: the file
is fetched to /tmp, read with csv.DictReader, and put with batch_writer. It checks nothing,
normalises nothing and compares nothing, all of which speaks for it in a comparison.

Run by `mpulse-bench ingest`, with the environment of a function and BUCKET and KEY. Prints
JSON: rows, CPU seconds of the handler alone (imports are before it) and its wall time.
"""

import csv
import json
import os
import resource
import tempfile
import time

import boto3
from botocore.config import Config

# Connections are plain and local: no proxy, no lookup.
config = Config(proxies={}, s3={"addressing_style": "path"})
s3 = boto3.client("s3", config=config)
table = boto3.resource("dynamodb", config=config).Table(os.environ["MEMBERS_TABLE"])


def handler(event, context):
    record = event["Records"][0]["s3"]
    rows = 0
    now = "2026-11-23T18:06:00.000Z"
    by = "batch:01K0000000000000000000000"
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        s3.download_file(record["bucket"]["name"], record["object"]["key"], file.name)
        with open(file.name, encoding="utf-8", newline="") as lines:
            with table.batch_writer() as batch:
                for row in csv.DictReader(lines):
                    batch.put_item(
                        Item={
                            "account_id": row["account_id"],
                            "client_member_id": row["client_member_id"],
                            "first_name": row["first_name"],
                            "last_name": row["last_name"],
                            "phone_number": row["phone_number"],
                            "created_at": now,
                            "updated_at": now,
                            "created_by": by,
                            "updated_by": by,
                        }
                    )
                    rows += 1
    return rows


if __name__ == "__main__":
    wall, cpu = time.monotonic(), time.process_time()
    s3_record = {"bucket": {"name": os.environ["BUCKET"]}, "object": {"key": os.environ["KEY"]}}
    rows = handler({"Records": [{"s3": s3_record}]}, None)
    print(
        json.dumps(
            {
                "rows": rows,
                "cpu_seconds": time.process_time() - cpu,
                "wall_seconds": time.monotonic() - wall,
                "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
    )
