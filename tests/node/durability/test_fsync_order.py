"""What is acknowledged is on the disk, not only on its way there: a kill cannot show that, the order of syncs does."""

import itertools
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.node.durability.syncs import blobs, calls, missing_syncs, trace_of, traced_node, unsafe_blobs, unsynced_names
from tests.node.durability.things import PERMISSIONS, ROLE, TRUST, package


@pytest.fixture(scope="module")
def durable(tmp_path_factory):
    return _traced_writes(tmp_path_factory.mktemp("durable"), ephemeral=False)


@pytest.fixture(scope="module")
def fleeting(tmp_path_factory):
    return _traced_writes(tmp_path_factory.mktemp("fleeting"), ephemeral=True)


def test_every_change_is_synced_before_its_acknowledgement(durable):
    lines, markers = durable
    assert missing_syncs(calls(lines), markers) == []


def test_a_package_and_its_name_are_synced_before_a_row_names_it(durable):
    found = calls(durable[0])
    assert len(blobs(found)) == 8
    assert unsafe_blobs(found) == []


def test_a_node_that_does_not_sync_is_found_out(fleeting):
    """An ephemeral node writes the same, without syncing commits."""
    lines, markers = fleeting
    assert len(missing_syncs(calls(lines), markers)) > len(markers) * 0.9  # checkpoints sync now and then


@pytest.mark.parametrize("suffix", ["/zips>", "/.new-"])
def test_a_blob_without_one_of_its_syncs_is_found_out(durable, suffix):
    lines = [line for line in durable[0] if not (" fsync(" in line and suffix in line)]
    assert len(unsafe_blobs(calls(lines))) == 8


def test_the_names_of_all_files_that_stay_are_synced(tmp_path):
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from sqlalchemy import Column, Integer, MetaData, Table\n"
        "from lambent.store.blobs import Blobs\n"
        "from lambent.store.database import Database\n"
        "from lambent.store.folder import DataFolder\n"
        "tables = MetaData()\n"
        "Table('things', tables, Column('id', Integer, primary_key=True))\n"
        "async def main():\n"
        "    with DataFolder.open(Path(sys.argv[1])) as folder:\n"
        "        Blobs(folder.path / 'functions' / 'zips').put(b'blob')\n"
        "        async with Database.open(folder.main_db, metadata=tables, durable=True):\n"
        "            pass\n"
        "asyncio.run(main())\n"
    )
    found = trace_of([sys.executable, "-B", "-c", script, str(tmp_path / "deep" / "data")], tmp_path / "trace")
    fleeting_names = ("/lock", "main.db-shm", "main.db-wal")
    unsynced = [path for path in unsynced_names(found, tmp_path) if not path.endswith(fleeting_names)]
    assert unsynced == []


def _traced_writes(folder, *, ephemeral):
    """What strace saw while several clients changed things, and the markers of their changes."""
    arguments = ["--ephemeral"] if ephemeral else ["--data-dir", str(folder / "data")]
    file = folder / "trace"
    with traced_node(file, *arguments) as node:
        for service in ("iam", "lambda", "logs"):
            node.client(service)
        with ThreadPoolExecutor(4) as threads:
            markers = list(itertools.chain(*threads.map(lambda number: _change_things(node, number), range(4))))
    return file.read_text(errors="replace").splitlines(), markers


def _change_things(node, client):
    """Makes changes of every kind, one after the other; the marker of each."""
    iam, functions, logs = (node.client(service) for service in ("iam", "lambda", "logs"))
    names = (f"marker{client}x{number:03}x" for number in itertools.count())
    used = []

    def name():
        used.append(next(names))
        return used[-1]

    function = name()
    functions.create_function(
        FunctionName=function,
        Runtime="python3.11",
        Handler="app.handler",
        Role=ROLE,
        Code={"ZipFile": package(f"def handler(event, context): return {client}")},
    )
    for _ in range(4):
        role, group = name(), name()
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=TRUST)
        iam.put_role_policy(RoleName=role, PolicyName=name(), PolicyDocument=json.dumps(PERMISSIONS))
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName=name())
        functions.create_alias(FunctionName=function, Name=name(), FunctionVersion="$LATEST")
    functions.get_waiter("function_active_v2").wait(
        FunctionName=function, WaiterConfig={"Delay": 0.05, "MaxAttempts": 600}
    )
    functions.update_function_configuration(FunctionName=function, Description=name())
    functions.get_waiter("function_updated_v2").wait(
        FunctionName=function, WaiterConfig={"Delay": 0.05, "MaxAttempts": 600}
    )
    functions.update_function_code(FunctionName=function, ZipFile=package(f"# {client}"))
    for _ in range(3):
        functions.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps({"mark": name()}))
    return used
