"""Which addresses an HTTP endpoint may have."""

import pytest

from lambent.services.sns.http_client import may_reach


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "fd12::1", "::ffff:127.0.0.1"])
def test_what_is_near_is_for_those_outside_of_functions(address):
    assert may_reach(address, is_private=True)
    assert not may_reach(address, is_private=False)


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "169.254.170.2", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254", "168.63.129.16"),
        *("100.100.100.200", "192.0.0.192", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "nonsense"),
    ],
)
def test_no_endpoint_is_where_clouds_keep_credentials(address):
    assert not may_reach(address, is_private=True)
    assert not may_reach(address, is_private=False)
