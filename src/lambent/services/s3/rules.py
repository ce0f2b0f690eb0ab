"""What may be configured of a bucket. Pure.

Source: Amazon S3 API Reference, the operations that put these configurations; facts sheet C5 and C6.
"""

import secrets
from datetime import datetime
from typing import Any, Final

from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.s3.model import ENABLED, Bucket, bad_request, invalid, malformed_xml

_METHODS: Final = frozenset(["GET", "PUT", "HEAD", "POST", "DELETE"])
_MOST_RULES: Final = 1_000
_MOST_CORS_RULES: Final = 100
_ACTIONS: Final = (
    "Expiration",
    "Transitions",
    "NoncurrentVersionTransitions",
    "NoncurrentVersionExpiration",
    "AbortIncompleteMultipartUpload",
    "Transition",
    "NoncurrentVersionTransition",
)


def checked_versioning(bucket: Bucket, value: Shape) -> Shape:
    """Raises ApiError IllegalVersioningConfigurationException, InvalidBucketState."""
    if value.get("Status") not in (ENABLED, "Suspended"):
        message = "The Versioning element must be specified"
        raise ApiError("IllegalVersioningConfigurationException", message)
    if bucket.has_lock and value["Status"] != ENABLED:
        message = "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed."
        raise ApiError("InvalidBucketState", message)
    return value


def checked_cors(_bucket: Bucket, value: Shape) -> Shape:
    """Raises ApiError InvalidRequest, MalformedXML."""
    rules = value.get("CORSRules") or []
    if not 1 <= len(rules) <= _MOST_CORS_RULES:
        raise malformed_xml()
    for rule in rules:
        if not rule.get("AllowedMethods") or not rule.get("AllowedOrigins"):
            raise malformed_xml()
        for method in rule["AllowedMethods"]:
            if method not in _METHODS:
                raise bad_request(f"Found unsupported HTTP method in CORS config. Unsupported method is {method}")
        for origin in rule["AllowedOrigins"]:
            if origin.count("*") > 1:
                raise bad_request(f'AllowedOrigin "{origin}" can not have more than one wildcard.')
        for header in rule.get("AllowedHeaders", ()):
            if header.count("*") > 1:
                raise bad_request(f'AllowedHeader "{header}" can not have more than one wildcard.')
        if any("*" in header for header in rule.get("ExposeHeaders", ())):
            raise bad_request(
                'ExposeHeader "*" contains wildcard. We currently do not support wildcard for ExposeHeader.'
            )
    return value


def checked_lock(bucket: Bucket, value: Shape) -> Shape:
    """Raises ApiError InvalidBucketState, MalformedXML, InvalidArgument."""
    if bucket.versioning != ENABLED:
        message = "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration"
        raise ApiError("InvalidBucketState", message)
    if value.get("ObjectLockEnabled") != ENABLED:
        raise malformed_xml()
    rule = value.get("Rule")
    if rule is None:
        return value
    retention = rule.get("DefaultRetention") or {}
    if not retention.get("Mode") or bool(retention.get("Days") is None) == bool(retention.get("Years") is None):
        raise malformed_xml()
    if (retention.get("Days") or retention.get("Years") or 0) <= 0:
        raise invalid("Default retention period must be a positive integer value.")
    return value


def checked_lifecycle(rules: list[Shape]) -> list[Shape]:
    """Rules as they are kept, each with an id. Raises ApiError InvalidArgument, InvalidRequest, MalformedXML."""
    if len(rules) > _MOST_RULES:
        raise malformed_xml()
    named = [{**rule, "ID": rule.get("ID") or secrets.token_urlsafe(36)} for rule in rules]
    if len({rule["ID"] for rule in named}) < len(named):
        raise invalid("Rule ID must be unique. Found same ID for more than one rule")
    for rule in named:
        _check_rule(rule)
    return named


def _check_rule(rule: Shape) -> None:
    if rule.get("Status") not in (ENABLED, "Disabled"):
        raise malformed_xml()
    if len(rule["ID"]) > 255:
        raise invalid("ID length should not exceed allowed limit of 255")
    if not any(rule.get(action) for action in _ACTIONS):
        raise bad_request("At least one action needs to be specified in a rule.")
    if "Prefix" not in rule and "Filter" not in rule:
        raise malformed_xml()
    if "Prefix" in rule and "Filter" in rule:
        raise malformed_xml()
    expiration = rule.get("Expiration") or {}
    if sum(name in expiration for name in ("Days", "Date", "ExpiredObjectDeleteMarker")) > 1:
        raise malformed_xml()
    if "Days" in expiration and expiration["Days"] <= 0:
        raise invalid("'Days' for Expiration action must be a positive integer")
    date = expiration.get("Date")
    if isinstance(date, datetime) and (date.hour or date.minute or date.second):
        raise invalid("'Date' must be at midnight GMT")
    noncurrent = rule.get("NoncurrentVersionExpiration") or {}
    if noncurrent and noncurrent.get("NoncurrentDays", 0) <= 0:
        raise invalid("'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer")
    has_tags = "Tag" in (rule.get("Filter") or {}) or "Tags" in ((rule.get("Filter") or {}).get("And") or {})
    if rule.get("AbortIncompleteMultipartUpload") and has_tags:
        raise bad_request("AbortIncompleteMultipartUpload cannot be specified with Tags.")


def with_dates(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule from the store, with moments instead of their text."""
    found = dict(rule)
    if isinstance(date := rule.get("Expiration", {}).get("Date"), str):
        found["Expiration"] = {**rule["Expiration"], "Date": datetime.fromisoformat(date)}
    for name in ("Transitions", "Transition"):
        if name in rule:
            many = rule[name] if isinstance(rule[name], list) else [rule[name]]
            dated = [
                {**one, "Date": datetime.fromisoformat(one["Date"])} if isinstance(one.get("Date"), str) else one
                for one in many
            ]
            found[name] = dated if isinstance(rule[name], list) else dated[0]
    return found


def is_public(statement: dict[str, Any]) -> bool:
    """Whether a statement allows everybody something, whatever the circumstances."""
    principal = statement.get("Principal")
    everybody = principal == "*" or (isinstance(principal, dict) and principal.get("AWS") in ("*", ["*"]))
    return statement.get("Effect") == "Allow" and everybody and not statement.get("Condition")
