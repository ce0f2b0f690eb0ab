"""`lambent generate-event s3`: the events that a bucket gives a function."""

import time
from typing import Annotated, Any, Final

import typer

from lambent.cli.terminal import answer_json

s3 = typer.Typer(name="s3", help="Events of Amazon S3.", no_args_is_help=True, rich_markup_mode=None)

_ETAG: Final = "0123456789abcdef0123456789abcdef"
_Bucket = Annotated[str, typer.Option(help="The bucket's name.")]
_Key = Annotated[str, typer.Option(help="The object's key.")]
_Region = Annotated[str, typer.Option(help="The bucket's region.")]


@s3.command()
def put(
    bucket: _Bucket = "example-bucket",
    key: _Key = "test/key",
    size: Annotated[int, typer.Option(help="The object's size in bytes.")] = 1024,
    region: _Region = "us-east-1",
) -> None:
    """Print the event of an object that was put. Needs no running platform.

    \b
    Examples:
      lambent generate-event s3 put --bucket photos --key in/cat.jpg
      lambent generate-event s3 put | lambent invoke thumbnails --payload -
    """
    answer_json(event("ObjectCreated:Put", bucket, key, size, region))


@s3.command()
def delete(bucket: _Bucket = "example-bucket", key: _Key = "test/key", region: _Region = "us-east-1") -> None:
    """Print the event of an object that was deleted. Needs no running platform.

    \b
    Examples:
      lambent generate-event s3 delete --key in/cat.jpg
    """
    answer_json(event("ObjectRemoved:Delete", bucket, key, 0, region))


def event(name: str, bucket: str, key: str, size: int, region: str) -> dict[str, Any]:
    """The event of something that happened to a key."""
    # Here, since they take longer to import than most commands to run.
    from lambent.aws.caller import Caller
    from lambent.services.s3 import notices
    from lambent.services.s3.model import Bucket, Version

    now_ms = int(time.time() * 1000)
    of = Bucket(id=0, account="123456789012", region=region, name=bucket, created_ms=now_ms)
    version = Version(id=0, bucket_id=0, key=key, version_id="null", seq=now_ms << 14, size=size, etag=_ETAG)
    caller = Caller(user_id="EXAMPLE", client="127.0.0.1", request_id="EXAMPLE123456789")
    happening = notices.Happening(name=name, bucket=of, caller=caller, at_ms=now_ms)
    return {"Records": [notices.record_of(happening, version, "testConfigRule")]}
