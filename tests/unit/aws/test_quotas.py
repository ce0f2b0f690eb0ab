import pytest

from lambent.aws import quotas
from lambent.aws.errors import ApiError


def test_a_value_at_the_limit_passes_and_one_past_it_does_not():
    quotas.check_most("timeout", 900, quotas.TIMEOUT_S)
    quotas.check_most("timeout", None, quotas.TIMEOUT_S)
    with pytest.raises(ApiError) as raised:
        quotas.check_most("timeout", 901, quotas.TIMEOUT_S)
    assert raised.value.message == (
        "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: "
        "Member must have value less than or equal to 900"
    )


def test_a_function_name_has_at_most_64_characters():
    quotas.check_function_name("f" * 64)
    with pytest.raises(ApiError, match="Member must have length less than or equal to 64") as raised:
        quotas.check_function_name("f" * 65)
    assert raised.value.code == "InvalidParameterValueException"


def test_environment_variables_measure_at_most_4_kb_as_json():
    overhead = len('{"KEY":""}')
    quotas.check_variables({"KEY": "x" * (4096 - overhead)})
    value = "x" * (4097 - overhead)
    with pytest.raises(ApiError) as raised:
        quotas.check_variables({"KEY": value})
    assert raised.value.message == (
        "Lambda was unable to configure your environment variables because the environment variables you have "
        f'provided exceeded the 4KB limit. String measured: {{"KEY":"{value}"}}'
    )


def test_environment_variables_are_measured_in_bytes():
    overhead = len('{"KEY":""}')
    with pytest.raises(ApiError, match="4KB"):
        quotas.check_variables({"KEY": "é" * (4097 - overhead)})


@pytest.mark.parametrize("name", ["", "a", "1a", "_A", "A-B", "A B", "É1"])
def test_a_badly_named_variable_is_refused(name):
    with pytest.raises(ApiError, match="Map keys must satisfy constraint"):
        quotas.check_variables({name: "x"})


def test_reserved_variables_are_named_in_the_refusal():
    with pytest.raises(ApiError, match=r"Reserved keys used in this request: AWS_REGION, LAMBDA_TASK_ROOT$"):
        quotas.check_variables({"AWS_REGION": "x", "FINE": "x", "LAMBDA_TASK_ROOT": "x"})


def test_variables_that_aws_lets_a_function_override_pass():
    quotas.check_variables({"PATH": "/x", "TZ": "UTC", "LANG": "C", "PYTHONPATH": "/x", "LD_LIBRARY_PATH": "/x"})
