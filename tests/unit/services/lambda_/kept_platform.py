"""A platform that stays up between calls from ordinary code, on a loop of its own: for generated tests."""

import asyncio

from lambda_platform import platform

from lambent.testing.loop import JumpingLoop


class KeptPlatform:
    """`do(coroutine)` runs on the platform's loop. Time passes only while something is waited for."""

    def __init__(self, folder, **settings):
        self.loop = JumpingLoop()
        self._stop = asyncio.Event()
        opened = self.loop.create_future()
        self._keeping = self.loop.create_task(self._keep(folder, opened, settings))
        self.platform = self.do(opened)

    async def _keep(self, folder, opened, settings):
        async with platform(folder, self.loop.clock, **settings) as one:
            opened.set_result(one)
            await self._stop.wait()

    def do(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    def close(self):
        self._stop.set()
        self.do(self._keeping)
        self.do(self.loop.shutdown_default_executor())
        self.loop.close()
