"""Where a package comes from: the request itself, or an object in S3."""

from typing import TYPE_CHECKING, Any, Final

from lambent.aws import quotas
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda

_NOTHING: Final = "Uploaded file must be a non-empty zip"


def check_source(shape: Shape) -> None:
    """Raises ApiError InvalidParameterValueException for no source of a package, or for two."""
    if shape.get("S3Bucket") or shape.get("S3Key"):
        if shape.get("ZipFile") is not None:
            raise _invalid("Please do not provide other FunctionCode parameters when providing a ZipFile.")
        if not (shape.get("S3Bucket") and shape.get("S3Key")):
            raise _invalid("S3Bucket and S3Key are both required when a package comes from Amazon S3.")
    elif shape.get("ZipFile") is None:
        raise _invalid("Please provide a source for function code.")
    elif not shape["ZipFile"]:
        raise _invalid(_NOTHING)
    elif len(shape["ZipFile"]) > quotas.ZIPPED_BYTES:
        message = f"Zipped size must be smaller than {quotas.ZIPPED_BYTES} bytes"
        raise ApiError("RequestEntityTooLargeException", message)


async def read_package(service: "Lambda", caller: Caller, shape: Shape) -> bytes:
    """The package that FunctionCode, UpdateFunctionCode or a layer's Content names.

    Raises:
        ApiError: as `check_source`; InvalidParameterValueException with what S3 says; NotImplemented for a package
            that is to stay in its bucket.
    """
    check_source(shape)
    if not shape.get("S3Bucket"):
        data: bytes = shape["ZipFile"]
        return data
    if shape.get("S3ObjectStorageMode") == "REFERENCE":
        raise ApiError("NotImplemented", "S3ObjectStorageMode: Lambent does not run code straight from a bucket yet.")
    wanted = {"Bucket": shape["S3Bucket"], "Key": shape["S3Key"]}
    if shape.get("S3ObjectVersion"):
        wanted["VersionId"] = shape["S3ObjectVersion"]
    try:
        answer = await service.call("s3", "GetObject", wanted, caller=caller)
    except ApiError as error:
        raise _invalid(
            f"Error occurred while GetObject. S3 Error Code: {error.code}. S3 Error Message: {error.message}"
        ) from error
    if answer.get("ContentLength", 0) > quotas.UNZIPPED_BYTES:
        raise _invalid(f"Unzipped size must be smaller than {quotas.UNZIPPED_BYTES} bytes")
    return await _whole(answer["Body"])


async def _whole(body: Any) -> bytes:
    """A streamed answer's body, or one that is there already."""
    data = body if isinstance(body, bytes) else b"".join([chunk async for chunk in body])
    if not data:
        raise _invalid(_NOTHING)
    return data


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterValueException", message)
