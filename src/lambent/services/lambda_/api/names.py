"""Which function and qualifier a request means."""

from typing import TYPE_CHECKING

from lambent.aws import quotas
from lambent.aws.arn import FunctionReference, parse_function
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.lambda_.catalogue import Entry
from lambent.services.lambda_.model import LATEST, FunctionKey, FunctionVersion, not_found

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda


def locate(caller: Caller, name: str, qualifier: str | None = None) -> tuple[FunctionKey, str | None]:
    """The function that `name` (a name, a partial ARN or an ARN) means to this caller, and its qualifier if any.

    Raises:
        ApiError: the ARN is of another region; its qualifier and the given one differ; the name is too long.

    Source: AWS Lambda API Reference, Invoke, "FunctionName" and "Qualifier".
    """
    reference = _parse(name)
    quotas.check_function_name(reference.name)
    if reference.region is not None and reference.region != caller.region:
        raise ApiError(
            "ResourceNotFoundException",
            f"Functions from '{reference.region}' are not reachable in this region ('{caller.region}')",
        )
    if reference.qualifier is not None and qualifier is not None and reference.qualifier != qualifier:
        raise ApiError(
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        )
    key = FunctionKey(reference.account or caller.account, caller.region, reference.name)
    return key, reference.qualifier or qualifier


def locate_function(caller: Caller, name: str) -> FunctionKey:
    """The function that `name` means, for operations on the whole function.

    Raises:
        ApiError: as `locate`; InvalidParameterValueException for the name of a version or an alias.
    """
    key, qualifier = locate(caller, name)
    if qualifier not in (None, LATEST):
        raise ApiError(
            "InvalidParameterValueException",
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
            "Please specify either a function name or an unqualified function ARN.",
        )
    return key


def _parse(name: str) -> FunctionReference:
    try:
        return parse_function(name)
    except ValueError:
        raise ApiError("InvalidParameterValueException", f"{name!r} is not the name or ARN of a function.") from None


def find(service: "Lambda", caller: Caller, params: Shape) -> tuple[Entry, FunctionVersion, str | None]:
    """The function, the version and the qualifier that FunctionName and Qualifier name. An alias gives its own version.

    Raises:
        ApiError: as `locate`; ResourceNotFoundException.
    """
    key, qualifier = locate(caller, params["FunctionName"], params.get("Qualifier"))
    entry = service.catalogue.find(key)
    if entry is None:
        raise not_found(key, qualifier)
    return entry, entry.resolve(qualifier), qualifier
