"""Makes a thumbnail of a photograph.

Event: {"image": "<base64 of a JPEG or PNG>", "width": 128}
Answer: {"image": "<base64 of a JPEG>", "width": 128, "height": 85}
"""

import base64
import io
import logging

from PIL import Image

log = logging.getLogger()
log.setLevel(logging.INFO)


def lambda_handler(event, context):
    picture = Image.open(io.BytesIO(base64.b64decode(event["image"])))
    log.info("got a %s of %d x %d pixels", picture.format, *picture.size)

    width = int(event.get("width", 128))
    picture.thumbnail((width, picture.height * width // picture.width + 1))
    out = io.BytesIO()
    picture.convert("RGB").save(out, "JPEG", quality=85)

    print(f"thumbnail of {picture.width} x {picture.height} pixels, {out.tell()} bytes")
    return {"image": base64.b64encode(out.getvalue()).decode(), "width": picture.width, "height": picture.height}
