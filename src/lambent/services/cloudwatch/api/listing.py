"""ListMetrics."""

from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import Connection

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.dispatch import Shape
from lambent.services.cloudwatch import paging, rows
from lambent.services.cloudwatch.model import LISTED_S, RECENT_S, Series, dimensions_text

if TYPE_CHECKING:
    from lambent.services.cloudwatch.service import CloudWatch

_PAGE: Final = 500
_START: Final = ("", "", "")
_Position = tuple[str, str, str]


async def list_metrics(service: "CloudWatch", caller: Caller, params: Shape) -> Shape:
    """ListMetrics: what had data in the last two weeks, or three hours."""
    if params.get("OwningAccount", caller.account) != caller.account:
        raise ApiError("NotImplemented", "ListMetrics: OwningAccount other than one's own is not supported by Lambent.")
    await service.recorder.flush()
    subject = msgspec.json.encode([caller.scope, {**params, "NextToken": None}]).decode()
    after = _after(params["NextToken"], subject) if "NextToken" in params else _START
    since = int(service.clock.now()) - (RECENT_S if "RecentlyActive" in params else LISTED_S)

    def page(tx: Connection) -> list[Series]:
        namespace, name = params.get("Namespace"), params.get("MetricName")
        found: list[Series] = []
        for series in rows.metrics(tx, caller.scope, namespace=namespace, name=name, after=after, since=since):
            if _has(series, params.get("Dimensions", [])):
                found.append(series)
            if len(found) > _PAGE:
                break
        return found

    found = await service.bulk.read(page)
    shown = found[:_PAGE]
    answer: Shape = {"Metrics": [series.to_shape() for series in shown]}
    if len(found) > _PAGE:
        last = shown[-1]
        position: _Position = (last.namespace, last.name, dimensions_text(last.dimensions))
        answer["NextToken"] = paging.token(msgspec.json.encode(position).decode(), subject)
    if params.get("IncludeLinkedAccounts"):
        answer["OwningAccounts"] = [caller.account] * len(shown)
    return answer


def _has(series: Series, filters: list[Shape]) -> bool:
    """Whether the series has each of the dimensions, with the value where one is given."""
    values = dict(series.dimensions)
    return all(
        each["Name"] in values and each.get("Value", values[each["Name"]]) == values[each["Name"]] for each in filters
    )


def _after(token: str, subject: str) -> _Position:
    position = paging.position(token, subject)
    if position is None:
        raise ApiError("InvalidParameterValue", "The value for parameter NextToken is invalid.")
    found: _Position = msgspec.json.decode(position, type=_Position)
    return found
