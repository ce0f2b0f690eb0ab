"""A response that is sent while it is made: each chunk at once, as long as somebody is there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from lambent.gateway.body import Receive

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def send_chunks(chunks: AsyncIterator[bytes], receive: Receive, send: Send) -> bool:
    """Sends each chunk when it comes; sending waits while the client does not read. Whether all were sent.

    The chunks are closed when the client goes away, so that whoever makes them can stop. What they raise is raised,
    as the only exception of a group; the client then sees a body that breaks off.
    """
    is_whole = False

    async def pump() -> None:
        nonlocal is_whole
        try:
            async for chunk in chunks:
                if chunk:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            is_whole = True
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()

    async with asyncio.TaskGroup() as tasks:
        pumping = tasks.create_task(pump(), name="gateway.chunks")
        await asyncio.sleep(0)  # a generator that has not begun cannot be closed: nobody would be told
        # The body of the request has been read: what comes now is the client's end, or that of our response.
        while (await receive())["type"] != "http.disconnect":
            pass
        pumping.cancel()
    return is_whole
