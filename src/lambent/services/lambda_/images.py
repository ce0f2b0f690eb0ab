"""Container images as a function's code: what AWS accepts of them. Pure. Running them comes later."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lambent.aws import quotas
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_.model import Code

# The registry of an account in a region; whatever domain it has, so that one beside this platform will do.
_URI: Final = re.compile(
    r"\d{12}\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.[a-z0-9.-]+(?::\d{1,5})?"
    r"/[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"
    r"(?::[\w][\w.-]{0,127})?(?P<digest>@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_URI_LENGTH: Final = 2_048


def read_image(uri: str, region: str) -> Code:
    """The code that an ImageUri names.

    Raises:
        ApiError: InvalidParameterValueException for what is no image with a tag or a digest in a registry (ECR) of
            the function's region.

    Source: AWS Lambda Developer Guide, "Create a Lambda function using a container image"; message as users report it.
    """
    match = _URI.fullmatch(uri) if len(uri) <= _URI_LENGTH else None
    name = uri.rpartition("/")[2]
    if match is None or match["region"] != region or not (":" in name or match["digest"]):
        raise _invalid(f"Source image {uri} is not valid. Provide a valid source image.")
    return Code(digest="", zipped_bytes=0, image_uri=uri)


def resolved_uri(uri: str) -> str | None:
    """ResolvedImageUri: the repository and the digest, where the address says it."""
    repository, _, digest = uri.partition("@")
    if not digest:
        return None
    folder, slash, name = repository.rpartition("/")
    return f"{folder}{slash}{name.partition(':')[0]}@{digest}"


def check_package_type(params: Shape, package_type: str) -> None:
    """Raises ApiError InvalidParameterValueException for members that do not go with Zip or with Image."""
    if package_type == "Image":
        if params.get("Runtime") or params.get("Handler") or params.get("Layers"):
            raise _invalid(
                "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."
            )
    elif params.get("ImageConfig"):
        raise _invalid("Please don't provide ImageConfig when the intended function PackageType is Zip.")


def check_image_config(config: Mapping[str, Any]) -> None:
    """Raises ApiError InvalidParameterValueException over 16 KB.

    Source: AWS Lambda Developer Guide, "Lambda quotas": container image settings size. The text is ours.
    """
    size = len(msgspec.json.encode(dict(config)))
    if size > quotas.IMAGE_CONFIG_BYTES:
        raise _invalid(f"ImageConfig is {size} bytes; Lambda allows {quotas.IMAGE_CONFIG_BYTES} bytes.")


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterValueException", message)
