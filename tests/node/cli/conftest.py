"""Commands list all that there is: each file begins with an empty node."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _empty(lambent):
    lambent.reset()
