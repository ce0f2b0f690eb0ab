"""A disk that takes no more makes errors, and loses nothing that was acknowledged."""

import resource
from contextlib import contextmanager

import pytest
from s3_service import Client, streamed, with_s3


@contextmanager
def files_of(size):
    """No file may become larger: a write then fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_body_that_does_not_fit_leaves_what_was_there(tmp_path):
    async def test(client: Client) -> None:
        await client.bucket()
        await client.put("k", b"a" * 100_000)
        with files_of(2_000_000), pytest.raises(OSError, match="large"):
            await client("PutObject", Bucket="bucket", Key="k", Body=streamed(b"b" * 5_000_000))
        assert await client.body("k") == b"a" * 100_000
        await client.cleaned()
        assert len(client.files()) == 1
        await client("PutObject", Bucket="bucket", Key="k", Body=streamed(b"b" * 5_000_000))
        assert await client.body("k") == b"b" * 5_000_000

    with_s3(tmp_path, test)
