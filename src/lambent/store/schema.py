"""The two sets of tables. Each service's `rows.py` adds its own, named with the service's prefix."""

from typing import Final

from sqlalchemy import MetaData

# Every constraint has a name, and the same on each database, so that a later migration can name it.
NAMING: Final = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
}

MAIN: Final = MetaData(naming_convention=NAMING)
"""What was acknowledged and must survive a power cut: functions, events, roles."""

BULK: Final = MetaData(naming_convention=NAMING)
"""What comes in floods and may lose its last moments to a power cut, never to a kill: log events, metrics."""
