"""All SQL of CloudWatch: which metrics there are, and their data points. All of it is in the bulk database.

A value is in one point only: minutes become five minutes, and those hours, in the transaction that removes them.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    delete,
    insert,
    select,
    text,
    tuple_,
    update,
)

from lambent.aws.caller import Scope
from lambent.services.cloudwatch.distribution import Buckets, Distribution
from lambent.services.cloudwatch.model import Kept, Point, Series, dimensions_text
from lambent.store.schema import BULK

_ID: Final = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER keys only
_FETCH: Final = 500

METRICS: Final = Table(
    "cloudwatch_metrics",
    BULK,
    Column("id", _ID, primary_key=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("namespace", String, nullable=False),
    Column("name", String, nullable=False),
    Column("dimensions", Text, nullable=False),  # as model.dimensions_text writes them
    Column("last_at", BigInteger, nullable=False),  # of its latest point, in seconds since the epoch
    UniqueConstraint("account", "region", "namespace", "name", "dimensions"),
    Index("cloudwatch_metrics_by_age", "last_at"),
    sqlite_autoincrement=True,
)
POINTS: Final = Table(
    "cloudwatch_points",
    BULK,
    Column("metric_id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("period", Integer, primary_key=True, autoincrement=False),
    Column("unit", String, primary_key=True),
    Column("count", Double, nullable=False),
    Column("total", Double, nullable=False),
    Column("minimum", Double, nullable=False),
    Column("maximum", Double, nullable=False),
    Column("buckets", LargeBinary),
    Index("cloudwatch_points_by_age", "period", "at"),
)

_KEY: Final = ("metric_id", "at", "period", "unit")
_SEEN_TEXT: Final = (
    "INSERT INTO cloudwatch_metrics (account, region, namespace, name, dimensions, last_at) "
    "VALUES (:account, :region, :namespace, :name, :dimensions, :last_at) "
    "ON CONFLICT (account, region, namespace, name, dimensions) DO UPDATE SET "
    "last_at = {greatest}(cloudwatch_metrics.last_at, excluded.last_at) RETURNING id"
)
_SEEN: Final = {
    "sqlite": text(_SEEN_TEXT.format(greatest="max")),
    "postgresql": text(_SEEN_TEXT.format(greatest="greatest")),
}
_OF_KEY: Final = [POINTS.c[name] == bindparam(f"key_{name}") for name in _KEY]
_GET: Final = select(POINTS).where(*_OF_KEY)
_INSERT: Final = insert(POINTS)
_VALUES: Final = ("count", "total", "minimum", "maximum", "buckets")
_UPDATE: Final = update(POINTS).where(*_OF_KEY).values({name: bindparam(f"new_{name}") for name in _VALUES})
_DELETE: Final = delete(POINTS).where(*_OF_KEY)


def add_points(tx: Connection, points: Sequence[tuple[Series, Point]]) -> None:
    """Adds values to the points of series, which are made where there are none."""
    ids: dict[Series, int] = {}
    latest: dict[Series, int] = {}
    for series, point in points:
        latest[series] = max(latest.get(series, point.at), point.at)
    for series, last_at in latest.items():
        ids[series] = int(tx.execute(_SEEN[tx.dialect.name], _identity(series) | {"last_at": last_at}).scalar_one())
    for series, point in points:
        _add(tx, ids[series], point)


def series_id(tx: Connection, series: Series) -> int | None:
    """The id of a series that has data."""
    where = [METRICS.c[name] == value for name, value in _identity(series).items()]
    found: int | None = tx.execute(select(METRICS.c.id).where(*where)).scalar()
    return found


def points(tx: Connection, series: Series, start: int, end: int) -> list[Point]:
    """The points of a series that begin at `start` or later and before `end`, in order of time."""
    found = series_id(tx, series)
    if found is None:
        return []
    at = POINTS.c.at
    query = select(POINTS).where(POINTS.c.metric_id == found, at >= start, at < end).order_by(at)
    return [_point(row) for row in tx.execute(query)]


def metrics(
    tx: Connection, scope: Scope, *, namespace: str | None, name: str | None, after: tuple[str, str, str], since: int
) -> Iterator[Series]:
    """Series with data at `since` or later, in the order of namespace, name and dimensions, those behind `after`."""
    columns = METRICS.c
    query = select(METRICS).where(columns.account == scope.account, columns.region == scope.region)
    order = (columns.namespace, columns.name, columns.dimensions)
    query = query.where(tuple_(*order) > tuple_(*after), columns.last_at >= since).order_by(*order)
    if namespace is not None:
        query = query.where(columns.namespace == namespace)
    if name is not None:
        query = query.where(columns.name == name)
    with tx.execute(query, execution_options={"yield_per": _FETCH}) as result:
        for row in result:
            dimensions = msgspec.json.decode(row.dimensions, type=tuple[tuple[str, str], ...])
            yield Series(scope, row.namespace, row.name, dimensions)


# --- ageing, in batches so that the writer is free in between


def roll_up(tx: Connection, period: int, into: Kept, before: int, limit: int) -> int:
    """Moves the values of at most `limit` points of that period and age into longer periods; how many points."""
    old = _oldest(tx, period, before, limit)
    for row in old:
        point = _point(row)
        tx.execute(_DELETE, _key(row.metric_id, point))
        _add(tx, row.metric_id, Point(point.at - point.at % into, into, point.unit, point.values))
    return len(old)


def remove_points(tx: Connection, period: int, before: int, limit: int) -> int:
    """Removes at most `limit` points of that period and age; how many."""
    old = _oldest(tx, period, before, limit)
    for row in old:
        tx.execute(_DELETE, _key(row.metric_id, _point(row)))
    return len(old)


def remove_metrics(tx: Connection, before: int) -> None:
    """Forgets series whose last data is older: their points are gone already."""
    tx.execute(delete(METRICS).where(METRICS.c.last_at < before))


def _oldest(tx: Connection, period: int, before: int, limit: int) -> Sequence[Row[Any]]:
    query = select(POINTS).where(POINTS.c.period == period, POINTS.c.at < before)
    return tx.execute(query.order_by(POINTS.c.at).limit(limit)).all()


# --- points as rows


def _add(tx: Connection, metric_id: int, point: Point) -> None:
    key = _key(metric_id, point)
    there = tx.execute(_GET, key).first()
    if there is None:
        tx.execute(_INSERT, {name: key[f"key_{name}"] for name in _KEY} | _columns(point.values))
        return
    values = Distribution.merged([_point(there).values, point.values])
    tx.execute(_UPDATE, key | {f"new_{name}": value for name, value in _columns(values).items()})


def _identity(series: Series) -> dict[str, str]:
    return {
        "account": series.scope.account,
        "region": series.scope.region,
        "namespace": series.namespace,
        "name": series.name,
        "dimensions": dimensions_text(series.dimensions),
    }


def _key(metric_id: int, point: Point) -> dict[str, Any]:
    return {"key_metric_id": metric_id, "key_at": point.at, "key_period": point.period, "key_unit": point.unit}


def _columns(values: Distribution) -> dict[str, Any]:
    return {
        "count": values.count,
        "total": values.total,
        "minimum": values.minimum,
        "maximum": values.maximum,
        "buckets": None if values.buckets is None else msgspec.msgpack.encode(values.buckets),
    }


def _point(row: Row[Any]) -> Point:
    buckets: Buckets | None = None
    if row.buckets is not None:
        buckets = msgspec.msgpack.decode(row.buckets, type=dict[int, tuple[float, float]])
    count = row._mapping["count"]  # the attribute is a tuple's method
    values = Distribution(count, row.total, row.minimum, row.maximum, buckets)
    return Point(row.at, row.period, row.unit, values)
