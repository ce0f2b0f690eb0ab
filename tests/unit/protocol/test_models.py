"""The models are read lazily, and the tables that spare us reading them are true."""

import subprocess
import sys

import pytest

from lambent.protocol import models
from lambent.protocol.catalogue import QUERY_VERSIONS, SIGNING_NAMES, TARGET_PREFIXES
from lambent.protocol.models import QUERY
from lambent.testing.wire import botocore_model


def test_the_protocol_layer_imports_no_botocore() -> None:
    code = (
        "import sys; from lambent.protocol import parse, route, serialize, validate, models;"
        "models.service('lambda'); print([name for name in sys.modules if name.split('.')[0] in ('botocore', 'boto3')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_tables_are_what_the_models_say() -> None:
    signing: dict[str, set[str]] = {}
    targets: dict[str, set[str]] = {}
    versions: dict[str, set[str]] = {}
    for name in models.service_names():
        model = models.service(name)
        metadata = model.metadata
        signing.setdefault(metadata.signing_name or metadata.endpoint_prefix, set()).add(name)
        if metadata.target_prefix:
            targets.setdefault(metadata.target_prefix, set()).add(name)
        if QUERY in model.protocols:
            versions.setdefault(metadata.api_version, set()).add(name)
    others = {name: services for name, services in signing.items() if services != {name}}
    assert {name: set(services) for name, services in SIGNING_NAMES.items()} == others
    assert {version: set(services) for version, services in QUERY_VERSIONS.items()} == versions
    assert targets.keys() == TARGET_PREFIXES.keys()
    assert all(service in targets[prefix] for prefix, service in TARGET_PREFIXES.items())
    models.service.cache_clear()  # four hundred models are nothing to keep


@pytest.mark.parametrize("service", ["lambda", "logs", "s3", "sqs", "iam", "cloudwatch", "dynamodb"])
def test_a_model_says_what_botocore_reads_in_it(service: str) -> None:
    ours, theirs = models.service(service), botocore_model(service)
    assert models.operation_names(service) == sorted(theirs.operation_names)
    for operation in theirs.operation_names:
        shape, model = ours.input(operation), theirs.operation_model(operation).input_shape
        assert (shape is None) == (model is None)
        if shape is not None and model is not None:
            assert list(ours.members(shape)) == list(model.members)
            for name, member in ours.members(shape).items():
                assert member.type == model.members[name].type_name
                assert member.location == model.members[name].serialization.get("location")


def test_there_is_no_service_of_another_name() -> None:
    for name in ("nonsense", "../s3", "", "s3/2006-03-01"):
        with pytest.raises(KeyError):
            models.service(name)
    assert "lambda" in models.service_names()
