"""CloudWatch Logs: groups, streams and events, for callers and for the engine."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from lambent.aws.caller import Scope
from lambent.clock import Clock
from lambent.dispatch import Handler
from lambent.observe.log import Log
from lambent.services.logs import worker
from lambent.services.logs.api import events, groups, streams, tags
from lambent.services.logs.sink import Sink
from lambent.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """The service. Its `run` must be awaited by whoever made it; without it, reads write what was appended."""

    main: Database
    """Groups and streams."""
    bulk: Database
    """Events."""
    clock: Clock
    log: Log
    sink: Sink = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sink", Sink(self.main, self.bulk, self.clock, self.log))

    def operations(self) -> dict[str, Handler]:
        handlers = {
            "CreateLogGroup": groups.create_log_group,
            "CreateLogStream": streams.create_log_stream,
            "DeleteLogGroup": groups.delete_log_group,
            "DeleteLogStream": streams.delete_log_stream,
            "DeleteRetentionPolicy": groups.delete_retention_policy,
            "DescribeLogGroups": groups.describe_log_groups,
            "DescribeLogStreams": streams.describe_log_streams,
            "FilterLogEvents": events.filter_log_events,
            "GetLogEvents": events.get_log_events,
            "ListTagsForResource": tags.list_tags_for_resource,
            "ListTagsLogGroup": tags.list_tags_log_group,
            "PutLogEvents": events.put_log_events,
            "PutLogGroupDeletionProtection": groups.put_log_group_deletion_protection,
            "PutRetentionPolicy": groups.put_retention_policy,
            "TagLogGroup": tags.tag_log_group,
            "TagResource": tags.tag_resource,
            "TestMetricFilter": events.test_metric_filter,
            "UntagLogGroup": tags.untag_log_group,
            "UntagResource": tags.untag_resource,
        }
        return {name: partial(handler, self) for name, handler in handlers.items()}

    def append(self, scope: Scope, group: str, stream: str, events: Sequence[tuple[int, str]]) -> None:
        """Takes (timestamp in ms, message) pairs for a stream, which is made if need be. Never waits; stored within
        100 ms, and seen by every read that begins afterwards. The sequence must not change any more.
        """
        self.sink.append(scope, group, stream, events)

    async def flush(self) -> None:
        """Returns when all that was appended is stored: to be awaited after the engine stopped."""
        await self.sink.flush()

    async def run(self) -> None:
        """Write what is appended and remove what expired, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.sink.run(), name="logs.sink")
            tasks.create_task(worker.run(self.main, self.bulk, self.clock), name="logs.worker")
