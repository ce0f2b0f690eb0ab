"""Environment variables that stood in the rows as they came are sealed. Their old pages are overwritten."""

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op

from lambent.services.lambda_.sealed import Seal

revision = "lambda_main_0004"
down_revision = "lambda_main_0003"

_VERSIONS = sa.table(
    "lambda_versions", *(sa.column(name) for name in ("account", "region", "name", "number", "document"))
)


def upgrade() -> None:
    """Seals the variables of every version, also where an update is in progress."""
    tx = op.get_bind()
    rows = tx.execute(sa.select(_VERSIONS)).mappings().all()
    plain = [(row, document) for row in rows if _variables(document := json.loads(row["document"]))]
    if not plain:
        return
    if tx.dialect.name == "sqlite":
        tx.exec_driver_sql("PRAGMA secure_delete = ON")  # what is freed is overwritten with zeros
    seal = Seal((Path(str(tx.engine.url.database)).parent / "secret").read_bytes())
    for row, document in plain:
        arn = f"arn:aws:lambda:{row['region']}:{row['account']}:function:{row['name']}"
        for configuration in _configurations(document):
            if configuration.get("environment") is not None:
                sealed = seal.close(configuration["environment"], arn)
                configuration["environment"] = {"text": sealed.text, "digest": sealed.digest}
        key = [_VERSIONS.c[name] == row[name] for name in ("account", "region", "name", "number")]
        document_text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
        tx.execute(sa.update(_VERSIONS).where(*key).values(document=document_text))


def _configurations(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What is shown, and what runs while an update is in progress."""
    in_force = document.get("in_force") or {}
    return [each["configuration"] for each in (document, in_force) if "configuration" in each]


def _variables(document: dict[str, Any]) -> bool:
    return any(each.get("environment") is not None for each in _configurations(document))
