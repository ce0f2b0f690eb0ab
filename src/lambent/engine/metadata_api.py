"""The metadata endpoint (version 2026-01-15): where an execution environment is.

Source: AWS Lambda Developer Guide, "Using the Lambda metadata endpoint"; facts sheet section 16.
"""

import hmac
import json
from dataclasses import dataclass
from typing import Final

from lambent.engine.http_connection import Connection

BASE: Final = "/2026-01-15/metadata/"
API_VARIABLE: Final = "AWS_LAMBDA_METADATA_API"
TOKEN_VARIABLE: Final = "AWS_LAMBDA_METADATA_TOKEN"  # the variable's name

_CACHE: Final = ("Cache-Control", "private, max-age=43200, immutable")


@dataclass(frozen=True, slots=True)
class MetadataApi:
    """Answers who has the environment's token."""

    region: str
    token: str

    def serve(self, connection: Connection) -> None:
        """Answers one request."""
        if connection.path != BASE + "execution-environment":
            connection.refuse(404, "NotFound", "There is no such path in the metadata API.")
        elif connection.is_method("GET"):
            given = connection.headers.get("authorization", "").encode()
            if hmac.compare_digest(given, f"Bearer {self.token}".encode()):
                body = json.dumps({"AvailabilityZoneID": zone_id(self.region)}).encode()
                connection.answer(200, body, [_CACHE])
            else:
                connection.refuse(401, "Unauthorized", "The token is missing or wrong.")


def zone_id(region: str) -> str:
    """The id of a region's first zone: `use1-az1` for `us-east-1`."""
    parts = region.split("-")
    directions = "".join(_direction(part) for part in parts[1:-1])
    return f"{parts[0]}{directions}{parts[-1]}-az1"


def _direction(word: str) -> str:
    """`n` for north, `se` for southeast, `g` for gov."""
    two = next((word[len(first) :] for first in ("north", "south") if word.startswith(first)), "")
    return word[0] + two[:1]
