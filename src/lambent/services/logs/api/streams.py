"""Log streams: made, listed, removed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.logs import model, rows, tokens
from lambent.services.logs.api import groups
from lambent.services.logs.model import Group, Stats, Stream

if TYPE_CHECKING:
    from lambent.services.logs.service import Logs

_PAGE = 50


async def create_log_stream(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """CreateLogStream."""
    name = params["logStreamName"]

    def change(tx: Connection) -> None:
        group = groups.find(tx, caller.scope, params["logGroupName"])
        if rows.stream(tx, group.id, name):
            raise ApiError("ResourceAlreadyExistsException", "The specified log stream already exists")
        rows.insert_stream(tx, group.id, name, service.clock.now_ms())

    await service.main.write(change)
    return {}


async def delete_log_stream(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """DeleteLogStream: its events are out of sight at once and removed by the worker."""
    group_name, name = params["logGroupName"], params["logStreamName"]

    def change(tx: Connection) -> None:
        group, stream = find(tx, caller, group_name, name)
        rows.delete_stream(tx, group.id, stream.id, service.clock.now_ms())

    await service.main.write(change, committed=lambda _: service.sink.forget(caller.scope, group_name, name))
    return {}


def find(tx: Connection, caller: Caller, group_name: str, name: str) -> tuple[Group, Stream]:
    """The group and the stream in it.

    Raises:
        ApiError: ResourceNotFoundException, for either.
    """
    group = groups.find(tx, caller.scope, group_name)
    stream = rows.stream(tx, group.id, name)
    if stream is None:
        raise model.no_stream()
    return group, stream


@dataclass(frozen=True, slots=True)
class _Listing:
    """What a DescribeLogStreams call asks for."""

    prefix: str
    after: str | None
    descending: bool
    limit: int


async def describe_log_streams(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """DescribeLogStreams: in the order of their names, or of their last events."""
    group_name = groups.named(params, caller.scope)
    by_time = params.get("orderBy") == "LastEventTime"
    prefix = params.get("logStreamNamePrefix", "")
    if by_time and prefix:
        raise ApiError("InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix.")
    descending = params.get("descending", False)
    subject = "\n".join((*caller.scope, group_name, prefix, str(by_time), str(descending)))
    after = tokens.read_list_token(params["nextToken"], subject) if "nextToken" in params else None
    listing = _Listing(prefix, after, descending, params.get("limit", _PAGE))
    await service.sink.flush()
    group = await service.main.read(lambda tx: groups.find(tx, caller.scope, group_name))
    stats = await service.bulk.read(lambda tx: rows.stats(tx, group.id))
    found = await (_by_time(service, group, stats, listing) if by_time else _by_name(service, group, listing))
    shown = found[: listing.limit]
    arn = group.arn(caller.scope)
    answer: Shape = {"logStreams": [model.stream_shape(stream, stats.get(stream.id), arn) for stream in shown]}
    if len(found) > listing.limit:
        last = shown[-1]
        answer["nextToken"] = tokens.list_token(_time_key(last, stats) if by_time else last.name, subject)
    return answer


async def _by_name(service: "Logs", group: Group, listing: _Listing) -> list[Stream]:
    return await service.main.read(
        lambda tx: rows.streams_by_name(
            tx,
            group.id,
            prefix=listing.prefix,
            after=listing.after,
            descending=listing.descending,
            limit=listing.limit + 1,
        )
    )


async def _by_time(service: "Logs", group: Group, stats: dict[int, Stats], listing: _Listing) -> list[Stream]:
    """Streams without events come before (descending: behind) all others."""
    everyone = await service.main.read(lambda tx: rows.streams(tx, group.id))
    keyed = sorted(((_time_key(stream, stats), stream) for stream in everyone), key=lambda pair: pair[0])
    if listing.descending:
        keyed.reverse()
    after = listing.after
    if after is not None:
        keyed = [pair for pair in keyed if (pair[0] < after if listing.descending else pair[0] > after)]
    return [stream for _, stream in keyed[: listing.limit + 1]]


def _time_key(stream: Stream, stats: dict[int, Stats]) -> str:
    """Orders streams by their last event, then by name."""
    last = stats[stream.id].last_timestamp if stream.id in stats else 0
    return f"{last:020d}{stream.name}"
