"""Events that come at the same time share their commits, and each is on the disk before it is acknowledged."""

import json
from concurrent.futures import ThreadPoolExecutor

from tests.node.durability.syncs import calls, missing_syncs, traced_node
from tests.node.durability.things import ROLE, package

CLIENTS, EVENTS = 16, 20


def test_many_events_take_few_syncs(tmp_path):
    file = tmp_path / "trace"
    with traced_node(file, "--data-dir", str(tmp_path / "data")) as node:
        functions = node.client("lambda")
        functions.create_function(
            FunctionName="f",
            Runtime="python3.11",
            Handler="app.handler",
            Role=ROLE,
            Code={"ZipFile": package("def handler(event, context): return 1")},
        )
        functions.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 0.05})

        def send(client):
            marks = [f"event{client}x{number:03}x" for number in range(EVENTS)]
            for mark in marks:
                functions.invoke(FunctionName="f", InvocationType="Event", Payload=json.dumps({"mark": mark}))
            return marks

        with ThreadPoolExecutor(CLIENTS) as threads:
            marks = [mark for its in threads.map(send, range(CLIENTS)) for mark in its]
    found = calls(file.read_text(errors="replace").splitlines())
    assert missing_syncs(found, marks) == []
    # One by one, each event would take two: one when it is kept, one when it has ended.
    commits = [call for call in found if call.name == "fdatasync" and call.file.endswith("main.db-wal")]
    assert 0 < len(commits) < len(marks)
