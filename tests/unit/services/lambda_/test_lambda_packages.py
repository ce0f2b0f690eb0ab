import asyncio
import hashlib
import shutil

import pytest
from lambda_platform import ACCOUNT, OTHER_ZIP, REGION, ZIP, platform

from lambent.aws.errors import ApiError
from lambent.services.lambda_.model import FunctionKey
from lambent.services.lambda_.packages import Packages
from lambent.services.lambda_.run import choose
from lambent.testing.loop import run

KEY = FunctionKey(ACCOUNT, REGION, "fn")
DIGEST = hashlib.sha256(ZIP).hexdigest()


def test_a_package_is_unpacked_once_for_all_who_ask(tmp_path):
    async def main(clock):
        packages = Packages(tmp_path, clock)
        await packages.add(ZIP)
        shutil.rmtree(packages.folder(DIGEST))
        packages = Packages(tmp_path, clock)  # as after a reboot: the folder is not there, the blob is
        assert not packages.is_ready(DIGEST)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(10):
                tasks.create_task(packages.ensure(DIGEST))
                tasks.create_task(packages.add(ZIP))
        assert packages.is_ready(DIGEST)
        assert [path.name for path in packages.folder(DIGEST).iterdir()] == ["app.py"]
        assert [path.name for path in packages.folder(DIGEST).parent.iterdir()] == [DIGEST]

    run(main)


def test_what_was_unpacked_in_this_boot_is_ready_after_a_restart(tmp_path):
    async def main(clock):
        await Packages(tmp_path, clock).add(ZIP)
        assert Packages(tmp_path, clock).is_ready(DIGEST)

    run(main)


def test_a_refused_package_leaves_nothing(tmp_path):
    async def main(clock):
        packages = Packages(tmp_path, clock)
        for attempt in (packages.add, packages.check):
            with pytest.raises(ApiError):
                await attempt(ZIP[:-30])
        assert not any(path.is_file() for path in tmp_path.rglob("*"))
        assert list((tmp_path / "unpacked").glob("*/*")) == []

    run(main)


def test_adding_a_package_while_it_is_collected_keeps_it(tmp_path):
    async def main(clock):
        packages = Packages(tmp_path, clock)
        await packages.add(ZIP)
        packages._unused_since[DIGEST] = clock.now() - 2_000
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(packages.collect(set))
            tasks.create_task(packages.add(ZIP))
        assert packages.is_ready(DIGEST)
        assert packages.folder(DIGEST).is_dir()
        assert packages.blobs.read(DIGEST) == ZIP

    run(main)


def test_after_a_reboot_code_is_unpacked_when_it_is_first_invoked(tmp_path):
    async def first(clock):
        async with platform(tmp_path, clock) as lambda_:
            await lambda_.create()

    async def second(clock):
        shutil.rmtree(tmp_path / "lambda/unpacked")
        async with platform(tmp_path, clock) as lambda_:
            assert (await lambda_("Invoke", FunctionName="fn"))["StatusCode"] == 200

    run(first)
    run(second)


def test_a_package_that_is_lost_fails_the_function_and_nothing_else(tmp_path):
    async def first(clock):
        async with platform(tmp_path, clock, runs=False) as lambda_:
            await lambda_.create(wait=False)

    async def second(clock):
        shutil.rmtree(tmp_path / "lambda")
        async with platform(tmp_path, clock) as lambda_:
            shown = await lambda_.settled()
            assert (shown["State"], shown["StateReasonCode"]) == ("Failed", "InternalError")
            await lambda_.create("gn", Code={"ZipFile": OTHER_ZIP})
            assert (await lambda_.settled("gn"))["State"] == "Active"

    run(first)
    run(second)


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_a_package_that_went_bad_is_an_error_that_an_event_waits_out(tmp_path, content):
    async def first(clock):
        async with platform(tmp_path, clock) as lambda_:
            await lambda_.create()

    async def second(clock):
        shutil.rmtree(tmp_path / "lambda/unpacked")
        [package] = (tmp_path / "lambda").rglob(DIGEST)
        package.unlink()
        if content is not None:
            package.write_bytes(content)
        async with platform(tmp_path, clock) as lambda_:
            with pytest.raises(ApiError, match=r"ServiceException: .* could not be unpacked"):
                await what_runs(lambda_.service)
            package.write_bytes(ZIP)
            assert (await what_runs(lambda_.service)).code_dir.is_dir()

    run(first)
    run(second)


async def what_runs(service):
    return await service.ready_spec(choose(service, KEY, None))
