"""Functions in JavaScript, on the Node.js that comes with the development set-up."""

import pytest
from packages import create, invoke


@pytest.fixture
def client(lambent):
    return lambent.client("lambda")


@pytest.mark.parametrize("runtime", ["nodejs22.x", "nodejs24.x"])
def test_a_function_in_javascript_answers(client, runtime):
    name = create(client, runtime, {"index.js": "exports.handler = async (event) => ({ hello: event.name })"})
    for word in ("one", "two"):
        answer = invoke(client, name, {"name": word})
        assert (answer.content, answer.error) == ({"hello": word}, None)
