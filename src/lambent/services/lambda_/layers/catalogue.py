"""All layer versions in memory: what reads are answered from, and what says which packages are in use.

Built from the store at start; each committed change is put here, in commit order, before any caller resumes.
"""

from dataclasses import dataclass, field

from lambent.aws.caller import Scope
from lambent.services.lambda_.layers.model import LayerKey, LayerVersion


@dataclass(slots=True)
class LayerCatalogue:
    """The layer versions of all accounts and regions."""

    _layers: dict[LayerKey, dict[int, LayerVersion]] = field(default_factory=dict)

    def find(self, key: LayerKey, number: int) -> LayerVersion | None:
        """A version, if it exists."""
        return self._layers.get(key, {}).get(number)

    def versions(self, key: LayerKey) -> list[LayerVersion]:
        """The versions of a layer, newest first."""
        return sorted(self._layers.get(key, {}).values(), key=lambda version: -version.number)

    def of(self, scope: Scope) -> list[LayerKey]:
        """The layers of an account in a region that have a version, by name."""
        return sorted(key for key in self._layers if key.scope == scope)

    def digests(self) -> set[str]:
        """The packages of all versions."""
        return {version.code.digest for versions in self._layers.values() for version in versions.values()}

    def zipped_bytes(self, scope: Scope) -> int:
        """What an account's layers take of its code storage."""
        return sum(version.code.zipped_bytes for key in self.of(scope) for version in self._layers[key].values())

    def put(self, *changed: LayerVersion) -> None:
        """Takes over what was committed."""
        for version in changed:
            self._layers.setdefault(version.key, {})[version.number] = version

    def remove(self, key: LayerKey, number: int) -> None:
        """Forgets a version; a layer without any is not listed."""
        versions = self._layers.get(key, {})
        versions.pop(number, None)
        if not versions:
            self._layers.pop(key, None)
