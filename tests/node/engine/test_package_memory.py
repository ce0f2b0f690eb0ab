"""What was learnt of a function's packages is known to the node that comes after."""

import json

FILES = {
    "gentle/__init__.py": "import time\nMOMENT = time.time_ns()\n",
    "gentle-1.0.dist-info/RECORD": "gentle/__init__.py,,\n",
    "app.py": "import gentle\n\ndef handler(event, context): return gentle.MOMENT\n",
}


def make(node, zipped):
    client = node.client("lambda")
    client.create_function(
        FunctionName="learnt",
        Runtime="python3.11",
        Handler="app.handler",
        Role="arn:aws:iam::000000000000:role/r",
        Code={"ZipFile": zipped(**FILES)},
    )
    client.get_waiter("function_active_v2").wait(FunctionName="learnt")


def invoke(node):
    return json.load(node.client("lambda").invoke(FunctionName="learnt")["Payload"])


def remembered(folder):
    """The file's lines, and how to change the last of them."""
    path = folder / "packages.jsonl"
    lines = [json.loads(line) for line in path.read_text().split("\n") if line]

    def change(**fields):
        with path.open("a") as file:
            file.write("\n" + json.dumps(lines[-1] | fields))

    return lines, change


def test_after_a_restart_packages_are_imported_ahead_without_being_learnt_again(own_node, zipped, decided, tmp_path):
    arguments = ("--data-dir", str(tmp_path / "data"))
    with own_node(*arguments, ephemeral=False) as node:
        make(node, zipped)
        invoke(node)
        assert decided("learnt", node)["imported_ahead"] == ["gentle"]
    lines, change = remembered(tmp_path / "data")
    assert [line["roots"] for line in lines] == [["gentle"]]
    change(left_out={"other": "as the file says"})  # learnt again, it would say nothing of another
    with own_node(*arguments, ephemeral=False) as node:
        first = invoke(node)
        decision = decided("learnt", node)
        assert (decision["state"], decision["imported_ahead"]) == ("ready", ["gentle"])
        assert decision["left_out"] == {"other": "as the file says"}
        assert isinstance(first, int)


def test_what_does_not_hold_any_more_is_forgotten(own_node, zipped, decided, tmp_path):
    arguments = ("--data-dir", str(tmp_path / "data"))
    with own_node(*arguments, ephemeral=False) as node:
        make(node, zipped)
        invoke(node)
        decided("learnt", node)
    _lines, change = remembered(tmp_path / "data")
    change(roots=["no_such_package"])
    with own_node(*arguments, ephemeral=False) as node:
        assert isinstance(invoke(node), int)
        assert decided("learnt", node)["state"] == "none"
    with own_node(*arguments, ephemeral=False) as node:
        invoke(node)
        assert decided("learnt", node)["imported_ahead"] == ["gentle"]
