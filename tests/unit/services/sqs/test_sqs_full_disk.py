"""A disk that is full makes errors, and loses nothing that was acknowledged."""

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError
from tests.unit.services.sqs.sqs_service import Client, opened

from lambent.testing.loop import run


async def limit(sqs: Client, pages: int | None) -> None:
    """Lets the database have no more than it has, and so many pages; or as many as it likes."""

    def change(tx: Connection) -> None:
        there = tx.execute(text("PRAGMA page_count")).scalar_one()
        most = 1_073_741_823 if pages is None else there + pages
        tx.execute(text(f"PRAGMA max_page_count = {most}"))

    await sqs.service.database.write(change)


@pytest.mark.parametrize("name", ["q", "q.fifo"])
def test_what_was_acknowledged_before_the_disk_was_full_is_kept(tmp_path, name):
    async def main(clock) -> None:
        kept: list[str] = []
        async with opened(tmp_path, clock) as sqs:
            url = await sqs.queue(name)

            async def send(number: int) -> None:
                ids = {"MessageGroupId": "g", "MessageDeduplicationId": str(number)} if name == "q.fifo" else {}
                await sqs.send(url, str(number).ljust(50_000), **ids)
                kept.append(str(number))

            await send(0)
            await limit(sqs, 100)

            async def send_on() -> None:
                for number in range(1, 100):
                    await send(number)

            with pytest.raises(OperationalError, match="full"):
                await send_on()
            assert 1 < len(kept) < 100
            assert await sqs.counts(url) == (len(kept), 0, 0)
            await limit(sqs, None)
            await send(100)  # it goes on when there is room again
        async with opened(tmp_path, clock) as sqs:
            found: list[str] = []
            while messages := await sqs.receive(url):
                found += [message["Body"].strip() for message in messages]
                await sqs.delete(url, *messages)
            assert found == kept

    run(main)
