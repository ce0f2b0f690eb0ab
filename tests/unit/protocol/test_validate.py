"""Constraints, word for word."""

from typing import Any

import pytest

from lambent.aws.errors import ApiError
from lambent.protocol import models
from lambent.protocol.constraints import java_order
from lambent.protocol.validate import validate

ROLE = "arn:aws:iam::123456789012:role/r"


def refused(service: str, operation: str, params: dict[str, Any]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        validate(service, operation, params)
    return caught.value


def create(**params: Any) -> dict[str, Any]:
    return {"FunctionName": "f", "Role": ROLE, "Code": {"ZipFile": b"x"}, **params}


def test_a_name_that_is_too_long() -> None:
    name = "a" * 141
    error = refused("lambda", "CreateFunction", create(FunctionName=name))
    assert error.code == "ValidationException"
    assert error.message == (
        f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: "
        "Member must have length less than or equal to 140"
    )
    validate("lambda", "CreateFunction", create(FunctionName="a" * 140))


def test_a_role_that_is_missing() -> None:
    params = create()
    del params["Role"]
    assert refused("lambda", "CreateFunction", params).message == (
        "1 validation error detected: Value null at 'role' failed to satisfy constraint: Member must not be null"
    )


def test_several_violations_are_told_together_and_a_pattern_before_a_length() -> None:
    error = refused("logs", "CreateLogGroup", {"logGroupName": ""})
    assert error.code == "InvalidParameterException"
    assert error.message == (
        "2 validation errors detected: Value '' at 'logGroupName' failed to satisfy constraint: Member must satisfy "
        r"regular expression pattern: [\.\-_/#A-Za-z0-9]+; Value '' at 'logGroupName' failed to satisfy constraint: "
        "Member must have length greater than or equal to 1"
    )


def test_an_enum_is_told_in_the_order_of_java() -> None:
    error = refused("lambda", "CreateFunction", create(PackageType="Tar"))
    assert "Value 'Tar' at 'packageType' failed to satisfy constraint: Member must satisfy enum value set: [" in (
        error.message
    )
    assert java_order(["OFF", "ON", "OPTIONAL"]) == ["OPTIONAL", "OFF", "ON"]
    recorded = [
        *("nodejs20.x", "provided.al2023", "python3.12", "java17", "nodejs16.x", "dotnet8", "python3.10", "java11"),
        *("python3.11", "dotnet6", "java21", "nodejs18.x", "provided.al2", "ruby3.3", "java8.al2", "ruby3.2"),
        *("python3.8", "python3.9"),
    ]
    enum = models.service("lambda").shape("Runtime").enum
    assert java_order([runtime for runtime in enum if runtime in recorded]) == recorded


def test_items_of_a_list_are_told_with_all_that_holds_for_them() -> None:
    assert refused("lambda", "CreateFunction", create(Architectures=["arm"])).message == (
        "1 validation error detected: Value '[arm]' at 'architectures' failed to satisfy constraint: Member must "
        "satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"
    )


def test_keys_and_values_of_a_map_are_told_with_all_that_holds_for_them() -> None:
    params = {"FunctionName": "f", "Name": "live", "FunctionVersion": "1"}
    error = refused("lambda", "CreateAlias", params | {"RoutingConfig": {"AdditionalVersionWeights": {"x": 0.5}}})
    assert error.message == (
        "1 validation error detected: Value '{x=0.5}' at 'routingConfig.additionalVersionWeights' failed to satisfy "
        "constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member "
        "must have length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+, Member "
        "must not be null]"
    )
    error = refused("lambda", "CreateAlias", params | {"RoutingConfig": {"AdditionalVersionWeights": {"1": 2.0}}})
    assert error.message.endswith(
        "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value "
        "greater than or equal to 0.0, Member must not be null]"
    )


def test_members_of_items_are_told_by_their_place() -> None:
    error = refused("iam", "TagRole", {"RoleName": "r", "Tags": [{"Key": "k", "Value": "v"}, {"Value": "v"}]})
    assert error.code == "ValidationError"
    assert error.message == (
        "1 validation error detected: Value null at 'tags.2.member.key' failed to satisfy constraint: "
        "Member must not be null"
    )
    assert "at 'tags.1.member'" in refused("iam", "TagRole", {"RoleName": "r", "Tags": [None]}).message


def test_a_number_out_of_range() -> None:
    assert refused("lambda", "CreateFunction", create(Timeout=0)).message == (
        "1 validation error detected: Value '0' at 'timeout' failed to satisfy constraint: "
        "Member must have value greater than or equal to 1"
    )


def test_a_sensitive_value_is_not_repeated() -> None:
    error = refused("kms", "ImportKeyMaterial", {"KeyId": "k", "ImportToken": b"", "EncryptedKeyMaterial": b"x"})
    assert "java.nio.HeapByteBuffer[pos=0 lim=0 cap=0]" in error.message
    error = refused("secretsmanager", "CreateSecret", {"Name": "n", "SecretString": ""})
    assert "Value at 'secretString' failed to satisfy constraint" in error.message


def test_a_runtime_that_is_none() -> None:
    error = refused("lambda", "CreateFunction", create(Runtime="cobol"))
    assert error.code == "InvalidParameterValueException"
    assert error.message.startswith(
        "Value cobol at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: ["
    )
    assert error.message.endswith("] or be a valid ARN")
    assert "python3.7" not in error.message
    validate("lambda", "CreateFunction", create(Runtime="python3.12"))


def test_sqs_says_that_a_parameter_is_missing() -> None:
    error = refused("sqs", "SendMessage", {"QueueUrl": "q"})
    assert (error.code, error.message) == ("MissingParameter", "The request must contain the parameter MessageBody.")


def test_a_shape_that_contains_itself() -> None:
    deep: dict[str, Any] = {"S": "x"}
    for _ in range(30):
        deep = {"L": [deep]}
    validate("dynamodb", "PutItem", {"TableName": "table", "Item": {"a": deep}})


def test_a_long_value_does_not_take_long() -> None:
    # Cubic and exponential patterns: without bounds these would take hours.
    error = refused("dynamodb", "ExportTableToPointInTime", {"TableArn": "a" * 100, "S3Bucket": "a" * 100_000 + "!"})
    assert "Member must have length less than or equal to 255" in error.message
    value = " " * 500 + "\x00"
    parameters = {"HeaderParameters": {"a": value}}
    target = {"Id": "1", "Arn": "arn:aws:x", "HttpParameters": parameters}
    assert "headerParameters" in refused("events", "PutTargets", {"Rule": "r", "Targets": [target]}).message
