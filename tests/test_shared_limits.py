"""Real processes share limits through a real store, against a strict provider over real HTTP. A minute is scaled to a second."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import tests
from massgen.limiter.feedback import learned
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


@pytest.mark.timeout(120)
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


@pytest.mark.timeout(120)
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


async def ask(strict: Strict, path: str, body: dict[str, Any]) -> tuple[int, Mapping[str, str], dict[str, Any]]:
    headers = {"authorization": "Bearer one", "x-goog-api-key": "one"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(strict.url + path, json=body) as response,
    ):
        return response.status, response.headers, await response.json()


def said(words: int) -> dict[str, Any]:
    return {"model": "flash", "messages": [{"role": "user", "content": "word " * words}]}


def written(words: int) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": "word " * words}]}]}


async def test_the_judge_refuses_what_exceeds_a_limit_in_any_window_and_counts_it():
    clock = [0.0]
    judge = Judge(rpm=2, tpm=100, seconds=60.0, clock=lambda: clock[0])
    assert judge.room_in() == 0.0
    for now, tokens, exceeded in [(0, 60, None), (30, 41, "tpm"), (30, 40, None), (59.9, 0, "rpm"), (60, 60, None)]:
        clock[0] = now
        assert judge.arrive("one", tokens).exceeded == exceeded, now
    assert [each.at for each in judge.violations] == [30, 59.9]
    assert judge.room_in() == 30


async def test_a_strict_provider_refuses_in_the_words_of_openai():
    async with Strict(Judge(rpm=1, tpm=50)) as strict:
        status, headers, reply = await ask(strict, "/v1/chat/completions", said(20))
        assert (status, headers["x-ratelimit-remaining-requests"], headers["x-ratelimit-remaining-tokens"]) == (
            200,
            "0",
            "30",
        )
        assert reply["usage"]["prompt_tokens"] == 20
        status, headers, reply = await ask(strict, "/v1/chat/completions", said(40))
        assert status == 429
        assert "on requests per min (RPM): Limit 1, Used 1, Requested 1." in reply["error"]["message"]
        assert 0 < float(headers["retry-after"]) <= 60
    async with Strict(Judge(tpm=50)) as strict:
        assert (await ask(strict, "/v1/chat/completions", said(20)))[0] == 200
        _, _, reply = await ask(strict, "/v1/chat/completions", said(40))
        assert "on tokens per min (TPM): Limit 50, Used 20, Requested 40." in reply["error"]["message"]


async def test_a_strict_provider_refuses_in_the_words_of_gemini():
    async with Strict(Judge(rpm=1), words="gemini") as strict:
        path = "/v1beta/models/flash:generateContent"
        assert (await ask(strict, path, written(3)))[0] == 200
        status, headers, reply = await ask(strict, path, written(3))
        feedback = learned("gemini", status, headers, json.dumps(reply))
    assert status == 429
    assert feedback.limits == {"rpm": 1}
    assert feedback.retry_after == pytest.approx(60, abs=5)


@pytest.mark.timeout(120)
async def test_processes_that_share_nothing_are_refused(tmp_path: Path):
    """A test of the tests: each alone keeps to the limits."""
    async with (
        provider() as strict,
        team(strict, str(tmp_path / "one.db"), 1) as one,
        team(strict, str(tmp_path / "other.db"), 1) as other,
    ):
        await reach(strict, [*one, *other], lambda: len(strict.judge.violations) > RPM // 2)
