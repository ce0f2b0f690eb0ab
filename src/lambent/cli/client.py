"""boto3 clients for the commands: the platform's endpoint, and credentials even where none are set.

The endpoint is `--endpoint`, `LAMBENT_ENDPOINT`, `AWS_ENDPOINT_URL` or http://127.0.0.1:4566, the first that is there.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from lambent.cli.terminal import CommandError

DEFAULT_ENDPOINT: Final = "http://127.0.0.1:4566"
DEFAULT_ACCOUNT: Final = "000000000000"

Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        help=f"Where the platform listens [default: $LAMBENT_ENDPOINT, $AWS_ENDPOINT_URL or {DEFAULT_ENDPOINT}]",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON, as the API gives it.")]


def endpoint_url(given: str | None) -> str:
    """The address that the commands talk to."""
    from_environment = os.environ.get("LAMBENT_ENDPOINT") or os.environ.get("AWS_ENDPOINT_URL")
    return (given or from_environment or DEFAULT_ENDPOINT).rstrip("/")


def client(service: str, endpoint: str | None = None) -> Any:
    """A boto3 client. It tries once: a platform that is not there is an answer, not something to wait for."""
    # Looking for credentials must not ask a cloud's metadata address, which a laptop waits seconds for.
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    import boto3
    from botocore.config import Config

    session = boto3.Session()
    missing = session.get_credentials() is None
    return session.client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint_url(endpoint),
        region_name=session.region_name or "us-east-1",
        aws_access_key_id=DEFAULT_ACCOUNT if missing else None,
        aws_secret_access_key="lambent" if missing else None,
        # 910 s: a function may run for 900.
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=910),
    )


@contextlib.contextmanager
def speaking_plainly(endpoint: str | None) -> Iterator[None]:
    """Turns what boto3 raises into an error that says what to do."""
    from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

    try:
        yield
    except EndpointConnectionError as error:
        raise CommandError(
            f"nothing answers at {endpoint_url(endpoint)}.",
            "Start the platform with `lambent up`, or name another with --endpoint.",
        ) from error
    except ClientError as error:
        details = error.response.get("Error", {})
        text = details.get("Message") or error.response.get("Message") or str(error)
        raise CommandError(f"{details.get('Code', 'Error')}: {text}") from error
    except BotoCoreError as error:
        raise CommandError(str(error)) from error
