"""What a Python function finds at /var/runtime: the runtime's own files, and boto3 with what it needs, as on AWS."""

import importlib.util
from pathlib import Path
from typing import Final

_PACKAGES: Final = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")


def runtime_contents(guest: Path) -> dict[str, Path]:
    """{name at /var/runtime: file or folder here}: the guest folder's modules and the platform's copy of boto3.

    Nothing is imported: these packages are for functions, not for the node.
    """
    contents = {path.name: path for path in sorted(guest.glob("*.py")) if path.name != "__init__.py"}
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec and spec.origin:
            origin = Path(spec.origin)
            path = origin.parent if origin.name == "__init__.py" else origin
            contents[path.name] = path
    return contents
