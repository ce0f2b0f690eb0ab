"""`lambent trigger` for buckets: what happens in a bucket invokes a function, with the permission that this needs."""

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from lambent.cli.client import client
from lambent.cli.terminal import CommandError

SCHEME: Final = "s3://"
_EVENTS: Final = ["s3:ObjectCreated:*"]


@dataclass(frozen=True, slots=True)
class Place:
    """Keys of a bucket: those that begin and end so."""

    bucket: str
    prefix: str
    suffix: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}*{self.suffix}"

    @property
    def filter(self) -> dict[str, Any]:
        """As a notification configuration has it."""
        both = (("prefix", self.prefix), ("suffix", self.suffix))
        rules = [{"Name": name, "Value": value} for name, value in both if value]
        return {"Filter": {"Key": {"FilterRules": rules}}} if rules else {}


def place(text: str) -> Place:
    """What `s3://bucket/prefix*suffix` names. Raises CommandError for more than one `*`."""
    bucket, _, keys = text.removeprefix(SCHEME).partition("/")
    prefix, _, suffix = keys.partition("*")
    if not bucket or "*" in suffix:
        raise CommandError(f"{text} names no objects.", "Say s3://BUCKET, s3://BUCKET/PREFIX* or s3://BUCKET/*SUFFIX.")
    return Place(bucket, prefix, suffix)


def add(function: str, where: Place, endpoint: str | None) -> dict[str, Any]:
    """Gives S3 the permission and adds to what the bucket tells; the entry that was added."""
    functions, s3 = client("lambda", endpoint), client("s3", endpoint)
    arn = functions.get_function(FunctionName=function)["Configuration"]["FunctionArn"]
    permission = {
        "FunctionName": function,
        "StatementId": _statement(where),
        "Action": "lambda:InvokeFunction",
        "Principal": "s3.amazonaws.com",
        "SourceArn": f"arn:aws:s3:::{where.bucket}",
    }
    with suppress(functions.exceptions.ResourceConflictException):  # another trigger of the same bucket gave it
        functions.add_permission(**permission)
    entry = {"Id": f"lambent-{re.sub('[^A-Za-z0-9]+', '-', str(where))}", "LambdaFunctionArn": arn, "Events": _EVENTS}
    held = _configuration(s3, where.bucket)
    held.setdefault("LambdaFunctionConfigurations", []).append(entry | where.filter)
    s3.put_bucket_notification_configuration(Bucket=where.bucket, NotificationConfiguration=held)
    return entry | where.filter


def remove(function: str, where: Place, endpoint: str | None) -> None:
    """Takes away what `add` gave; the permission when it was the bucket's last trigger of this function."""
    functions, s3 = client("lambda", endpoint), client("s3", endpoint)
    held = _configuration(s3, where.bucket)
    entries = held.get("LambdaFunctionConfigurations", [])
    gone = [one for one in entries if _place(where.bucket, one) == where and _is_of(one, function)]
    if not gone:
        raise CommandError(f"{where} does not invoke {function}.", "`lambent trigger ls` shows what does.")
    held["LambdaFunctionConfigurations"] = [one for one in entries if one not in gone]
    s3.put_bucket_notification_configuration(Bucket=where.bucket, NotificationConfiguration=held)
    if not any(_is_of(one, function) for one in held["LambdaFunctionConfigurations"]):
        with suppress(functions.exceptions.ResourceNotFoundException):  # it was given under another name
            functions.remove_permission(FunctionName=function, StatementId=_statement(where))


def listed(function: str | None, endpoint: str | None) -> list[dict[str, str]]:
    """Of each bucket's triggers the id, the place and the function."""
    s3 = client("s3", endpoint)
    found = []
    for bucket in s3.list_buckets()["Buckets"]:
        for entry in _configuration(s3, bucket["Name"]).get("LambdaFunctionConfigurations", []):
            if function is None or _is_of(entry, function):
                named = entry["LambdaFunctionArn"].split(":function:")[1]
                where = str(_place(bucket["Name"], entry))
                found.append({"Id": entry["Id"], "Source": where, "Function": named})
    return found


def _configuration(s3: Any, bucket: str) -> dict[str, Any]:
    answer = s3.get_bucket_notification_configuration(Bucket=bucket)
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def _place(bucket: str, entry: dict[str, Any]) -> Place:
    rules = {one["Name"].lower(): one["Value"] for one in entry.get("Filter", {}).get("Key", {}).get("FilterRules", [])}
    return Place(bucket, rules.get("prefix", ""), rules.get("suffix", ""))


def _is_of(entry: dict[str, Any], function: str) -> bool:
    arn: str = entry["LambdaFunctionArn"]
    return arn == function or arn.split(":function:")[1] == function


def _statement(where: Place) -> str:
    return f"lambent-trigger-{where.bucket.replace('.', '-')}"
