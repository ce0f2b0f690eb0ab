"""Log events: put, read, searched."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.logs import filter_patterns, model, rows, tokens
from lambent.services.logs.api import groups, streams
from lambent.services.logs.model import EVENT_OVERHEAD_BYTES, Event, Group, Page
from lambent.services.logs.rows import NewEvent, Range

if TYPE_CHECKING:
    from lambent.services.logs.service import Logs

# More ids than this are sorted out while reading instead of in SQL, whose number of parameters has a limit.
_MAX_STREAMS_IN_SQL: Final = 200


async def put_log_events(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """PutLogEvents. Sequence tokens are given and ignored, as AWS does."""
    group, stream = await service.main.read(
        lambda tx: streams.find(tx, caller, params["logGroupName"], params["logStreamName"])
    )
    now_ms = service.clock.now_ms()
    events = [(event["timestamp"], _storable(event["message"])) for event in params["logEvents"]]
    accepted = model.accept(events, now_ms=now_ms, group=group)
    batch: list[NewEvent] = [
        (group.id, stream.id, timestamp, now_ms, model.message_bytes(message) + EVENT_OVERHEAD_BYTES, message)
        for timestamp, message in events[accepted.start : accepted.end]
    ]
    if batch:
        await service.bulk.write(lambda tx: rows.insert_events(tx, batch))
    answer: Shape = {"nextSequenceToken": model.sequence_token(now_ms)}
    if accepted.rejected:
        answer["rejectedLogEventsInfo"] = accepted.rejected
    return answer


def _storable(message: str) -> str:
    """The message without halves of surrogate pairs, which JSON can say and no database keeps."""
    return message if message.isascii() else message.encode("utf-8", "replace").decode()


async def get_log_events(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """GetLogEvents: oldest first within a page, whichever direction the pages go.

    At either end the same token comes back; the forward one shows events that arrive later.
    """
    name = groups.named(params, caller.scope)
    await service.sink.flush()
    group, stream = await service.main.read(lambda tx: streams.find(tx, caller, name, params["logStreamName"]))
    subject = f"stream {stream.id}"
    token = params.get("nextToken")
    direction: tokens.Direction = "f" if params.get("startFromHead", False) else "b"
    at = None
    if token is not None:
        direction, at = tokens.read_event_token(token, subject)
    end = params.get("endTime")
    wanted = Range(
        group_id=group.id,
        stream_ids=[stream.id],
        start=max(params.get("startTime", 0), group.oldest(service.clock.now_ms())),
        end=None if end is None else end - 1,
        descending=direction == "b",
        beyond=at,
    )
    limit = params.get("limit", model.MAX_PAGE_EVENTS)
    page = await service.bulk.read(
        lambda tx: model.take_page(rows.events(tx, wanted), limit=limit, max_scanned=model.MAX_PAGE_EVENTS)
    )
    shown = page.events[::-1] if direction == "b" else page.events
    first, last = _edges(shown, direction, at)
    return {
        "events": [
            {"timestamp": event.timestamp, "ingestionTime": event.ingested_at, "message": event.message}
            for event in shown
        ],
        "nextForwardToken": tokens.event_token("f", last, subject),
        "nextBackwardToken": tokens.event_token("b", first, subject),
    }


def _edges(shown: Sequence[Event], direction: tokens.Direction, at: int | None) -> tuple[int, int]:
    """The positions before which, and behind which, the next pages lie."""
    if shown:
        return shown[0].position, shown[-1].position
    if at is None:
        return 0, 0
    # Nothing beyond: this direction's token stays what it is, the other leads back over the event it named.
    return (at + 1, at) if direction == "f" else (at, at - 1)


@dataclass(frozen=True, slots=True)
class _Selection:
    """Which streams of which group are searched."""

    group: Group
    stream_ids: frozenset[int] | None


async def filter_log_events(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """FilterLogEvents: all streams interleaved by time. A page may be empty and yet not the last."""
    name = groups.named(params, caller.scope)
    if params.get("logStreamNames") and "logStreamNamePrefix" in params:
        raise ApiError(
            "InvalidParameterException", "Only one of logStreamNames and logStreamNamePrefix may be specified."
        )
    pattern = filter_patterns.parse(params["filterPattern"]) if params.get("filterPattern", "").strip() else None
    await service.sink.flush()
    selection = await service.main.read(lambda tx: _select(tx, caller, name, params))
    subject = f"group {selection.group.id}"
    direction: tokens.Direction = "f" if params.get("startFromHead", True) else "b"
    at = None
    if "nextToken" in params:
        direction, at = tokens.read_event_token(params["nextToken"], subject)
    ids = selection.stream_ids
    in_sql = ids is not None and len(ids) <= _MAX_STREAMS_IN_SQL
    wanted = Range(
        group_id=selection.group.id,
        stream_ids=sorted(ids) if ids is not None and in_sql else None,
        start=max(params.get("startTime", 0), selection.group.oldest(service.clock.now_ms())),
        end=params.get("endTime"),
        descending=direction == "b",
        beyond=at,
    )
    limit = params.get("limit", model.MAX_PAGE_EVENTS)

    def search(tx: Connection) -> Page:
        found = rows.events(tx, wanted)
        if ids is not None and not in_sql:
            found = (event for event in found if event.stream_id in ids)
        matches = pattern.matches if pattern else None
        return model.take_page(found, limit=limit, matches=matches, max_scanned=model.MAX_SCANNED_EVENTS)

    page = await service.bulk.read(search)
    answer: Shape = {"events": await _shown(service, page), "searchedLogStreams": []}
    if page.stopped_at is not None:
        answer["nextToken"] = tokens.event_token(direction, page.stopped_at, subject)
    return answer


def _select(tx: Connection, caller: Caller, name: str, params: Shape) -> _Selection:
    group = groups.find(tx, caller.scope, name)
    if params.get("logStreamNames"):
        return _Selection(
            group, frozenset(streams.find(tx, caller, name, each)[1].id for each in params["logStreamNames"])
        )
    if "logStreamNamePrefix" in params:
        found = rows.streams(tx, group.id, prefix=params["logStreamNamePrefix"])
        return _Selection(group, frozenset(stream.id for stream in found))
    return _Selection(group, None)


async def _shown(service: "Logs", page: Page) -> list[Shape]:
    """The page's events with their streams' names, without those of streams that were deleted."""
    if not page.events:
        return []
    ids = sorted({event.stream_id for event in page.events})
    names = await service.main.read(lambda tx: rows.stream_names(tx, ids))
    return [
        {
            "logStreamName": names[event.stream_id],
            "timestamp": event.timestamp,
            "message": event.message,
            "ingestionTime": event.ingested_at,
            "eventId": f"{event.position:056d}",
        }
        for event in page.events
        if event.stream_id in names
    ]


async def test_metric_filter(service: "Logs", caller: Caller, params: Shape) -> Shape:
    """TestMetricFilter: which of the given messages a pattern matches."""
    pattern = filter_patterns.parse(params["filterPattern"])
    return {
        "matches": [
            {"eventNumber": number, "eventMessage": message, "extractedValues": pattern.extract(message)}
            for number, message in enumerate(params["logEventMessages"], 1)
            if pattern.matches(message)
        ]
    }
