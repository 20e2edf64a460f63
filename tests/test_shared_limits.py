"""Real processes share limits through a real store, against a strict provider over real HTTP. A minute is scaled to a second."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import tests
from tests.providers.strict import Arrival, Judge, Strict
from tests.redis_server import RedisServer

ROOT = Path(tests.__file__).parent.parent
WINDOW, RPM, TPM, LEASE = 1.0, 20, 300, 1.0
"""Mostly the requests are what limits, now and then the tokens."""
TOKENS = 12
"""What a call weighs, on average."""
SLACK = 3.0
"""Seconds that a busy machine may add."""


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "quotas.db")
        return
    with RedisServer() as server:
        yield server.url


@asynccontextmanager
async def provider() -> AsyncGenerator[Strict]:
    """10 ms of a second weigh as 600 ms of a minute."""
    async with Strict(Judge(RPM, TPM, WINDOW), jitter=0.01) as strict:
        yield strict


async def start(strict: Strict, place: str, name: str) -> asyncio.subprocess.Process:
    limits = {"rpm": RPM, "tpm": TPM, "minute_seconds": WINDOW}
    job = {"url": strict.base_url, "key": name, "store": place, "limits": limits, "lease": LEASE}
    words = (sys.executable, "-m", "tests.sharing", json.dumps({**job, "callers": 8, "tokens": TOKENS}))
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdin=pipe, stdout=pipe, env={**os.environ})


async def end(process: asyncio.subprocess.Process) -> dict[str, Any]:
    printed, _ = await process.communicate(b"")  # closes its stdin
    return json.loads(printed)


@asynccontextmanager
async def team(strict: Strict, place: str, count: int) -> AsyncGenerator[list[asyncio.subprocess.Process]]:
    processes = [await start(strict, place, f"process {number}") for number in range(count)]
    try:
        yield processes
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def reach(strict: Strict, processes: list[asyncio.subprocess.Process], condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds, while every process runs."""
    reached = asyncio.create_task(strict.until(condition))
    ended = [asyncio.create_task(process.wait()) for process in processes]
    await asyncio.wait([reached, *ended], return_when=asyncio.FIRST_COMPLETED)
    for task in (reached, *ended):
        task.cancel()
    assert condition(), "a process ended by itself"


def of(strict: Strict, name: str) -> list[Arrival]:
    return [each for each in strict.judge.served if each.key == name]


def longest_gap(served: list[Arrival], since: float) -> float:
    times = [since, *(each.at for each in served if each.at > since)]
    return max(later - sooner for sooner, later in pairwise(times))


@pytest.mark.timeout(40)
@pytest.mark.parametrize("count", [2, 4])
async def test_processes_that_share_limits_draw_no_refusal_and_use_what_there_is(place: str, count: int):
    async with provider() as strict, team(strict, place, count) as processes:
        names = [f"process {number}" for number in range(count)]
        await reach(strict, processes, lambda: all(of(strict, name) for name in names))
        began, before = strict.judge.clock(), len(strict.judge.served)
        await reach(strict, processes, lambda: len(strict.judge.served) >= before + 4 * RPM)
        seconds = strict.judge.clock() - began
        results = [await end(process) for process in processes]
    assert strict.judge.violations == []
    assert [result["refused"] for result in results] == [0] * count
    assert [result["said"] for result in results] == [[]] * count
    assert all(len(of(strict, name)) > 4 * RPM / count / 4 for name in names), "each had a fair part"
    assert seconds < 4 * WINDOW / 0.75 + SLACK


@pytest.mark.timeout(40)
async def test_after_a_process_was_killed_the_others_go_on_within_the_lease_and_draw_no_refusal(place: str):
    async with provider() as strict, team(strict, place, 2) as both:
        victim, survivor = both
        await reach(strict, both, lambda: len(of(strict, "process 0")) > RPM and bool(of(strict, "process 1")))
        victim.kill()
        await victim.wait()
        killed = strict.judge.clock()
        last = len(of(strict, "process 1"))
        await reach(strict, [survivor], lambda: len(of(strict, "process 1")) > last + 3 * RPM)
        result = await end(survivor)
    assert strict.judge.violations == []
    assert result["refused"] == 0
    assert result["said"] == []
    assert longest_gap(of(strict, "process 1"), killed) < LEASE + WINDOW + SLACK
