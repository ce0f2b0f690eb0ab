"""An S3 service on a database and a folder, called the way dispatch does, on a loop whose time jumps."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.dispatch import Shape
from lambent.observe.log import Log
from lambent.protocol.payload import Payload
from lambent.protocol.validate import validate
from lambent.services.s3.service import S3
from lambent.store.database import Database
from lambent.store.schema import MAIN
from lambent.testing.loop import run

CALLER = Caller(account="123456789012", base_url="http://127.0.0.1:4566", user_id="AIDA", access_key="AKIA")
LARGE = 70_000  # bytes that go into a file


class Client:
    """`await client("PutObject", Bucket="b", Key="k", Body=b"x")`."""

    def __init__(self, service: S3, told: list) -> None:
        self.service = service
        self.clock = service.clock
        self.told = told
        self._operations = service.operations()

    async def __call__(self, operation: str, caller: Caller = CALLER, **params: Any) -> Shape:
        validate("s3", operation, params)
        answer = await self._operations[operation](caller, params)
        return {name: value for name, value in answer.items() if value is not None}

    async def bucket(self, name: str = "bucket", **params: Any) -> str:
        await self("CreateBucket", Bucket=name, **params)
        return name

    async def put(self, key: str, body: bytes = b"body", bucket: str = "bucket", **params: Any) -> Shape:
        return await self("PutObject", Bucket=bucket, Key=key, Body=body, **params)

    async def body(self, key: str, bucket: str = "bucket", **params: Any) -> bytes:
        answer = await self("GetObject", Bucket=bucket, Key=key, **params)
        return await whole(answer["Body"])

    async def keys(self, bucket: str = "bucket", **params: Any) -> list[str]:
        answer = await self("ListObjectsV2", Bucket=bucket, **params)
        return [one["Key"] for one in answer.get("Contents", [])]

    async def part(self, key: str, upload_id: str, number: int, body: bytes, **params: Any) -> Shape:
        """The part as CompleteMultipartUpload wants it."""
        named = {"Bucket": "bucket", "Key": key, "UploadId": upload_id, "PartNumber": number}
        answer = await self("UploadPart", Body=body, **named, **params)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def files(self) -> list[Path]:
        """Bodies that are on disk."""
        return [path for path in self.service.folder.rglob("*") if path.is_file()]

    async def cleaned(self) -> None:
        """Returns when what is garbage was looked for."""
        self.service.contents.has_suspects.set()
        await self.clock.sleep(1)

    @contextmanager
    def refused(self, code: str, message: str | None = None):
        with pytest.raises(ApiError) as raised:
            yield raised
        assert raised.value.code == code, raised.value.message
        if message is not None:
            assert raised.value.message == message


async def whole(body: Any) -> bytes:
    return body if isinstance(body, bytes) else b"".join([block async for block in body])


def streamed(data: bytes, size: int = 10_000, **headers: str) -> Payload:
    """A body that comes in pieces, as the gateway gives it."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)] or [b""]

    async def read() -> tuple[bytes, bool]:
        return pieces.pop(0), bool(pieces)

    return Payload(read, {name.replace("_", "-"): value for name, value in headers.items()})


@asynccontextmanager
async def opened(folder: Path, clock: Clock, answers: Any = None) -> AsyncIterator[Client]:
    told: list = []

    async def call(service: str, operation: str, params: Shape, *, caller: Caller) -> Shape:
        told.append((service, operation, params))
        return (answers or {}).get(operation, lambda _params: {})(params)

    async with Database.open(folder / "main.db", metadata=MAIN, durable=False) as main:
        service = S3(
            database=main,
            folder=folder / "objects",
            durable=False,
            clock=clock,
            log=Log("info", StringIO(), as_json=True),
            call=call,
        )
        await service.load()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(service.run())
            try:
                yield Client(service, told)
            finally:
                running.cancel()


def with_s3(folder: Path, test: Callable[[Client], Awaitable[None]], answers: Any = None) -> None:
    """Runs a test on a service of its own, on a loop whose time jumps."""

    async def main(clock: Clock) -> None:
        async with opened(folder, clock, answers) as client:
            await test(client)

    run(main)
