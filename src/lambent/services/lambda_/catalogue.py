"""All functions in memory: what reads and invocations are answered from, without SQL.

Built from the store at start; each committed change is put here, in commit order, before any caller resumes.
Source of truth is the store.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from lambent.aws.caller import Scope
from lambent.engine.spec import FunctionSpec
from lambent.services.lambda_.attached import Attached, FunctionUrl, ReservedConcurrency
from lambent.services.lambda_.model import LATEST, Alias, Function, FunctionKey, FunctionVersion, not_found
from lambent.services.lambda_.sealed import OpenedWhenRead, Seal

A = TypeVar("A", bound=Attached)


@dataclass(slots=True)
class Entry:
    """A function with its versions and aliases, and for each version what its environments are made of.

    `attached` is by kind and qualifier: use `its` and `all_its`.
    """

    function: Function
    versions: dict[str, FunctionVersion] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    specs: dict[str, FunctionSpec] = field(default_factory=dict)
    attached: dict[tuple[type[Attached], str], Attached] = field(default_factory=dict)

    def its(self, kind: type[A], qualifier: str = "") -> A | None:
        """What of this kind is attached to a qualifier, if anything is."""
        found = self.attached.get((kind, qualifier))
        return found if isinstance(found, kind) else None

    def all_its(self, kind: type[A]) -> list[A]:
        """What of this kind is attached to the function or any qualifier of it, by qualifier."""
        found = [thing for thing in self.attached.values() if isinstance(thing, kind)]
        return sorted(found, key=lambda thing: thing.qualifier)

    @property
    def latest(self) -> FunctionVersion:
        return self.versions[LATEST]

    def resolve(self, qualifier: str | None, *, sample: float = 1.0) -> FunctionVersion:
        """The function version that a qualifier stands for.

        No qualifier means `$LATEST`. A weighted alias stands for either of its two versions: `sample`, in [0, 1),
        decides, so that the choice can be replayed; without one it is the alias's own version.

        Raises:
            ApiError: ResourceNotFoundException, when no such version or alias exists.
        """
        name = qualifier or LATEST
        alias = self.aliases.get(name)
        version = self.versions.get(alias.choose(sample) if alias else name)
        if version is None:
            raise not_found(self.function.key, qualifier)
        return version


class Catalogue:
    """The functions of all accounts and regions.

    `code_dir` says where a package's folder is, `seal` opens environment variables, `changed` is told of each function
    of which something was put or removed.
    """

    def __init__(
        self, code_dir: Callable[[str], Path], seal: Seal, changed: Callable[[FunctionKey], None] = lambda _key: None
    ) -> None:
        self._code_dir = code_dir
        self._seal = seal
        self._tell = changed
        self._entries: dict[FunctionKey, Entry] = {}
        self._urls: dict[str, FunctionUrl] = {}

    def get(self, key: FunctionKey) -> Entry:
        """The function, or ResourceNotFoundException."""
        entry = self._entries.get(key)
        if entry is None:
            raise not_found(key)
        return entry

    def find(self, key: FunctionKey) -> Entry | None:
        """The function, if it exists."""
        return self._entries.get(key)

    def url(self, url_id: str) -> FunctionUrl | None:
        """The function URL with this id, if it exists."""
        return self._urls.get(url_id)

    def of(self, scope: Scope) -> list[Entry]:
        """The functions of an account in a region, by name."""
        return [entry for key, entry in sorted(self._entries.items()) if key.scope == scope]

    def all(self) -> Iterable[Entry]:
        return self._entries.values()

    def digests(self) -> set[str]:
        """The packages that any function version needs."""
        return {digest for entry in self.all() for version in entry.versions.values() for digest in version.digests}

    def put(self, *changed: Function | FunctionVersion | Alias | Attached) -> None:
        """Takes over what was committed. A function comes before its versions and aliases."""
        for thing in changed:
            if isinstance(thing, Function):
                entry = self._entries.get(thing.key)
                if entry is None or entry.function.function_id != thing.function_id:
                    self._entries[thing.key] = Entry(thing)
                else:
                    entry.function = thing
            elif isinstance(thing, Alias):
                self._entries[thing.key].aliases[thing.name] = thing
            elif isinstance(thing, Attached):
                self._entries[thing.key].attached[type(thing), thing.qualifier] = thing
                if isinstance(thing, FunctionUrl):
                    self._urls[thing.url_id] = thing
            else:
                entry = self._entries[thing.key]
                entry.versions[thing.version] = thing
                entry.specs[thing.version] = spec(thing, self._code_dir, self._seal)
        for key in {thing.key for thing in changed}:
            self._changed(key)

    def remove(self, key: FunctionKey) -> None:
        """Forgets a function, its versions and its aliases."""
        entry = self._entries.pop(key, None)
        for url in entry.all_its(FunctionUrl) if entry else ():
            self._urls.pop(url.url_id, None)
        self._changed(key)

    def remove_version(self, key: FunctionKey, version: str) -> None:
        entry = self._entries[key]
        entry.versions.pop(version, None)
        entry.specs.pop(version, None)
        self._detach(entry, version)
        self._changed(key)

    def remove_alias(self, key: FunctionKey, name: str) -> None:
        entry = self._entries[key]
        entry.aliases.pop(name, None)
        self._detach(entry, name)
        self._changed(key)

    def remove_attached(self, key: FunctionKey, kind: type[Attached], qualifier: str = "") -> None:
        gone = self._entries[key].attached.pop((kind, qualifier), None)
        if isinstance(gone, FunctionUrl):
            self._urls.pop(gone.url_id, None)
        self._changed(key)

    def _changed(self, key: FunctionKey) -> None:
        """What is reserved is in the specs too, for whoever has nothing but those."""
        entry = self._entries.get(key)
        if entry:
            reserved = entry.its(ReservedConcurrency)
            limit = reserved.limit if reserved else None
            for version, its_spec in entry.specs.items():
                if its_spec.reserved != limit:
                    entry.specs[version] = replace(its_spec, reserved=limit)
        self._tell(key)

    def _detach(self, entry: Entry, qualifier: str) -> None:
        for kind, its_qualifier in list(entry.attached):
            if its_qualifier == qualifier:
                self.remove_attached(entry.function.key, kind, qualifier)


def spec(version: FunctionVersion, code_dir: Callable[[str], Path], seal: Seal) -> FunctionSpec:
    """What the engine runs for a version now. Computed once for each change, never for an invocation."""
    configuration, code = version.running.configuration, version.running.code
    key, variables = version.key, configuration.environment
    return FunctionSpec(
        arn=key.arn(),
        name=key.name,
        account=key.account,
        region=key.region,
        version=version.version,
        runtime=configuration.runtime,
        handler=configuration.handler,
        code_dir=code_dir(code.digest),
        layer_dirs=tuple(code_dir(layer.code.digest) for layer in configuration.layers),
        memory_mb=configuration.memory_mb,
        timeout_s=configuration.timeout_s,
        ephemeral_mb=configuration.ephemeral_mb,
        environment=OpenedWhenRead(seal, variables, key.arn()) if variables else {},
        in_vpc=bool(configuration.vpc and configuration.vpc.subnet_ids),
        role=configuration.role,
        log_group=configuration.logging.log_group,
        log_format=configuration.logging.log_format,
        application_log_level=configuration.logging.application_log_level,
        system_log_level=configuration.logging.system_log_level,
        tracing=configuration.tracing_mode,
        file_systems=tuple((each["Arn"], each["LocalMountPath"]) for each in configuration.file_systems),
        snap_start=version.takes_snapshots,
        digest=version.environment_digest(),
    )
