"""All event source mappings in memory, as committed, and what their pollers said last. Source of truth is the store."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from lambent.aws.caller import Scope
from lambent.services.lambda_.mappings.model import EventSourceMapping, not_there


@dataclass(slots=True, eq=False)
class Mappings:
    """`changed` is told the UUID of each mapping that was put or removed."""

    changed: Callable[[str], None]
    _mappings: dict[str, EventSourceMapping] = field(default_factory=dict)
    _results: dict[str, str] = field(default_factory=dict)

    def get(self, scope: Scope, uuid: str) -> EventSourceMapping:
        """The mapping of an account and a region, or ResourceNotFoundException."""
        mapping = self._mappings.get(uuid)
        if mapping is None or mapping.scope != scope:
            raise not_there()
        return mapping

    def find(self, uuid: str) -> EventSourceMapping | None:
        """The mapping, if it exists."""
        return self._mappings.get(uuid)

    def of(self, scope: Scope) -> list[EventSourceMapping]:
        """The mappings of an account in a region, by UUID."""
        return [mapping for _, mapping in sorted(self._mappings.items()) if mapping.scope == scope]

    def all(self) -> Iterable[EventSourceMapping]:
        return self._mappings.values()

    def put(self, *mappings: EventSourceMapping) -> None:
        """Takes over what was committed."""
        for mapping in mappings:
            before = self._mappings.get(mapping.uuid)
            self._mappings[mapping.uuid] = mapping
            if before is None or replace(mapping, tags=before.tags) != before:  # tags concern nobody
                self.changed(mapping.uuid)

    def remove(self, uuid: str) -> None:
        self._mappings.pop(uuid, None)
        self._results.pop(uuid, None)
        self.changed(uuid)

    def tell(self, uuid: str, result: str) -> None:
        """What became of the last batch."""
        if uuid in self._mappings:
            self._results[uuid] = result

    def result(self, uuid: str) -> str | None:
        """What became of the last batch since the node started, if there was one."""
        return self._results.get(uuid)
