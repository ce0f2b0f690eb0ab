"""Access control lists: kept and told again. Nobody is refused because of one.

Source: Amazon S3 User Guide, "Access control list (ACL) overview".
"""

from typing import Any, Final

from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.s3.model import Bucket, invalid, malformed_xml

_GROUPS: Final = "http://acs.amazonaws.com/groups/"
_CANNED: Final[dict[str, list[tuple[str, str]]]] = {
    "private": [],
    "public-read": [("global/AllUsers", "READ")],
    "public-read-write": [("global/AllUsers", "READ"), ("global/AllUsers", "WRITE")],
    "authenticated-read": [("global/AuthenticatedUsers", "READ")],
    "log-delivery-write": [("s3/LogDelivery", "WRITE"), ("s3/LogDelivery", "READ_ACP")],
    "aws-exec-read": [],
    "bucket-owner-read": [],
    "bucket-owner-full-control": [],
}
_HEADERS: Final = {
    "GrantFullControl": "FULL_CONTROL",
    "GrantRead": "READ",
    "GrantReadACP": "READ_ACP",
    "GrantWrite": "WRITE",
    "GrantWriteACP": "WRITE_ACP",
}
_KINDS: Final = {"id": "CanonicalUser", "uri": "Group", "emailaddress": "AmazonCustomerByEmail"}


def of_request(bucket: Bucket, params: Shape) -> dict[str, Any]:
    """What a request sets.

    Raises:
        ApiError: AccessControlListNotSupported where the owner of the bucket owns all there is, MalformedXML.
    """
    rules = bucket.settings.get("OwnershipControls", {}).get("Rules", [{}])
    granted = [_granted(params[name], permission) for name, permission in _HEADERS.items() if params.get(name)]
    canned, policy = params.get("ACL"), params.get("AccessControlPolicy")
    is_enforced = rules[0].get("ObjectOwnership") == "BucketOwnerEnforced"
    if is_enforced and (granted or policy or canned not in (None, "private", "bucket-owner-full-control")):
        raise ApiError("AccessControlListNotSupported", "The bucket does not allow ACLs")
    if policy is not None:
        if not policy.get("Owner"):
            raise malformed_xml()
        return {"Grants": policy.get("Grants") or []}
    if granted:
        return {"Grants": [grant for grants in granted for grant in grants]}
    return {"Canned": canned or "private"}


def _granted(text: str, permission: str) -> list[dict[str, Any]]:
    grants = []
    for one in text.split(","):
        kind, _, value = one.strip().partition("=")
        type_ = _KINDS.get(kind.lower())
        if type_ is None:
            raise invalid("Argument format not recognized", permission, text)
        member = {"CanonicalUser": "ID", "Group": "URI"}.get(type_, "EmailAddress")
        grants.append({"Grantee": {"Type": type_, member: value.strip('"')}, "Permission": permission})
    return grants


def shape(acl: dict[str, Any], bucket: Bucket) -> Shape:
    """As it is answered."""
    owner = {"ID": bucket.owner}
    if "Grants" in acl:
        return {"Owner": owner, "Grants": acl["Grants"]}
    own = {"Grantee": {"Type": "CanonicalUser", "ID": bucket.owner}, "Permission": "FULL_CONTROL"}
    groups = [
        {"Grantee": {"Type": "Group", "URI": _GROUPS + group}, "Permission": permission}
        for group, permission in _CANNED.get(acl.get("Canned", "private"), [])
    ]
    return {"Owner": owner, "Grants": [own, *groups]}
