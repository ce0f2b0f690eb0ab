"""The two sets of tables. Each service's `rows.py` adds its own, named with the service's prefix."""

from typing import Final

from sqlalchemy import MetaData

MAIN: Final = MetaData()
"""What was acknowledged and must survive a power cut: functions, events, roles."""

BULK: Final = MetaData()
"""What comes in floods and may lose its last moments to a power cut, never to a kill: log events, metrics."""
