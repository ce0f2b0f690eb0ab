"""A disk that is full makes errors, and what was acknowledged is delivered when there is room again."""

import pytest
from sns_service import opened
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from lambent.testing.loop import run


async def limit(client, pages):
    """Lets the database have no more than it has, and so many pages; or as many as it likes."""

    def change(tx):
        there = tx.execute(text("PRAGMA page_count")).scalar_one()
        most = 1_073_741_823 if pages is None else there + pages
        tx.execute(text(f"PRAGMA max_page_count = {most}"))

    await client.service.database.write(change)


def test_what_was_acknowledged_before_the_disk_was_full_arrives(tmp_path):
    async def main(clock):
        kept = []
        async with opened(tmp_path, clock) as client:
            topic, queue = await client.topic(), await client.queue()
            await client.subscribe(topic, queue, RawMessageDelivery="true")
            await limit(client, 100)

            async def publish_on():
                for number in range(100):
                    await client("Publish", TopicArn=topic, Message=str(number).ljust(50_000))
                    kept.append(str(number))

            with pytest.raises(OperationalError, match="full"):
                await publish_on()
            assert 1 < len(kept) < 100
            await limit(client, None)
            await client("Publish", TopicArn=topic, Message="once more")
            kept.append("once more")
            found = set()
            for _ in range(10):
                found |= {each["Body"].strip() for each in await client.receive(queue, 100, wait=20)}
            assert set(kept) <= found

    run(main)
