"""What happens after the answer: functions become Active, environments of old code go, unused packages go."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy.engine import Connection

from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.engine.file_systems import NoFolderError, folder_for
from lambent.engine.interpreters import NoInterpreterError
from lambent.engine.runtimes import Runtime
from lambent.engine.snapshots import SnapshotFailedError
from lambent.engine.spec import FunctionSpec
from lambent.observe.log import Log
from lambent.services.lambda_ import rows
from lambent.services.lambda_.catalogue import Catalogue
from lambent.services.lambda_.layers.catalogue import LayerCatalogue
from lambent.services.lambda_.model import FunctionKey, FunctionVersion, Running, Status, settled
from lambent.services.lambda_.packages import Packages
from lambent.store.blobs import DamagedBlobError
from lambent.store.database import Database

_COLLECT_S: Final = 60.0
_NO_IMAGES: Final = (
    "Lambent does not run container images yet: the function was checked and is kept, and cannot be invoked. "
    "Deploy the code as a .zip file archive."
)


class Retire(Protocol):
    """`Engine.retire`."""

    async def __call__(self, arn: str, *, keep_digests: frozenset[str] = frozenset()) -> None:
        """Lets go of a function's other environments."""


@dataclass(slots=True, kw_only=True, eq=False)
class Worker:
    """Jobs are handed in at once and done while `run` runs.

    What waits is bounded by what there is: one job for each version that settles and each function that changed.
    """

    database: Database
    packages: Packages
    catalogue: Catalogue
    layers: LayerCatalogue
    retire: Retire
    expect: Callable[[FunctionSpec], Awaitable[None]]
    take_snapshot: Callable[[FunctionVersion], Awaitable[None]]
    find_runtime: Callable[[str], Awaitable[Runtime]]
    file_systems: Mapping[str, Path]
    pending_s: float
    clock: Clock
    log: Log
    _settling: dict[tuple[FunctionKey, str], FunctionVersion] = field(default_factory=dict)
    _retiring: set[FunctionKey] = field(default_factory=set)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def settle_soon(self, version: FunctionVersion) -> None:
        """Brings a creation or an update into force, not before pollers could see that it was under way."""
        self._settling[version.key, version.version] = version
        self._wake.set()

    def retire_soon(self, key: FunctionKey) -> None:
        """Lets go of environments that the function no longer has a use for."""
        self._retiring.add(key)
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. A job that was cut off, by a crash too, is found again here: its version still settles."""
        for entry in self.catalogue.all():
            for version in entry.versions.values():
                if version.is_settling:
                    self.settle_soon(version)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._collect(), name="lambda.collect")
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._settling:
                    _, version = self._settling.popitem()
                    tasks.create_task(self._settle(version), name="lambda.settle")
                while self._retiring:
                    await self._retire(self._retiring.pop())

    async def _settle(self, version: FunctionVersion) -> None:
        await self.clock.sleep(self.pending_s)
        failure = await self._failure(version)
        revision_id = str(uuid.uuid4())

        def change(tx: Connection) -> FunctionVersion | None:
            now = rows.version(tx, version.key, version.number)
            # A change of its policy is another revision, and does not matter here.
            if now is None or replace(now, revision_id=version.revision_id) != version:
                return None  # deleted meanwhile, perhaps created anew
            done = settled(now, failure, revision_id=revision_id)
            rows.update_version(tx, done)
            return done

        def committed(done: FunctionVersion | None) -> None:
            if done is not None:
                self.catalogue.put(done)

        if await self.database.write(change, committed=committed) is not None:
            await self._retire(version.key)
            entry = self.catalogue.find(version.key)
            if failure is None and entry and version.version in entry.specs:
                await self.expect(entry.specs[version.version])

    async def _failure(self, version: FunctionVersion) -> Status | None:
        """Why the version cannot run, or None. Its code is unpacked then."""
        if version.code.image_uri:
            return _failed("InvalidImage", _NO_IMAGES)
        try:
            await self.find_runtime(version.configuration.runtime)
            for package in Running(configuration=version.configuration, code=version.code).packages:
                await self.packages.ensure(package.digest)
            for each in version.configuration.file_systems:
                folder_for(each["Arn"], self.file_systems)
            if version.takes_snapshots:
                await self.take_snapshot(version)
        except SnapshotFailedError as error:
            return _failed(error.code, str(error))
        except NoInterpreterError as error:
            return _failed("InvalidRuntime", str(error))
        except NoFolderError as error:
            return _failed("EFSMountFailure", str(error))
        except (OSError, DamagedBlobError, ApiError) as error:  # a full disk, say: the function fails, not the worker
            self.log.error("lambda.package_unavailable", function=version.key.arn(version.version))
            return _failed("InternalError", f"The code could not be unpacked: {error}")
        return None

    async def _retire(self, key: FunctionKey) -> None:
        entry = self.catalogue.find(key)
        keep = frozenset(spec.digest for spec in entry.specs.values()) if entry else frozenset()
        await self.retire(key.arn(), keep_digests=keep)

    async def _collect(self) -> None:
        """At start what a crash left, then each minute what functions stopped using."""
        await self.packages.collect(self._in_use, at_start=True)
        while True:
            await self.clock.sleep(_COLLECT_S, tidying=True)
            await self.packages.collect(self._in_use)

    def _in_use(self) -> set[str]:
        """The packages of all functions, also those of layer versions deleted since, and of all layer versions."""
        return self.catalogue.digests() | self.layers.digests()


def _failed(code: str, reason: str) -> Status:
    return Status(value="Failed", reason=reason, code=code)
