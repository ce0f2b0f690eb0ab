"""Removes files that nothing names any more: of deleted objects, of uploads that were never acknowledged."""

import asyncio
from typing import TYPE_CHECKING, Final

from lambent.services.s3 import rows

if TYPE_CHECKING:
    from lambent.services.s3.service import S3

_SOME: Final = 500  # names in one query


async def run(service: "S3") -> None:
    """Look through all files once, then remove what becomes garbage, until cancelled."""
    await sweep(service)
    while True:
        await service.contents.has_suspects.wait()
        service.contents.has_suspects.clear()
        await remove_garbage(service)


async def sweep(service: "S3") -> None:
    """Finds what a killed node left: files without a row, rows without a mention."""
    folders = service.contents.files()
    while (names := await asyncio.to_thread(next, folders, None)) is not None:
        for at in range(0, len(names), _SOME):
            some = names[at : at + _SOME]
            there = await service.database.read(lambda tx, some=some: rows.known(tx, some))  # type: ignore[misc]
            service.contents.suspect(set(some) - there)
    service.contents.has_suspects.set()


async def remove_garbage(service: "S3") -> None:
    """Removes what nothing names, as far as nobody holds it."""
    contents = service.contents
    while digests := await service.database.read(lambda tx: rows.unmentioned(tx, _SOME)):
        contents.suspects.update(digests)
        removed = [digest for digest in list(contents.suspects) if await _remove(service, digest)]
        if not removed:
            break
    for digest in list(contents.suspects):
        await _remove(service, digest)


async def _remove(service: "S3", digest: str) -> bool:
    """Whether it is gone, or named again. One that is held is looked at again when something else is."""
    contents = service.contents
    async with contents.removing(digest) as may_go:
        if not may_go:
            return False
        if await service.database.write(lambda tx: rows.forget_content(tx, digest)):
            await contents.in_thread(contents.unlink, digest)
    contents.suspects.discard(digest)
    return True
