"""Each limit of event source mappings, at it and one past it."""

import asyncio

import pytest
from mapping_platform import FIFO, QUEUE, gone, on_a_platform, state

from lambent.aws.errors import ApiError
from lambent.protocol.validate import validate

FILTER = {"Pattern": '{"body": ["x"]}'}


def test_a_page_has_100_mappings(tmp_path):
    async def main(lambda_):
        async def make(number):
            await lambda_.queue("CreateQueue", QueueName=f"q{number}")
            made = await lambda_("CreateEventSourceMapping", EventSourceArn=f"{QUEUE}{number}", FunctionName="fn")
            return made["UUID"]

        async with asyncio.TaskGroup() as tasks:
            making = [tasks.create_task(make(number)) for number in range(101)]
        uuids = {each.result() for each in making}
        for params in ({}, {"MaxItems": 100}, {"MaxItems": 10_000}, {"FunctionName": "fn", "MaxItems": 101}):
            first = await lambda_("ListEventSourceMappings", **params)
            assert len(first["EventSourceMappings"]) == 100
            (last,) = (await lambda_("ListEventSourceMappings", **params, Marker=first["NextMarker"]))[
                "EventSourceMappings"
            ]
            assert {each["UUID"] for each in (*first["EventSourceMappings"], last)} == uuids
        await state(lambda_, last["UUID"], "Enabled")
        await lambda_("DeleteEventSourceMapping", UUID=last["UUID"])
        await gone(lambda_, last["UUID"])
        whole = await lambda_("ListEventSourceMappings")
        assert len(whole["EventSourceMappings"]) == 100
        assert "NextMarker" not in whole

    on_a_platform(main, tmp_path)


async def create(lambda_, params):
    """As dispatch does, which holds requests against the model first."""
    validate("lambda", "CreateEventSourceMapping", params)
    return await lambda_("CreateEventSourceMapping", **params)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"BatchSize": 10}, {"BatchSize": 11}),
        ({"BatchSize": 10_000, "MaximumBatchingWindowInSeconds": 1}, {"BatchSize": 10_001}),
        ({"BatchSize": 1}, {"BatchSize": 0}),
        ({"MaximumBatchingWindowInSeconds": 300}, {"MaximumBatchingWindowInSeconds": 301}),
        ({"MaximumBatchingWindowInSeconds": 0}, {"MaximumBatchingWindowInSeconds": -1}),
        ({"ScalingConfig": {"MaximumConcurrency": 2}}, {"ScalingConfig": {"MaximumConcurrency": 1}}),
        ({"ScalingConfig": {"MaximumConcurrency": 1_000}}, {"ScalingConfig": {"MaximumConcurrency": 1_001}}),
        (
            {"ProvisionedPollerConfig": {"MinimumPollers": 2, "MaximumPollers": 2_000}},
            {"ProvisionedPollerConfig": {"MinimumPollers": 2, "MaximumPollers": 2_001}},
        ),
        (
            {"ProvisionedPollerConfig": {"MinimumPollers": 200, "MaximumPollers": 201}},
            {"ProvisionedPollerConfig": {"MinimumPollers": 201, "MaximumPollers": 201}},
        ),
        ({"FilterCriteria": {"Filters": [FILTER] * 5}}, {"FilterCriteria": {"Filters": [FILTER] * 6}}),
        (
            {"FilterCriteria": {"Filters": [{"Pattern": '{"body": ["%s"]}' % ("x" * 4_082)}]}},
            {"FilterCriteria": {"Filters": [{"Pattern": '{"body": ["%s"]}' % ("x" * 4_083)}]}},
        ),
        ({"EventSourceArn": FIFO, "BatchSize": 10}, {"EventSourceArn": FIFO, "BatchSize": 11}),
        (
            {"Tags": {str(number): "x" for number in range(50)}},
            {"Tags": {str(number): "x" for number in range(51)}},
        ),
    ],
)
def test_at_a_limit_and_past_it(tmp_path, good, bad):
    async def main(lambda_):
        await lambda_.queue("CreateQueue", QueueName="q.fifo", Attributes={"FifoQueue": "true"})
        params = {"EventSourceArn": QUEUE, "FunctionName": "fn"}
        with pytest.raises(ApiError):
            await create(lambda_, params | bad)
        made = await create(lambda_, params | good)
        assert {name: value for name, value in good.items() if name != "Tags"}.items() <= made.items()

    on_a_platform(main, tmp_path)
