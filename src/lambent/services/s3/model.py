"""Buckets and objects as data, the rules of their names, and S3's errors."""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from lambent.aws.errors import ApiError
from lambent.protocol.http import UNMODELLED_HEADERS

ENABLED: Final = "Enabled"
SUSPENDED: Final = "Suspended"
NULL: Final = "null"
"""The id of a version that was written while its bucket had no versioning."""
MOST_KEY_BYTES: Final = 1_024
MOST_METADATA_BYTES: Final = 2_048
DEFAULT_TYPE: Final = "binary/octet-stream"

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_IP: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}", re.ASCII)
# Source: Amazon S3 User Guide, "General purpose bucket naming rules".
_FORBIDDEN_STARTS: Final = ("xn--", "sthree-", "amzn-s3-demo-")
_FORBIDDEN_ENDS: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket and its settings, each by the name of what holds it in the API."""

    id: int
    account: str
    region: str
    name: str
    created_ms: int
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        return f"arn:aws:s3:::{self.name}"

    @property
    def owner(self) -> str:
        return owner_id(self.account)

    @property
    def versioning(self) -> str | None:
        """ENABLED, SUSPENDED, or None where it never was."""
        status: str | None = self.settings.get("Versioning", {}).get("Status")
        return status

    @property
    def has_lock(self) -> bool:
        return "ObjectLockConfiguration" in self.settings


class Facts(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What is kept of an object beside its bytes: all that is not looked for in the store."""

    headers: dict[str, str] = {}
    """Content headers by their member's name: ContentType, CacheControl, ..."""
    metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    algorithm: str = ""
    checksum: str = ""
    checksum_type: str = ""
    parts: int = 0
    """How many it was uploaded in; 0 for one that came in one piece."""
    storage_class: str = "STANDARD"
    encryption: dict[str, Any] = {}
    acl: dict[str, Any] = {}
    lock_mode: str = ""
    retain_until_ms: int = 0
    legal_hold: bool = False
    redirect: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of an object, or a delete marker."""

    id: int
    bucket_id: int
    key: str
    version_id: str
    seq: int
    is_latest: bool = True
    is_marker: bool = False
    size: int = 0
    etag: str = ""
    modified_ms: int = 0
    facts: Facts = field(default_factory=Facts)

    @property
    def modified(self) -> datetime:
        """In whole seconds, as Last-Modified tells it."""
        return datetime.fromtimestamp(self.modified_ms // 1000, UTC)

    @property
    def sequencer(self) -> str:
        """What orders the events of a key."""
        return f"{self.seq:018X}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A piece of an object or of an upload, in a file named by `digest`. `number` is its part's, 0 for no part."""

    number: int
    offset: int
    size: int
    digest: str
    etag: str = ""
    checksum: str = ""
    modified_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A multipart upload that is under way."""

    id: int
    upload_id: str
    bucket_id: int
    key: str
    started_ms: int
    facts: Facts


def check_bucket_name(name: str) -> None:
    """Raises ApiError InvalidBucketName for what no new bucket may be called."""
    is_good = (
        _NAME.fullmatch(name)
        and ".." not in name
        and not _IP.fullmatch(name)
        and not name.startswith(_FORBIDDEN_STARTS)
        and not name.endswith(_FORBIDDEN_ENDS)
    )
    if not is_good:
        raise ApiError("InvalidBucketName", "The specified bucket is not valid.", BucketName=name)


def check_key(key: str) -> None:
    """Raises ApiError KeyTooLongError, or InvalidURI for what is no UTF-8."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise ApiError("InvalidURI", "Couldn't parse the specified URI.") from None
    if size > MOST_KEY_BYTES:
        raise ApiError("KeyTooLongError", "Your key is too long", Size=size, MaxSizeAllowed=MOST_KEY_BYTES)


def owner_id(account: str) -> str:
    """The canonical user id of an account."""
    return hashlib.sha256(f"canonical {account}".encode()).hexdigest()


def moment(ms: int) -> datetime:
    """As answers have it."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def no_bucket(name: str) -> ApiError:
    """NoSuchBucket."""
    return ApiError("NoSuchBucket", "The specified bucket does not exist", BucketName=name)


def no_key(key: str, marker: Version | None = None) -> ApiError:
    """NoSuchKey; with headers that say so where a delete marker is the latest version."""
    more: dict[str, Any] = {}
    if marker is not None:
        more[UNMODELLED_HEADERS] = [("x-amz-delete-marker", "true"), ("x-amz-version-id", marker.version_id)]
    return ApiError("NoSuchKey", "The specified key does not exist.", Key=key, **more)


def no_version(key: str, version_id: str) -> ApiError:
    """NoSuchVersion."""
    return ApiError("NoSuchVersion", "The specified version does not exist.", Key=key, VersionId=version_id)


def no_upload(upload_id: str) -> ApiError:
    """NoSuchUpload."""
    message = (
        "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been "
        "aborted or completed."
    )
    return ApiError("NoSuchUpload", message, UploadId=upload_id)


def invalid(message: str, name: str = "", value: object = None) -> ApiError:
    """InvalidArgument, with the argument if there is one to name."""
    return ApiError("InvalidArgument", message, **({"ArgumentName": name, "ArgumentValue": value} if name else {}))


def bad_request(message: str) -> ApiError:
    """InvalidRequest."""
    return ApiError("InvalidRequest", message)


def precondition_failed(condition: str) -> ApiError:
    """PreconditionFailed, with what did not hold."""
    message = "At least one of the pre-conditions you specified did not hold"
    return ApiError("PreconditionFailed", message, Condition=condition)


def malformed_xml() -> ApiError:
    """MalformedXML."""
    message = "The XML you provided was not well-formed or did not validate against our published schema"
    return ApiError("MalformedXML", message)


def access_denied(message: str = "Access Denied") -> ApiError:
    """AccessDenied."""
    return ApiError("AccessDenied", message)


def is_locked(version: Version, now_ms: int, *, bypasses_governance: bool = False) -> bool:
    """Whether a version may not be removed: by a legal hold, or a retention that is not over."""
    facts = version.facts
    if facts.legal_hold:
        return True
    is_retained = bool(facts.lock_mode) and facts.retain_until_ms > now_ms
    return is_retained and not (bypasses_governance and facts.lock_mode == "GOVERNANCE")
