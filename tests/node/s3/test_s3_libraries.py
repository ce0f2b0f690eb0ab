"""S3 through libraries that bring their own client: the AWS SDK for JavaScript, and s3fs."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

JAVASCRIPT = Path(__file__).parent / "javascript"
CACHE = Path(sys.prefix)  # what is fetched once stays beside the packages of the tests' own interpreter
S3FS = "s3fs==2026.9.0"
ROUND = """
import json, sys
import s3fs

files, bucket = s3fs.S3FileSystem(), sys.argv[1]
with files.open(f"{bucket}/folder/large.bin", "wb", block_size=5 * 2**20) as file:  # in parts
    for number in range(12):
        file.write(bytes([number]) * 1_000_000)
files.pipe(f"{bucket}/folder/small.txt", b"small")
with files.open(f"{bucket}/folder/large.bin", "rb") as file:
    file.seek(5_999_999)
    middle = list(file.read(2))
files.copy(f"{bucket}/folder/large.bin", f"{bucket}/copy.bin")
seen = {
    "listed": sorted(files.ls(f"{bucket}/folder")),
    "middle": middle,
    "size": files.info(f"{bucket}/copy.bin")["size"],
    "found": sorted(files.find(bucket)),
    "absent": files.exists(f"{bucket}/absent"),
}
files.rm(bucket, recursive=True)
print(json.dumps(seen))
"""


@pytest.fixture
def bucket(lambent):
    """A new bucket's name."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    lambent.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def environment(lambent):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    keys = {"AWS_ACCESS_KEY_ID": "000000000000", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
    return kept | keys | {"AWS_ENDPOINT_URL": lambent.endpoint, "AWS_DEFAULT_REGION": "us-east-1"}


def _once(folder, stamp, install):
    """Fills a folder once for all workers, and again when what it is made from has changed."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "made-from"
        if not done.exists() or done.read_text() != stamp:
            install()
            done.write_text(stamp)


@pytest.fixture(scope="module")
def node_modules():
    folder = CACHE / "javascript-s3"

    def install():
        if shutil.which("npm") is None:
            pytest.fail("Install npm, which comes with Node.js (https://nodejs.org).")
        for name in ("package.json", "package-lock.json"):
            shutil.copy(JAVASCRIPT / name, folder / name)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        subprocess.run(command, cwd=folder, check=True)

    _once(folder, hashlib.sha256((JAVASCRIPT / "package-lock.json").read_bytes()).hexdigest(), install)
    return folder


@pytest.fixture(scope="module")
def python_with_s3fs():
    folder = CACHE / "s3fs"

    def install():
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        subprocess.run([folder / "venv/bin/pip", "install", "--quiet", S3FS], check=True)

    _once(folder, S3FS, install)
    return folder / "venv/bin/python"


@pytest.mark.timeout(300)
def test_the_sdk_for_javascript(node_modules, environment, bucket):
    shutil.copy(JAVASCRIPT / "round.mjs", node_modules / "round.mjs")
    command = ["node", node_modules / "round.mjs", bucket]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "body": "hello",
        "metadata": {"one": "1"},
        "streamed": True,
        "encoding": None,
        "keys": [["parts", 300_000], ["stream", 300_000]],
        "prefixes": ["a/"],
        "error": ["NoSuchKey", 404],
    }


@pytest.mark.timeout(300)
def test_s3fs(python_with_s3fs, environment, bucket):
    done = subprocess.run(
        [python_with_s3fs, "-c", ROUND, bucket], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "listed": [f"{bucket}/folder/large.bin", f"{bucket}/folder/small.txt"],
        "middle": [5, 6],
        "size": 12_000_000,
        "found": [f"{bucket}/copy.bin", f"{bucket}/folder/large.bin", f"{bucket}/folder/small.txt"],
        "absent": False,
    }
