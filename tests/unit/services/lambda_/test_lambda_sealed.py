import json
import re
import sqlite3
import sys
from contextlib import closing
from subprocess import run as run_process

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lambda_platform import ARN, platform

from lambent.services.lambda_.sealed import CannotOpenError, OpenedWhenRead, Seal, SealedVariables
from lambent.store.migrate import prepare, revision_folders
from lambent.store.schema import MAIN
from lambent.testing.loop import run

SECRET = "hunter2-in-plain-sight-77120"
texts = st.text(st.characters(exclude_categories=["Cs"]))
variables = st.dictionaries(texts, texts, max_size=5)
seal = Seal(b"s" * 32)


@given(variables, texts)
def test_what_was_closed_opens_for_the_same_function_only(given_variables, arn):
    sealed = seal.close(given_variables, arn)
    assert seal.open(sealed, arn) == given_variables
    with pytest.raises(CannotOpenError):
        seal.open(sealed, arn + "x")
    with pytest.raises(CannotOpenError):
        Seal(b"t" * 32).open(sealed, arn)


@given(variables, variables)
def test_a_digest_tells_whether_variables_differ_and_the_text_does_not(one, other):
    closed, again = seal.close(one, ARN), seal.close(dict(reversed(one.items())), ARN)
    assert closed.digest == again.digest
    assert closed.text != again.text
    assert (closed.digest == seal.close(other, ARN).digest) == (one == other)
    assert closed.digest != seal.close(one, ARN + "2").digest


@given(st.text())
def test_any_text_that_was_not_sealed_is_refused(text):
    with pytest.raises(CannotOpenError):
        seal.open(SealedVariables(text=text, digest=""), ARN)


@given(st.integers(min_value=0, max_value=200), st.integers(min_value=1, max_value=127))
def test_a_changed_byte_is_noticed(place, difference):
    sealed = seal.close({"KEY": "value"}, ARN)
    place %= len(sealed.text)
    changed = chr((ord(sealed.text[place]) ^ difference) & 0x7F)
    damaged = sealed.text[:place] + changed + sealed.text[place + 1 :]
    try:
        assert seal.open(SealedVariables(text=damaged, digest=sealed.digest), ARN) == {"KEY": "value"}
        assert damaged[-4:] != sealed.text[-4:]  # the last character's unused bits
    except CannotOpenError:
        pass


def test_variables_are_opened_once_by_whoever_looks():
    lazy = OpenedWhenRead(seal, seal.close({"A": "1"}, ARN), ARN)
    assert not lazy.is_open
    assert (lazy["A"], list(lazy), len(lazy), {**lazy}, "B" in lazy) == ("1", ["A"], 1, {"A": "1"}, False)
    assert lazy.is_open


def test_a_nodes_start_does_not_load_the_library():
    code = "import sys, lambent.node; print(any(name.startswith('cryptography') for name in sys.modules))"
    done = run_process([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_store_never_sees_a_value(tmp_path):
    async def main(clock):
        async with platform(tmp_path, clock) as lambda_:
            await lambda_.create(Environment={"Variables": {"TOKEN": SECRET}}, Publish=True)
            await lambda_.update(Environment={"Variables": {"TOKEN": SECRET + "2"}})
            assert files_with(tmp_path, SECRET) == []
            await lambda_("Invoke", FunctionName="fn")
            assert dict(lambda_.engine.invoked[-1][0].environment) == {"TOKEN": SECRET + "2"}
            shown = (await lambda_("ListVersionsByFunction", FunctionName="fn"))["Versions"]
            assert [each["Environment"]["Variables"]["TOKEN"] for each in shown] == [SECRET + "2", SECRET]

    run(main)
    assert files_with(tmp_path, SECRET) == []
    assert files_with(tmp_path, "TOKEN") == []


def files_with(folder, text):
    found = [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]
    assert (folder / "main.db").stat().st_size > 0
    return found


def test_publishing_the_same_variables_again_gives_the_same_version(tmp_path):
    async def main(clock):
        async with platform(tmp_path, clock) as lambda_:
            await lambda_.create(Environment={"Variables": {"AA": "1", "BB": "2"}})
            assert (await lambda_("PublishVersion", FunctionName="fn"))["Version"] == "1"
            await lambda_("Invoke", FunctionName="fn")
            await lambda_.update(Environment={"Variables": {"BB": "2", "AA": "1"}})
            assert (await lambda_("PublishVersion", FunctionName="fn"))["Version"] == "1"
            await lambda_("Invoke", FunctionName="fn")
            first, second = (spec.digest for spec, _ in lambda_.engine.invoked)
            assert first == second
            await lambda_.update(Environment={"Variables": {"BB": "3", "AA": "1"}})
            assert (await lambda_("PublishVersion", FunctionName="fn"))["Version"] == "2"

    run(main)


def test_with_another_secret_the_function_is_shown_and_does_not_run(tmp_path):
    async def first(clock):
        async with platform(tmp_path, clock) as lambda_:
            await lambda_.create(Environment={"Variables": {"TOKEN": SECRET}})

    async def second(clock):
        async with platform(tmp_path, clock) as lambda_:
            service = lambda_.service
            for holder in (service, service.catalogue):
                name = "seal" if holder is service else "_seal"
                setattr(holder, name, Seal(b"t" * 32))
            service.catalogue.put(
                *service.catalogue.get(next(iter(service.catalogue.all())).function.key).versions.values()
            )
            said = (
                "Lambda was unable to decrypt the environment variables. "
                f"the variables of {ARN} were not sealed with this installation's secret"
            )
            shown = await lambda_("GetFunctionConfiguration", FunctionName="fn")
            assert shown["Environment"] == {"Error": {"ErrorCode": "AccessDeniedException", "Message": said}}
            assert await lambda_.refused("Invoke", FunctionName="fn") == ("KMSAccessDeniedException", said)
            await lambda_.update(Environment={"Variables": {"TOKEN": "new"}})
            assert (await lambda_("Invoke", FunctionName="fn"))["StatusCode"] == 200

    run(first)
    run(second)


# As the node of commit 2b37b4c wrote it, for a function whose update was in progress.
OLD_CONFIGURATION = {
    "role": "arn:aws:iam::123456789012:role/lambda",
    "handler": "app.handler",
    "runtime": "python3.13",
    "logging": {
        "log_group": "/aws/lambda/fn",
        "log_format": "Text",
        "application_log_level": None,
        "system_log_level": None,
    },
    "description": "",
    "timeout_s": 3,
    "memory_mb": 128,
    "ephemeral_mb": 512,
    "architecture": "x86_64",
    "tracing_mode": "PassThrough",
    "snap_start": "None",
    "environment": {"TOKEN": SECRET},
    "kms_key_arn": "",
    "dead_letter_arn": "",
    "vpc": None,
    "file_systems": [],
}
OLD_CODE = {"digest": "0" * 64, "zipped_bytes": 1, "unzipped_bytes": 1}
OLD_KEY = ["123456789012", "eu-west-1", "fn"]


def old_version(version, **more):
    return {
        "key": OLD_KEY,
        "function_id": "id",
        "version": version,
        "configuration": OLD_CONFIGURATION,
        "code": OLD_CODE,
        "last_modified_ms": 0,
        "revision_id": "r",
        "state": {"value": "Active", "reason": None, "code": None},
        "last_update": None,
        "in_force": None,
        **more,
    }


def old_database(folder):
    """The tables and rows of that commit: its first revision, whose definitions stand in 0001."""
    path = folder / "main.db"
    key = "account VARCHAR(12) NOT NULL, region VARCHAR(32) NOT NULL, name VARCHAR(64) NOT NULL"
    prepare(path, MAIN, revision_folders("main"))
    with closing(sqlite3.connect(path)) as connection:
        for table in ("lambda_functions", "lambda_versions", "lambda_aliases"):
            connection.execute(f"DROP TABLE {table}")
        later = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN "
        for (table,) in connection.execute(
            later + "('lambda_attached', 'lambda_layers', 'lambda_layer_versions', 'lambda_event_source_mappings')"
        ).fetchall():
            connection.execute(f"DROP TABLE {table}")
        document = "document TEXT NOT NULL"
        keys = "account, region, name"
        connection.execute(f"CREATE TABLE lambda_functions ({key}, {document}, PRIMARY KEY ({keys}))")
        connection.execute(
            f"CREATE TABLE lambda_versions ({key}, number INTEGER NOT NULL, {document}, PRIMARY KEY ({keys}, number))"
        )
        connection.execute(
            f"CREATE TABLE lambda_aliases ({key}, alias VARCHAR(128) NOT NULL, {document}, PRIMARY KEY ({keys}, alias))"
        )
        connection.execute(
            "UPDATE alembic_version SET version_num = 'lambda_main_0001' WHERE version_num LIKE 'lambda_%'"
        )
        function = {"key": OLD_KEY, "function_id": "id", "next_number": 2, "tags": {}, "published_fingerprint": ""}
        connection.execute("INSERT INTO lambda_functions VALUES (?, ?, ?, ?)", (*OLD_KEY, json.dumps(function)))
        without = OLD_CONFIGURATION | {"environment": None}
        versions = {
            0: old_version("$LATEST", in_force={"configuration": OLD_CONFIGURATION, "code": OLD_CODE}),
            1: old_version("1", configuration=without),
        }
        for number, row in versions.items():
            values = (*OLD_KEY, number, json.dumps(row))
            connection.execute("INSERT INTO lambda_versions VALUES (?, ?, ?, ?, ?)", values)
        connection.commit()
    return path


def test_variables_that_were_stored_in_plain_are_sealed_by_the_upgrade(tmp_path):
    (tmp_path / "secret").write_bytes(b"s" * 32)
    path = old_database(tmp_path)
    assert SECRET.encode() in path.read_bytes()
    prepare(path, MAIN, revision_folders("main"))
    assert files_with(tmp_path, SECRET) == []

    async def main(clock):
        async with platform(tmp_path, clock, runs=False) as lambda_:
            latest, published = (await lambda_("ListVersionsByFunction", FunctionName="fn"))["Versions"]
            assert latest["Environment"] == {"Variables": {"TOKEN": SECRET}}
            assert "Environment" not in published
            entry = next(iter(lambda_.service.catalogue.all()))
            assert dict(entry.specs["$LATEST"].environment) == {"TOKEN": SECRET}
            assert re.fullmatch("[0-9a-f]{64}", entry.latest.configuration.environment.digest)

    run(main)
