"""Loops of functions: the lineage in the trace header, where it stops, and the setting that lets it go on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lambda_platform import CALLER, platform
from msgspec.structs import replace

from lambent.aws.errors import ApiError
from lambent.aws.trace import new_trace, part
from lambent.services.lambda_.recursion import ALLOW, RUNS, TERMINATE, check, lineage
from lambent.testing.loop import run

ROOT = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
A, B = (f"arn:aws:lambda:us-east-1:000000000000:function:{name}" for name in "ab")
STOPPED = (
    "RecursiveInvocationException",
    "Lambda has detected your function being invoked in a recursive loop with other AWS resources and stopped your "
    "function's invocation.",
)


def passes(arns, header=ROOT, loop=TERMINATE):
    """The header after a chain of runs."""
    for arn in arns:
        header = check(header, arn, loop)
    return header


def test_the_first_run_is_counted_as_zero_behind_what_the_header_said():
    header = check(ROOT, A)
    assert header.startswith(f"{ROOT};Lineage=")
    assert list(lineage(header).values()) == [0]


def test_sixteen_runs_pass_and_the_next_is_stopped():
    header = passes([A] * RUNS)
    assert list(lineage(header).values()) == [15]
    with pytest.raises(ApiError) as raised:
        check(header, A)
    assert (raised.value.code, raised.value.message) == STOPPED


def test_functions_that_call_each_other_are_counted_apart():
    header = passes([A, B] * RUNS)
    assert list(lineage(header).values()) == [15, 15]
    check(header, A + "-another")
    for arn in (A, B):
        with pytest.raises(ApiError):
            check(header, arn)


def test_a_function_that_may_loop_is_counted_and_not_stopped():
    header = passes([A] * 100, loop=ALLOW)
    assert list(lineage(header).values()) == [99]


def test_a_lineage_that_an_sdk_quoted_is_read():
    header = passes([A, B, A])
    quoted = header.replace("|", "%7C")
    assert quoted != header
    assert lineage(quoted) == lineage(header)
    assert check(quoted, B) == check(header, B)


def test_a_loop_of_more_functions_than_a_header_counts_ends_too():
    arns = [f"{A}-{number}" for number in range(50)]
    with pytest.raises(ApiError):
        passes(arns * (RUNS + 1))
    assert len(passes(arns)) < 700


@given(st.text())
def test_whatever_a_client_sends_gives_a_header_with_one_more_function(text):
    header = check(text, A)
    assert len(lineage(header)) >= 1
    assert check(header, B) != header


@given(st.lists(st.sampled_from([A, B, A + "2", B + "2"]), max_size=60))
def test_a_chain_is_stopped_exactly_when_a_function_would_run_once_too_often(arns):
    header, ran = ROOT, dict.fromkeys(arns, 0)
    for arn in arns:
        if ran[arn] == RUNS:
            with pytest.raises(ApiError):
                check(header, arn)
            continue
        header = check(header, arn)
        ran[arn] += 1


def test_a_new_header_has_its_moment_in_its_root():
    header = new_trace(0x5759E988)
    assert part(header, "Root")[:11] == "1-5759e988-"
    assert part(header, "Sampled") is None
    assert part(header, "Lineage") is None


def test_an_invocation_hands_the_lineage_on_and_is_stopped_at_its_end(tmp_path):
    async def main(clock):
        async with platform(tmp_path, clock) as lambda_:
            await lambda_.create()
            header = None
            for _ in range(RUNS):
                await lambda_("Invoke", caller=replace(CALLER, trace_header=header), FunctionName="fn")
                header = lambda_.engine.invoked[-1][1].trace_header
            caller = replace(CALLER, trace_header=header)
            assert await lambda_.refused("Invoke", caller=caller, FunctionName="fn") == STOPPED
            dropped = [entry for entry in lambda_.recorded if entry[0] == "RecursiveInvocationsDropped"]
            assert dropped == [
                ("RecursiveInvocationsDropped", 1, {}),
                ("RecursiveInvocationsDropped", 1, {"FunctionName": "fn"}),
            ]
            await lambda_("PutFunctionRecursionConfig", FunctionName="fn", RecursiveLoop="Allow")
            assert (await lambda_("Invoke", caller=caller, FunctionName="fn"))["StatusCode"] == 200

    run(main)


def test_the_setting_is_terminate_until_it_is_set_and_outlives_a_restart(tmp_path):
    async def first(clock):
        async with platform(tmp_path, clock) as lambda_:
            await lambda_.create()
            fn = {"FunctionName": "fn"}
            assert await lambda_("GetFunctionRecursionConfig", **fn) == {"RecursiveLoop": "Terminate"}
            answer = await lambda_("PutFunctionRecursionConfig", **fn, RecursiveLoop="Allow")
            assert answer == {"RecursiveLoop": "Allow"}
            assert await lambda_("GetFunctionRecursionConfig", **fn) == answer

    async def second(clock):
        async with platform(tmp_path, clock) as lambda_:
            assert await lambda_("GetFunctionRecursionConfig", FunctionName="fn") == {"RecursiveLoop": "Allow"}

    run(first)
    run(second)


@pytest.mark.parametrize("params", [{}, {"RecursiveLoop": "Allow"}])
def test_a_function_that_is_not_there_has_no_setting(tmp_path, params):
    async def main(clock):
        async with platform(tmp_path, clock) as lambda_:
            operation = f"{'Put' if params else 'Get'}FunctionRecursionConfig"
            code, message = await lambda_.refused(operation, FunctionName="gone", **params)
            arn = "arn:aws:lambda:eu-west-1:123456789012:function:gone"
            assert (code, message) == ("ResourceNotFoundException", f"Function not found: {arn}")

    run(main)
