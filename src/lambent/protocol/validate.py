"""An operation's parameters against its model's constraints, with AWS's own messages and each service's code."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from lambent.aws.errors import ApiError
from lambent.aws.quotas import RETIRED_RUNTIMES
from lambent.protocol import models
from lambent.protocol.constraints import Check, Constraints, java_order
from lambent.protocol.models import QUERY, ServiceModel
from lambent.protocol.sqs_query import without_names

# What a constraint's violation is called. All others: ValidationError in services of the query protocol,
# ValidationException in the rest.
_CODES: Final = {
    "cloudfront": "MalformedXML",  # as users report it: "MalformedXML: 2 validation errors detected: Value ..."
    "cloudwatch": "ValidationError",  # a query service first; its Common Errors
    "cognito-idp": "InvalidParameterException",  # Cognito user pools API Reference, errors of each operation
    "ecr": "InvalidParameterException",  # ECR API Reference, errors of each operation
    "logs": "InvalidParameterException",  # CloudWatch Logs API Reference, errors of each operation
    "route53": "InvalidInput",  # Route 53 API Reference, errors of each operation
    "sns": "InvalidParameter",  # SNS API Reference, errors of each operation
    "s3": "InvalidArgument",  # S3 API Reference, "Error responses"
}

_SQS_MISSING: Final = "The request must contain the parameter {}."
_SNS_MISSING: Final = "Invalid parameter: {} Reason: no value for required parameter"

Validate = Callable[[dict[str, Any]], None]

_compiled: dict[tuple[str, str], Validate] = {}


def validate(service: str, operation: str, params: dict[str, Any]) -> None:
    """Returns when all constraints hold.

    Raises:
        ApiError: the service's code for it, and every violation in one message.
    """
    compiled = _compiled.get((service, operation))
    if compiled is None:
        compiled = _compiled[service, operation] = compile_validate(models.service(service), operation)
    compiled(params)


def compile_validate(model: ServiceModel, operation: str) -> Validate:
    """What `validate` keeps for one operation."""
    shape = model.input(operation)
    check = _constraints(model).check(shape) if shape is not None else None
    if check is None:
        return lambda _params: None
    code = _CODES.get(model.name) or ("ValidationError" if model.metadata.protocol == QUERY else "ValidationException")
    if model.name == "lambda" and shape is not None and "Runtime" in shape.members:
        return _with_runtime(_validator(check, code))
    if model.name == "sqs" and shape is not None:
        check = _constraints(without_names(model)).check(shape) or check
        return _with_missing(shape.required, "MissingParameter", _SQS_MISSING, _validator(check, code))
    if model.name == "sns" and shape is not None:
        return _with_missing(shape.required, "InvalidParameter", _SNS_MISSING, _validator(check, code))
    return _validator(check, code)


@cache
def _constraints(model: ServiceModel) -> Constraints:
    return Constraints(model)


def _validator(check: Check, code: str) -> Validate:
    def validate_params(params: dict[str, Any]) -> None:
        errors: list[str] = []
        check(params, "", errors)
        if errors:
            raise ApiError(code, detected(errors))

    return validate_params


def detected(errors: list[str]) -> str:
    """AWS's message for these violations."""
    noun = "error" if len(errors) == 1 else "errors"
    return f"{len(errors)} validation {noun} detected: {'; '.join(errors)}"


def _with_runtime(validate_params: Validate) -> Validate:
    """Lambda tells of a wrong Runtime in words of its own, and of the runtimes that one may still have.

    Source: recorded answers of CreateFunction.
    """
    runtimes = models.service("lambda").shape("Runtime").enum
    known = frozenset(runtimes)
    current = java_order([runtime for runtime in runtimes if runtime not in RETIRED_RUNTIMES])
    words = f"Member must satisfy enum value set: [{', '.join(current)}] or be a valid ARN"

    def validate_with_runtime(params: dict[str, Any]) -> None:
        runtime = params.get("Runtime")
        if runtime is not None and runtime not in known:
            validate_params({name: value for name, value in params.items() if name != "Runtime"})
            message = f"Value {runtime} at 'runtime' failed to satisfy constraint: {words}"
            raise ApiError("InvalidParameterValueException", message)
        validate_params(params)

    return validate_with_runtime


def _with_missing(required: list[str], code: str, words: str, validate_params: Validate) -> Validate:
    """SQS and SNS have older ways to say that a parameter is missing. Source: "Common Errors" of their references."""

    def validate_with_missing(params: Mapping[str, Any]) -> None:
        for name in required:
            if params.get(name) is None:
                raise ApiError(code, words.format(name))
        validate_params(dict(params))

    return validate_with_missing
