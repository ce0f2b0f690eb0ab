"""Policies that AWS manages, as far as their documents are known here. Data.

Any ARN of the form `arn:aws:iam::aws:policy/...` can be attached: there are more than a thousand, and they change.
Only those below can be read with GetPolicy and GetPolicyVersion.

Source: AWS Managed Policy Reference.
"""

import base64
import hashlib
from datetime import UTC, date, datetime
from typing import Any, Final

import msgspec

from lambent.services.iam.model import Policy, Version, policy_arn

_LOGS: Final = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
_INTERFACES: Final = ("ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface")


def _allow(*actions: str) -> str:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return msgspec.json.encode({"Version": "2012-10-17", "Statement": [statement]}).decode()


_POLICIES: Final = (
    ("/", "AdministratorAccess", date(2015, 2, 6), _allow("*")),
    ("/", "AmazonS3FullAccess", date(2015, 2, 6), _allow("s3:*", "s3-object-lambda:*")),
    ("/", "AmazonSNSFullAccess", date(2015, 2, 6), _allow("sns:*")),
    ("/", "AmazonSQSFullAccess", date(2015, 2, 6), _allow("sqs:*")),
    (
        "/",
        "AmazonS3ReadOnlyAccess",
        date(2015, 2, 6),
        _allow("s3:Get*", "s3:List*", "s3:Describe*", "s3-object-lambda:Get*", "s3-object-lambda:List*"),
    ),
    (
        "/",
        "AWSXRayDaemonWriteAccess",
        date(2018, 8, 28),
        _allow(
            "xray:PutTraceSegments",
            "xray:PutTelemetryRecords",
            "xray:GetSamplingRules",
            "xray:GetSamplingTargets",
            "xray:GetSamplingStatisticSummaries",
        ),
    ),
    ("/service-role/", "AWSLambdaBasicExecutionRole", date(2015, 4, 9), _allow(*_LOGS)),
    (
        "/service-role/",
        "AWSLambdaDynamoDBExecutionRole",
        date(2015, 4, 9),
        _allow(
            "dynamodb:DescribeStream",
            "dynamodb:GetRecords",
            "dynamodb:GetShardIterator",
            "dynamodb:ListStreams",
            *_LOGS,
        ),
    ),
    (
        "/service-role/",
        "AWSLambdaKinesisExecutionRole",
        date(2015, 4, 9),
        _allow(
            "kinesis:DescribeStream",
            "kinesis:DescribeStreamSummary",
            "kinesis:GetRecords",
            "kinesis:GetShardIterator",
            "kinesis:ListShards",
            "kinesis:ListStreams",
            "kinesis:SubscribeToShard",
            *_LOGS,
        ),
    ),
    ("/service-role/", "AWSLambdaRole", date(2015, 2, 6), _allow("lambda:InvokeFunction")),
    (
        "/service-role/",
        "AWSLambdaSQSQueueExecutionRole",
        date(2018, 6, 14),
        _allow("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", *_LOGS),
    ),
    (
        "/service-role/",
        "AWSLambdaVPCAccessExecutionRole",
        date(2016, 2, 11),
        _allow(
            *_LOGS,
            *_INTERFACES,
            "ec2:DescribeSubnets",
            "ec2:AssignPrivateIpAddresses",
            "ec2:UnassignPrivateIpAddresses",
        ),
    ),
)


def _entry(path: str, name: str, made: date, document: str) -> tuple[Policy, Version]:
    at = int(datetime(made.year, made.month, made.day, tzinfo=UTC).timestamp())
    # AWS's own ids are not published; these are as stable, which is what tools rely on.
    policy_id = "ANPA" + base64.b32encode(hashlib.sha256(name.encode()).digest()).decode()[:17]
    return Policy(id=policy_id, account="aws", name=name, path=path, created_at=at, updated_at=at), Version(
        1, document, at
    )


KNOWN: Final = {policy_arn("aws", path, name): _entry(path, name, made, text) for path, name, made, text in _POLICIES}
"""Policy and its only version, by ARN."""
