"""The names, codes and statuses of SQS's query protocol, which its model has lost since it became a JSON service.

Source: the service model of API version 2012-11-05 as it was until botocore 1.31 (2023), and the examples of the SQS
API Reference, "Query API".
"""

from functools import cache
from typing import Final

import msgspec

from lambent.protocol.models import Error, Reference, ServiceModel, Shape

# What each list's items, or each map's entries, are called. Lists are flattened already.
_NAMES: Final = {
    "AWSAccountIdList": "AWSAccountId",
    "ActionNameList": "ActionName",
    "AttributeNameList": "AttributeName",
    "BatchResultErrorEntryList": "BatchResultErrorEntry",
    "BinaryList": "BinaryListValue",
    "ChangeMessageVisibilityBatchRequestEntryList": "ChangeMessageVisibilityBatchRequestEntry",
    "ChangeMessageVisibilityBatchResultEntryList": "ChangeMessageVisibilityBatchResultEntry",
    "DeleteMessageBatchRequestEntryList": "DeleteMessageBatchRequestEntry",
    "DeleteMessageBatchResultEntryList": "DeleteMessageBatchResultEntry",
    "ListMessageMoveTasksResultEntryList": "ListMessageMoveTasksResultEntry",
    "MessageAttributeNameList": "MessageAttributeName",
    "MessageList": "Message",
    "MessageSystemAttributeList": "MessageSystemAttributeName",
    "QueueUrlList": "QueueUrl",
    "SendMessageBatchRequestEntryList": "SendMessageBatchRequestEntry",
    "SendMessageBatchResultEntryList": "SendMessageBatchResultEntry",
    "StringList": "StringListValue",
    "TagKeyList": "TagKey",
}
_ENTRIES: Final = {
    "MessageBodyAttributeMap": ("MessageAttribute", "Name", "Value"),
    "MessageBodySystemAttributeMap": ("MessageSystemAttribute", "Name", "Value"),
    "MessageSystemAttributeMap": ("Attribute", "Name", "Value"),
    "QueueAttributeMap": ("Attribute", "Name", "Value"),
    "TagMap": ("Tag", "Key", "Value"),
}
_PREFIX: Final = "AWS.SimpleQueueService."
# Codes on the wire, which clients of the json protocol find in a header, and statuses: 400 where there is none.
_ERRORS: Final = {
    "BatchEntryIdsNotDistinct": (f"{_PREFIX}BatchEntryIdsNotDistinct", 400),
    "BatchRequestTooLong": (f"{_PREFIX}BatchRequestTooLong", 400),
    "EmptyBatchRequest": (f"{_PREFIX}EmptyBatchRequest", 400),
    "InvalidAddress": ("InvalidAddress", 404),
    "InvalidBatchEntryId": (f"{_PREFIX}InvalidBatchEntryId", 400),
    "InvalidSecurity": ("InvalidSecurity", 403),
    "KmsAccessDenied": ("KMS.AccessDeniedException", 400),
    "KmsDisabled": ("KMS.DisabledException", 400),
    "KmsInvalidKeyUsage": ("KMS.InvalidKeyUsageException", 400),
    "KmsInvalidState": ("KMS.InvalidStateException", 400),
    "KmsNotFound": ("KMS.NotFoundException", 400),
    "KmsOptInRequired": ("KMS.OptInRequired", 403),
    "KmsThrottled": ("KMS.ThrottlingException", 400),
    "MessageNotInflight": (f"{_PREFIX}MessageNotInflight", 400),
    "OverLimit": ("OverLimit", 403),
    "PurgeQueueInProgress": (f"{_PREFIX}PurgeQueueInProgress", 403),
    "QueueDeletedRecently": (f"{_PREFIX}QueueDeletedRecently", 400),
    "QueueDoesNotExist": (f"{_PREFIX}NonExistentQueue", 400),
    "QueueNameExists": ("QueueAlreadyExists", 400),
    "ReceiptHandleIsInvalid": ("ReceiptHandleIsInvalid", 404),
    "RequestThrottled": ("RequestThrottled", 403),
    "ResourceNotFoundException": ("ResourceNotFoundException", 404),
    "TooManyEntriesInBatchRequest": (f"{_PREFIX}TooManyEntriesInBatchRequest", 400),
    "UnsupportedOperation": (f"{_PREFIX}UnsupportedOperation", 400),
}
# What its query protocol says instead of the text that the json protocol has.
_TEXTS: Final = {"QueueDoesNotExist": "The specified queue does not exist for this wsdl version."}
# Errors of SQS's that its model does not have, by their code of the query protocol: their type in the json protocol.
_JSON_TYPES: Final = {
    "AccessDenied": "AccessDeniedException",
    "InvalidParameterValue": "InvalidParameterValueException",
    "MissingParameter": "MissingRequiredParameterException",
}


def query_text(code: str, message: str) -> str:
    """The message of an SQS error in the query protocol."""
    return _TEXTS.get(code, message)


def json_type(code: str, *, is_modelled: bool) -> str:
    """The `__type` of an SQS error in the json protocol."""
    if is_modelled:
        return f"com.amazonaws.sqs#{code}"
    return f"com.amazon.coral.service#{_JSON_TYPES.get(code, code)}"


def with_queue_url(model: ServiceModel, path: str, params: dict[str, object]) -> dict[str, object]:
    """The parameters of a request of the query protocol: its path may be the queue's address."""
    if model.name == "sqs" and path != "/" and "QueueUrl" not in params:
        params["QueueUrl"] = path
    return params


def with_query_names(model: ServiceModel) -> ServiceModel:
    """The model to speak the query protocol by, and to tell errors by in any: the same one, except for SQS."""
    return _sqs(model) if model.name == "sqs" else model


@cache
def without_names(model: ServiceModel) -> ServiceModel:
    """The model without its lists of attributes' names.

    SQS has words of its own for a name that there is not, and the model's list is wrong where a receiver asks for
    attributes of messages (AttributeNames of ReceiveMessage, which all SDKs send).
    """
    return model.with_shapes({name: _replaced(model.shape(name), enum=[]) for name in model.shape_names()})


@cache
def _sqs(model: ServiceModel) -> ServiceModel:
    shapes = {name: _renamed(model.shape(name)) for name in model.shape_names()}
    # Lost, too, when its model became a JSON service's.
    return model.with_shapes(shapes, f"http://queue.amazonaws.com/doc/{model.metadata.api_version}/")


def _renamed(shape: Shape) -> Shape:
    if shape.type == "list" and shape.member and shape.name in _NAMES:
        return _replaced(shape, flattened=True, member=_called(shape.member, _NAMES[shape.name]))
    if shape.type == "map" and shape.key and shape.value and shape.name in _ENTRIES:
        _, key, value = _ENTRIES[shape.name]
        return _replaced(shape, flattened=True, key=_called(shape.key, key), value=_called(shape.value, value))
    if shape.exception and shape.name in _ERRORS:
        code, status = _ERRORS[shape.name]
        return _replaced(shape, error=Error(code=code, http_status_code=status, sender_fault=True))
    members = {
        name: _called(reference, _ENTRIES[reference.shape][0]) if reference.shape in _ENTRIES else reference
        for name, reference in shape.members.items()
    }
    return _replaced(shape, members=members)


def _called(reference: Reference, name: str) -> Reference:
    return msgspec.structs.replace(reference, location_name=name)


def _replaced(shape: Shape, **changes: object) -> Shape:
    return msgspec.structs.replace(shape, **changes)
