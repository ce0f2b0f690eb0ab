"""Ships the orders that are put into a bucket.

Event: what S3 says of new objects, below `incoming/`; or messages of a queue that have such an event as their body.
Answer: {"shipped": ["incoming/7.json"]}
"""

import json
import os
import urllib.parse

import boto3

s3 = boto3.client("s3")


def handler(event, context):
    shipped = [ship(record["s3"]) for record in told(event)]
    return {"shipped": shipped}


def told(event):
    for record in event["Records"]:
        if record.get("eventSource") == "aws:sqs":
            yield from json.loads(record["body"])["Records"]
        else:
            yield record


def ship(where):
    bucket, key = where["bucket"]["name"], urllib.parse.unquote_plus(where["object"]["key"])
    order = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    if order.get("customs") and "CUSTOMS" not in os.environ:
        raise ValueError(f"{key} has to pass the customs, which are closed")
    s3.put_object(Bucket=bucket, Key=key.replace("incoming/", "shipped/", 1), Body=json.dumps(order))
    print("shipped", key)
    return key
