#!/usr/bin/env python3
"""Measures the store alone: durable changes per second by the number of those who write at once, and reads.

    .venv/bin/python bench/store.py [FOLDER]     # a folder on the disk to be measured; the working folder by default

One change inserts a row of 100 bytes. Each figure is the best of three runs: a shared machine only ever adds time.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import Column, Integer, MetaData, Table, Text, bindparam, insert, select

from lambent.store.database import Database

TABLES = MetaData()
NOTES = Table("notes", TABLES, Column("id", Integer, primary_key=True), Column("text", Text, nullable=False))
INSERT = insert(NOTES)
GET = select(NOTES.c.text).where(NOTES.c.id == bindparam("its_id"))
PER_WRITER = {1: 500, 16: 4_000, 64: 10_000, 256: 20_000}


def change(tx):
    tx.execute(INSERT, {"text": "x" * 100})


def query(tx):
    return tx.execute(GET, {"its_id": 1}).scalar()


async def each(work, at_once, count):
    """Seconds that each of `count` calls took, at most `at_once` at a time, and how many there were in a second."""
    took = []

    async def one_after_the_other(calls):
        for _ in range(calls):
            began = time.perf_counter()
            await work()
            took.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(one_after_the_other(count // at_once))
    return len(took) / (time.perf_counter() - began), sorted(took)


async def row(label, work, at_once, count):
    per_s, took = max([await each(work, at_once, count) for _ in range(3)])
    middle, late = took[len(took) // 2] * 1e3, took[len(took) * 99 // 100] * 1e3
    print(f"{label:36} {per_s:>8,.0f} {middle:>9.2f} {late:>8.2f} {took[-1] * 1e3:>8.2f}")


def raw_sync_us(folder):
    """What the disk itself takes for 4 KiB, so that the figures can be compared with another machine's."""
    with open(folder / "raw", "wb", buffering=0) as file:
        began = time.perf_counter()
        for _ in range(200):
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
        return (time.perf_counter() - began) / 200 * 1e6


async def measure(folder):
    print(f"{os.cpu_count()} cores; write and fdatasync of 4 KiB: {raw_sync_us(folder):.0f} us")
    print(f"{'':36} {'per s':>8} {'p50 ms':>9} {'p99 ms':>8} {'worst':>8}")
    for durable in (True, False):
        path = folder / f"{durable}.db"
        async with Database.open(path, metadata=TABLES, durable=durable) as database:
            for writers, count in PER_WRITER.items():
                label = f"{'durable' if durable else 'not synced'} changes, {writers} at once"
                await row(label, lambda database=database: database.write(change), writers, count)
    async with Database.open(path, metadata=TABLES, durable=False) as database:
        for readers in (1, 16):
            await row(f"reads, {readers} at once", lambda: database.read(query), readers, 4_000)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else ".") as folder:
        asyncio.run(measure(Path(folder)))
