"""What an upload says of its object beside the bytes, and how answers tell it again."""

import base64
import hashlib
from typing import Any, Final
from urllib.parse import parse_qsl

from lambent.aws import checksums
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.s3.locking import lock_of
from lambent.services.s3.model import (
    DEFAULT_TYPE,
    MOST_METADATA_BYTES,
    Bucket,
    Facts,
    Version,
    bad_request,
    invalid,
    moment,
)

CONTENT_HEADERS: Final = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Expires",
)
_MOST_TAGS: Final = 10
_LONGEST_TAG: Final = (128, 256)
_STANDARD: Final = "STANDARD"
_KMS: Final = ("aws:kms", "aws:kms:dsse")


def facts_of(bucket: Bucket, params: Shape, now_ms: int) -> Facts:
    """What the parameters of an upload say.

    Raises:
        ApiError: MetadataTooLarge, InvalidTag, InvalidStorageClass, InvalidArgument, InvalidRequest.
    """
    lock = lock_of(bucket, params, now_ms)
    return Facts(
        headers=content_headers(params),
        metadata=metadata_of(params),
        tags=tags_of_header(params.get("Tagging")),
        storage_class=params.get("StorageClass") or _STANDARD,
        encryption=encryption_of(bucket, params),
        lock_mode=lock.mode,
        retain_until_ms=lock.until_ms,
        legal_hold=lock.hold,
        redirect=params.get("WebsiteRedirectLocation") or "",
        acl={"Canned": params["ACL"]} if params.get("ACL") else {},
    )


def content_headers(params: Shape) -> dict[str, str]:
    """The content headers as they were sent; `aws-chunked` is how the body came, not what it is."""
    found = {}
    for name in CONTENT_HEADERS:
        value = params.get(name)
        if value is None:
            continue
        text = value if isinstance(value, str) else value.strftime("%a, %d %b %Y %H:%M:%S GMT")
        if name == "ContentEncoding":
            codings = [one.strip() for one in text.split(",")]
            text = ",".join(one for one in codings if one and one != "aws-chunked")
        if text:
            found[name] = text
    found.setdefault("ContentType", DEFAULT_TYPE)
    return found


def metadata_of(params: Shape) -> dict[str, str]:
    """User metadata. What was sent as UTF-8 is text again."""
    found = {name.lower(): _utf8(value) for name, value in (params.get("Metadata") or {}).items()}
    size = sum(len(name.encode()) + len(value.encode()) for name, value in found.items())
    if size > MOST_METADATA_BYTES:
        message = "Your metadata headers exceed the maximum allowed metadata size"
        raise ApiError("MetadataTooLarge", message, Size=size, MaxSizeAllowed=MOST_METADATA_BYTES)
    return found


def _utf8(text: str) -> str:
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def tags_of_header(text: str | None) -> dict[str, str]:
    """Tags from `x-amz-tagging`, which has the form of a query. Raises ApiError InvalidArgument, InvalidTag."""
    if not text:
        return {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        message = (
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag "
            "name duplicates."
        )
        raise invalid(message, "x-amz-tagging", text) from None
    return checked_tags([{"Key": key, "Value": value} for key, value in pairs], _MOST_TAGS)


def checked_tags(tag_set: list[Shape], most: int = _MOST_TAGS) -> dict[str, str]:
    """Tags as they are kept. Raises ApiError InvalidTag, BadRequest for too many."""
    if len(tag_set) > most:
        noun = "Object" if most == _MOST_TAGS else "Bucket"
        raise ApiError("BadRequest", f"{noun} tags cannot be greater than {most}")
    found: dict[str, str] = {}
    for tag in tag_set:
        key, value = tag["Key"], tag["Value"]
        if key in found:
            raise ApiError("InvalidTag", "Cannot provide multiple Tags with the same key", TagKey=key)
        if not 1 <= len(key) <= _LONGEST_TAG[0]:
            raise ApiError("InvalidTag", "The TagKey you have provided is invalid", TagKey=key)
        if len(value) > _LONGEST_TAG[1]:
            raise ApiError("InvalidTag", "The TagValue you have provided is invalid", TagKey=key, TagValue=value)
        if key.lower().startswith("aws:"):
            raise ApiError("InvalidTag", "System tags cannot be added/updated by requester", TagKey=key)
        found[key] = value
    return found


def encryption_of(bucket: Bucket, params: Shape) -> dict[str, Any]:
    """The members that answers tell of an object's encryption, where it is not the default."""
    if params.get("SSECustomerAlgorithm"):
        return _customer_key(params)
    default = bucket.settings.get("ServerSideEncryptionConfiguration", {}).get("Rules", [{}])[0]
    chosen = default.get("ApplyServerSideEncryptionByDefault", {})
    algorithm = params.get("ServerSideEncryption") or chosen.get("SSEAlgorithm", "AES256")
    if algorithm not in _KMS:
        if params.get("SSEKMSKeyId"):
            message = (
                "Server Side Encryption with AWS KMS managed key requires HTTP header "
                "x-amz-server-side-encryption : aws:kms"
            )
            raise invalid(message, "x-amz-server-side-encryption", algorithm)
        return {} if algorithm == "AES256" else {"ServerSideEncryption": algorithm}
    key = params.get("SSEKMSKeyId") or chosen.get("KMSMasterKeyID") or "alias/aws/s3"
    if not key.startswith("arn:"):
        kind = "" if key.startswith("alias/") else "key/"
        key = f"arn:aws:kms:{bucket.region}:{bucket.account}:{kind}{key}"
    found: dict[str, Any] = {"ServerSideEncryption": algorithm, "SSEKMSKeyId": key}
    has_bucket_key = params.get("BucketKeyEnabled", default.get("BucketKeyEnabled"))
    return found | ({"BucketKeyEnabled": True} if has_bucket_key else {})


def _customer_key(params: Shape) -> dict[str, Any]:
    """A key that the client keeps: its digest is all that is kept of it."""
    try:
        key = base64.b64decode(params.get("SSECustomerKey") or "", validate=True)
    except ValueError:
        key = b""
    digest = checksums.text(hashlib.md5(key, usedforsecurity=False).digest())
    if params["SSECustomerAlgorithm"] != "AES256" or len(key) != 32:
        raise invalid("The secret key was invalid for the specified algorithm.", "x-amz-server-side-encryption", "null")
    if params.get("SSECustomerKeyMD5") != digest:
        message = "The calculated MD5 hash of the key did not match the hash that was provided."
        raise invalid(message, "x-amz-server-side-encryption", "null")
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKeyMD5": digest}


def check_customer_key(facts: Facts, params: Shape, prefix: str = "") -> None:
    """Raises ApiError InvalidRequest or AccessDenied: the object's key is not the one that was given."""
    kept = facts.encryption.get("SSECustomerKeyMD5")
    given = params.get(f"{prefix}SSECustomerKeyMD5")
    if kept and not given:
        message = (
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to "
            "retrieve the object."
        )
        raise bad_request(message)
    if given and not kept:
        raise bad_request("The encryption parameters are not applicable to this object.")
    if kept and given != kept:
        raise ApiError("AccessDenied", "Access Denied")


def etag_of(md5: bytes, facts: Facts, version_pk: int) -> str:
    """The MD5 where the object is encrypted with S3's own keys; else something that is none."""
    if not facts.encryption:
        return md5.hex()
    return hashlib.md5(md5 + str(version_pk).encode(), usedforsecurity=False).hexdigest()


# --- what answers tell


def encryption(facts: Facts) -> Shape:
    """The members that answers tell of the encryption."""
    return dict(facts.encryption) or {"ServerSideEncryption": "AES256"}


def checksum(facts: Facts) -> Shape:
    """The members that tell the checksum of the whole."""
    if not facts.checksum:
        return {}
    return {f"Checksum{facts.algorithm}": facts.checksum, "ChecksumType": facts.checksum_type}


def quoted(etag: str) -> str:
    """As it stands in answers."""
    return f'"{etag}"'


def headers(version: Version) -> Shape:
    """What GET and HEAD tell of a version in their headers."""
    facts = version.facts
    shape: Shape = {
        "AcceptRanges": "bytes",
        "LastModified": version.modified,
        "ETag": quoted(version.etag),
        "Metadata": facts.metadata,
        **facts.headers,
        **encryption(facts),
        "StorageClass": None if facts.storage_class == _STANDARD else facts.storage_class,
        "TagCount": len(facts.tags) or None,
        "WebsiteRedirectLocation": facts.redirect or None,
        "ObjectLockMode": facts.lock_mode or None,
        "ObjectLockLegalHoldStatus": "ON" if facts.legal_hold else None,
    }
    if facts.lock_mode:
        shape["ObjectLockRetainUntilDate"] = moment(facts.retain_until_ms)
    return shape
