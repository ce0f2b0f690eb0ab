"""An acknowledged object is on the disk: its bytes and its name before the row, the row before the answer."""

import hashlib
import urllib.request

from tests.node.durability.syncs import calls, missing_syncs, traced_node

MARKERS = [f"marker-object-{number}-" for number in range(6)]


def test_a_body_and_its_name_are_synced_before_a_row_names_it(tmp_path):
    bodies = [marker.encode() * (8_000 if number % 2 else 10) for number, marker in enumerate(MARKERS)]
    with traced_node(tmp_path / "trace", "--data-dir", str(tmp_path / "data")) as node:
        node.client("s3").create_bucket(Bucket="bucket")
        for marker, body in zip(MARKERS, bodies, strict=True):
            # Not by boto3, which asks first whether it may go on: that answer would be taken for the acknowledgement.
            request = urllib.request.Request(f"{node.endpoint}/bucket/{marker}", data=body, method="PUT")
            urllib.request.urlopen(request).close()
    found = calls((tmp_path / "trace").read_text(errors="replace").splitlines())
    assert missing_syncs(found, MARKERS) == []
    for body in bodies[1::2]:
        _check(found, hashlib.sha256(body).hexdigest())


def _check(found, digest):
    named = next(call for call in found if call.name == "rename" and call.paths[-1].endswith(digest))
    before, after = named.paths
    folder = after.rpartition("/")[0]
    bytes_synced = [call for call in found if call.name == "fsync" and call.file == before and call.done < named.begun]
    row = next(call for call in found if call.name == "pwrite64" and digest in call.text)
    name_synced = [call for call in found if call.name == "fsync" and call.file == folder]
    assert bytes_synced
    assert any(named.done < call.begun and call.done < row.begun for call in name_synced)
