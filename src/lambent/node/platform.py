"""A platform: the services and the engine on one data folder. Everything is wired here, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from lambent.clock import Clock
from lambent.config import Config, shared_folders
from lambent.dispatch import Call, Dispatch, Handler
from lambent.engine.event_queue import EventQueue
from lambent.engine.invoke import Engine
from lambent.engine.launchers import OpenLauncher
from lambent.engine.metrics import FunctionMetrics
from lambent.engine.runtimes import Runtimes
from lambent.engine.settings import Settings
from lambent.engine.variables import Place
from lambent.node.start import StartRefused, is_loopback
from lambent.observe.log import Log
from lambent.observe.supervise import supervise
from lambent.protocol.validate import validate
from lambent.services.cloudwatch.service import CloudWatch
from lambent.services.iam.service import Iam
from lambent.services.lambda_.identities import Identities
from lambent.services.lambda_.service import Lambda
from lambent.services.logs.service import Logs
from lambent.services.s3.service import S3
from lambent.services.sns.service import Sns
from lambent.services.sqs.service import Sqs
from lambent.services.sts.service import Sts
from lambent.store.database import Database
from lambent.store.folder import DataFolder
from lambent.store.migrate import SchemaError, prepare, revision_folders
from lambent.store.schema import BULK, MAIN

_SERVICES: Final[dict[str, Any]] = {
    "cloudwatch": CloudWatch,
    "iam": Iam,
    "lambda": Lambda,
    "logs": Logs,
    "s3": S3,
    "sns": Sns,
    "sqs": Sqs,
    "sts": Sts,
}

_Workers = dict[str, Callable[[], Awaitable[None]]]

_CREDENTIALS_S: Final = 43_200  # twice as long as an environment lives


def operations_there() -> dict[str, list[str]]:
    """The operations of each service that a node answers, by botocore's name of the service. Starts nothing."""
    # The tables bind their service without looking at it, so one that was never opened will do.
    return {name: sorted(kind.operations(object.__new__(kind))) for name, kind in _SERVICES.items()}


@dataclass(slots=True, kw_only=True, eq=False)
class Platform:
    """The services on one data folder, and how to end them."""

    dispatch: Dispatch
    sts: Sts
    functions: Lambda
    queues: Sqs
    topics: Sns
    engine: Engine
    stop: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a platform stands on: the node's own."""

    config: Config
    clock: Clock
    log: Log
    runtimes: Runtimes
    open_launcher: OpenLauncher
    place: Place
    has_walls: bool


@asynccontextmanager
async def open_platform(ground: Ground, folder: DataFolder) -> AsyncIterator[Platform]:
    """The platform on this folder, at work until the block is left.

    Raises:
        StartRefused: the folder's schema cannot be used.
    """
    durable = not ground.config.ephemeral
    tables: dict[str, Mapping[str, Handler]] = {}
    dispatch = Dispatch(operations=tables, validate=validate)
    await asyncio.to_thread(_prepare, folder)
    async with AsyncExitStack() as stack:
        main = await stack.enter_async_context(Database.open(folder.main_db, metadata=MAIN, durable=durable))
        bulk = await stack.enter_async_context(Database.open(folder.bulk_db, metadata=BULK, durable=False))
        logs = Logs(main=main, bulk=bulk, clock=ground.clock, log=ground.log)
        cloudwatch = CloudWatch(bulk=bulk, clock=ground.clock, log=ground.log)
        iam = Iam(database=main, clock=ground.clock)
        sts = Sts(secret=folder.secret, clock=ground.clock, call=dispatch.call)
        sqs = _queues(ground, main, cloudwatch)
        sns = _topics(ground, main, cloudwatch, folder, dispatch)
        s3 = _buckets(ground, main, folder, dispatch.call)
        metrics = FunctionMetrics(cloudwatch.record)
        engine = _engine(ground, folder.path / "packages.jsonl", logs, sts, metrics)
        events = EventQueue(
            database=main,
            clock=ground.clock,
            log=ground.log,
            metrics=metrics,
            stop_grace_s=ground.config.stop_grace_s,
        )
        functions = Lambda(
            database=main,
            folder=folder.path / "functions",
            engine=engine,
            event_queue=events,
            find_runtime=ground.runtimes.find,
            call=dispatch.call,
            metrics=metrics,
            clock=ground.clock,
            config=ground.config,
            secret=folder.secret,
            log=ground.log,
            identities=Identities(issued=sts.identity, secret_key=sts.secret_key, permissions=iam.permissions),
        )
        stack.callback(s3.contents.close)
        for service in (sqs, sns, s3, functions):
            await service.load()
        tables |= {
            "cloudwatch": cloudwatch.operations(),
            "iam": iam.operations(),
            "lambda": functions.operations(),
            "logs": logs.operations(),
            "s3": s3.operations(),
            "sns": sns.operations(),
            "sqs": sqs.operations(),
            "sts": sts.operations(),
        }
        # Stopped in the opposite order: what the engine's last invocations say is still written.
        stack.push_async_callback(logs.flush)
        stack.push_async_callback(cloudwatch.flush)
        await stack.enter_async_context(_running("logs", partial(supervise, "logs", logs.run, ground.log)))
        watch = partial(supervise, "cloudwatch", cloudwatch.run, ground.log)
        await stack.enter_async_context(_running("cloudwatch", watch))
        await stack.enter_async_context(_running("sqs", sqs.run))
        await stack.enter_async_context(_running("engine", engine.run))
        await engine.ready.wait()
        serve_events = partial(events.run, functions.asynchronous)
        workers: _Workers = {"event_queue": serve_events, "lambda": functions.run, "sns": sns.run, "s3": s3.run}
        for name, run in workers.items():
            await stack.enter_async_context(_running(name, partial(supervise, name, run, ground.log)))
        yield Platform(dispatch=dispatch, sts=sts, functions=functions, queues=sqs, topics=sns, engine=engine)


def _queues(ground: Ground, main: Database, cloudwatch: CloudWatch) -> Sqs:
    return Sqs(
        database=main,
        clock=ground.clock,
        log=ground.log,
        record=cloudwatch.record,
        name_kept_s=ground.config.queue_name_kept_s,
    )


def _topics(ground: Ground, main: Database, cloudwatch: CloudWatch, folder: DataFolder, dispatch: Dispatch) -> Sns:
    return Sns(
        database=main,
        folder=folder.path / "sns",
        call=dispatch.call,
        clock=ground.clock,
        log=ground.log,
        endpoint=ground.place.endpoint_url,
        record=cloudwatch.record,
        has_private_endpoints=_has_private_endpoints(ground.config),
    )


def _has_private_endpoints(config: Config) -> bool:
    if config.private_endpoints != "auto":
        return config.private_endpoints == "yes"
    return is_loopback(config.host)


def _buckets(ground: Ground, main: Database, folder: DataFolder, call: Call) -> S3:
    return S3(
        database=main,
        folder=folder.path / "objects",
        durable=not ground.config.ephemeral,
        clock=ground.clock,
        log=ground.log,
        call=call,
    )


def _engine(ground: Ground, memory: Path, logs: Logs, sts: Sts, metrics: FunctionMetrics) -> Engine:
    async def credentials(role: str, session: str) -> dict[str, str]:
        issued = sts.role_credentials(role, session, _CREDENTIALS_S)
        return {
            "AWS_ACCESS_KEY_ID": issued.access_key_id,
            "AWS_SECRET_ACCESS_KEY": str(issued.secret_access_key),
            "AWS_SESSION_TOKEN": str(issued.session_token),
        }

    settings = Settings(
        concurrent_executions=ground.config.concurrent_executions,
        idle_environment_s=ground.config.idle_environment_s,
        stop_grace_s=ground.config.stop_grace_s,
        place=ground.place,
        file_systems=shared_folders(ground.config),
        has_walls=ground.has_walls,
        package_zygotes=ground.config.package_zygotes,
        package_memory=memory,
    )
    return Engine(
        open_launcher=ground.open_launcher,
        append_log=logs.sink.append,
        credentials=credentials,
        runtimes=ground.runtimes,
        clock=ground.clock,
        log=ground.log,
        metrics=metrics,
        settings=settings,
    )


@asynccontextmanager
async def _running(name: str, run: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Runs it for as long as the block lasts; its failure ends the block."""

    async def child() -> None:
        await run()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(child(), name=name)
        try:
            yield
        finally:
            task.cancel()


def _prepare(folder: DataFolder) -> None:
    try:
        prepare(folder.main_db, MAIN, revision_folders("main"))
        prepare(folder.bulk_db, BULK, revision_folders("bulk"))
    except SchemaError as error:
        raise StartRefused(str(error)) from error
