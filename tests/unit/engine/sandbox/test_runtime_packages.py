"""What functions find at /var/runtime."""

from pathlib import Path

from lambent.engine.sandbox.runtime_packages import runtime_contents


def test_boto3_and_all_it_needs_are_there_beside_the_runtime(tmp_path: Path) -> None:
    (tmp_path / "bootstrap.py").touch()
    (tmp_path / "__init__.py").touch()
    contents = runtime_contents(tmp_path)
    assert contents["bootstrap.py"] == tmp_path / "bootstrap.py"
    assert "__init__.py" not in contents
    assert {"boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py", "urllib3"} <= contents.keys()
    assert all(path.exists() for path in contents.values())
