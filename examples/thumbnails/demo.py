"""`make demo`: start a platform, deploy the function of this folder, invoke it with a photograph, show what it made.

Everything goes through the `lambent` command, as a user would type it.
"""

import base64
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
LAMBENT = str(Path(sys.executable).with_name("lambent"))


def lambent(*arguments: str, endpoint: str) -> str:
    """Runs one command; shows it and what it says, and returns its answer."""
    print(f"\n$ lambent {' '.join(arguments)}", flush=True)
    environment = {**os.environ, "LAMBENT_ENDPOINT": endpoint}
    return subprocess.run([LAMBENT, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    work = Path(tempfile.mkdtemp(prefix="lambent-demo-"))
    photograph = FOLDER / "rocket.jpg"
    event = work / "event.json"
    event.write_text(json.dumps({"image": base64.b64encode(photograph.read_bytes()).decode(), "width": 200}))

    command = [LAMBENT, "up", "--port", "0", "--ephemeral"]
    print("$ lambent up --port 0 --ephemeral", flush=True)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as platform:
        assert platform.stdout is not None
        try:
            ready = ""
            while not (found := re.search(r"http://[\w.:-]+", ready)):
                line = platform.stdout.readline()
                if not line:
                    sys.exit("error: the platform did not start; see above")
                ready += line
            print(ready, end="")
            endpoint = found[0]
            print(lambent("deploy", str(FOLDER), "--memory", "512", "--timeout", "10", endpoint=endpoint), end="")
            answer = json.loads(lambent("invoke", "thumbnails", "--payload", f"@{event}", endpoint=endpoint))
            picture = work / "thumbnail.jpg"
            picture.write_bytes(base64.b64decode(answer["image"]))
            print(f"{answer['width']} x {answer['height']} pixels: {picture}")
            print(lambent("logs", "thumbnails", endpoint=endpoint), end="")
        finally:
            platform.terminate()
    print(f"\nThe platform has stopped. The picture: {picture}")


if __name__ == "__main__":
    main()
