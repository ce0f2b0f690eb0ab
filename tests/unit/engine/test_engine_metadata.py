"""The names of zones."""

import pytest

from lambent.engine.metadata_api import zone_id


@pytest.mark.parametrize(
    ("region", "zone"),
    [
        ("us-east-1", "use1-az1"),
        ("eu-central-1", "euc1-az1"),
        ("ap-southeast-2", "apse2-az1"),
        ("ap-northeast-1", "apne1-az1"),
        ("us-gov-west-1", "usgw1-az1"),
    ],
)
def test_a_zone_is_named_after_its_region(region: str, zone: str) -> None:
    assert zone_id(region) == zone
