"""The Lambda service on a real store, with an engine that answers at once and keeps what it was told."""

import asyncio
import io
import zipfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import proof
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.config import Config
from lambent.engine.interpreters import NoInterpreterError
from lambent.engine.metrics import FunctionMetrics
from lambent.engine.runtimes import Runtime, Stem
from lambent.engine.spec import InvocationResult
from lambent.observe.log import Log
from lambent.services.lambda_.identities import Identities
from lambent.services.lambda_.service import Lambda
from lambent.services.sqs.service import Sqs
from lambent.store.database import Database
from lambent.store.schema import MAIN

ACCOUNT = "123456789012"
REGION = "eu-west-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/lambda"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:fn"
CALLER = Caller(account=ACCOUNT, region=REGION, base_url="http://127.0.0.1:4566", request_id="the-request")


def make_zip(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (files or {"app": "def handler(event, context): return 1"}).items():
            archive.writestr(zipfile.ZipInfo(f"{name}.py", (2026, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


ZIP = make_zip()
OTHER_ZIP = make_zip(app="def handler(event, context): return 2")


@dataclass
class KeptEngine:
    """Answers each invocation with `result`, at once."""

    result: InvocationResult = field(default_factory=lambda: InvocationResult(payload=b'"done"'))
    refusal: ApiError | None = None  # what keeps a streamed invocation from starting
    invoked: list = field(default_factory=list)
    retired: list = field(default_factory=list)
    snapshots: list = field(default_factory=list)
    allotments: dict = field(default_factory=dict)
    plans: dict = field(default_factory=dict)
    progresses: dict = field(default_factory=dict)

    async def invoke(self, spec, invocation):
        assert (spec.code_dir / "app.py").exists()
        self.invoked.append((spec, invocation))
        return self.result

    def start(self, spec, invocation):
        self.invoked.append((spec, invocation))
        stream, result = invocation.stream, asyncio.get_running_loop().create_future()
        if self.refusal is not None:
            result.set_exception(self.refusal)
        else:
            if self.result.function_error is None:
                stream.begin("application/json")
                stream.write(self.result.payload)
            result.set_result(self.result)
        stream.end()
        return result

    async def expect(self, spec):
        pass

    async def take_snapshot(self, spec):
        self.snapshots.append(spec)

    async def retire(self, arn, *, keep_digests=frozenset()):
        self.retired.append((arn, keep_digests))

    def allot(self, scope, arn, allotment):
        self.allotments[arn] = allotment

    def provision(self, arn, plans):
        self.plans[arn] = list(plans)

    def progress(self, key):
        return self.progresses.get(key)


@dataclass
class KeptEvents:
    kept: list = field(default_factory=list)

    async def put(self, scope, function_arn, qualifier, payload, *, request_id, trace_header=None):
        self.kept.append((scope, function_arn, qualifier, payload, request_id))


async def has_python(runtime):
    if runtime == "python3.10":
        raise NoInterpreterError("No interpreter for python3.10 on this machine.")
    return Runtime(Stem(Path("/usr/bin/python3")))


@dataclass
class Platform:
    """`await platform("CreateFunction", ...)` calls an operation."""

    service: Lambda
    engine: KeptEngine
    events: KeptEvents
    clock: object
    calls: list
    recorded: list
    sqs: Sqs | None = None

    async def __call__(self, operation, *, caller=CALLER, **params):
        with proof.calling("lambda", operation):
            return await self.service.operations()[operation](caller, params)

    async def refused(self, operation, *, caller=CALLER, **params):
        with pytest.raises(ApiError) as raised:
            await self(operation, caller=caller, **params)
        return raised.value.code, raised.value.message

    async def queue(self, operation, *, caller=CALLER, **params):
        """An operation of SQS, on a platform with queues."""
        return await self.sqs.operations()[operation](caller, params)

    async def create(self, name="fn", *, wait=True, **params):
        members = {"Runtime": "python3.13", "Handler": "app.handler", "Role": ROLE, "Code": {"ZipFile": ZIP}} | params
        answer = await self("CreateFunction", FunctionName=name, **members)
        if wait:
            await self.settled(name)
        return answer

    async def settled(self, name="fn", qualifier="$LATEST"):
        async with asyncio.timeout(600):
            while True:
                answer = await self("GetFunctionConfiguration", FunctionName=name, Qualifier=qualifier)
                if answer["State"] != "Pending" and answer.get("LastUpdateStatus") != "InProgress":
                    return answer
                await asyncio.sleep(0.01)

    async def update(self, name="fn", **params):
        await self("UpdateFunctionConfiguration", FunctionName=name, **params)
        return await self.settled(name)


@asynccontextmanager
async def platform(folder, clock, *, runs=True, queues=False, identities=None, **settings):
    """The service alone, or with `queues` beside a real SQS."""
    engine, events = KeptEngine(), KeptEvents()
    calls, recorded = [], []

    async def call(service, operation, params, *, caller):
        calls.append((service, operation, params, caller))
        if service == "lambda":
            return await platform.service.operations()[operation](caller, params)
        if service == "sqs" and platform.sqs is not None:
            return await platform.sqs.operations()[operation](caller, params)
        raise ApiError("NotImplemented", f"{service}.{operation} is not supported by Lambent yet.")

    def record(scope, metric):
        recorded.extend((one.name, one.value, dict(its)) for one in metric.apart() for its in one.dimensions)

    async with Database.open(folder / "main.db", metadata=MAIN, durable=False) as database:
        service = Lambda(
            database=database,
            folder=folder / "lambda",
            engine=engine,
            event_queue=events,
            find_runtime=has_python,
            call=call,
            metrics=FunctionMetrics(record),
            clock=clock,
            config=Config(**settings),
            secret=b"s" * 32,
            log=Log("off"),
            identities=identities or Identities(),
        )
        sqs = Sqs(database=database, clock=clock, log=Log("off")) if queues else None
        platform = Platform(service, engine, events, clock, calls, recorded, sqs)
        await service.load()
        if sqs:
            await sqs.load()
        async with asyncio.TaskGroup() as tasks:
            workers = [tasks.create_task(sqs.run())] if sqs else []
            workers += [tasks.create_task(service.run())] if runs else []
            yield platform
            for worker in reversed(workers):
                worker.cancel()
                await asyncio.wait([worker])
