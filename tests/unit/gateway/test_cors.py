"""Which pages may ask from a browser."""

import pytest

from lambent.gateway import cors


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000",
        "https://localhost",
        "http://127.0.0.1:4566",
        "http://[::1]:8080",
        "http://app.localhost",
    ],
)
def test_pages_of_this_machine_may_ask(origin):
    assert cors.is_allowed(origin, "127.0.0.1:4566")


@pytest.mark.parametrize(
    "origin", ["https://example.com", "http://localhost.example.com", "null", "http://127.0.0.1.example.com", "file://"]
)
def test_other_pages_may_not(origin):
    assert not cors.is_allowed(origin, "127.0.0.1:4566")


def test_the_platforms_own_pages_may_ask_wherever_it_listens():
    assert cors.is_allowed("http://lambent.lan:4566", "lambent.lan:4566")
