"""What the operator decides of execution environments."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lambent.engine.surroundings import INIT_LIMIT_S
from lambent.engine.variables import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The engine's limits and where things are inside an environment."""

    concurrent_executions: int = 1000
    idle_environment_s: float = 600.0
    start_queue: int = 1000
    """Invocations of all accounts that may wait for an environment; more are throttled."""
    stop_grace_s: float = 30.0
    init_limit_s: float = INIT_LIMIT_S
    place: Place = field(default_factory=Place)
    file_systems: Mapping[str, Path] = field(default_factory=dict)
    """Folders by access point: its ARN or its id."""
    has_walls: bool = True  # False: level `process`, where paths are the host's own
    package_zygotes: bool = True
    package_memory: Path | None = None
    """The file in which what is learnt of packages lasts."""
