"""What every peer's script shares: the seven calls of a team of three, measured. Plain standard library: it runs in each peer's
own environment, as a script beside this file.

    python with_X.py '{"base_url": ..., "agents": 3, "flows": 20, "warmup": 3}'

prints one JSON object: `cpu_ms` (per flow, user and system), `wall_ms` (the best flow), `rss_kb` (growth per flow).
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

Ask = Callable[[str, str], Awaitable[str]]
"""(model, prompt) -> the whole text of the streamed reply."""

QUESTION = "What is the capital of France?"


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def team(ask: Ask, agents: int) -> str:
    """Everyone answers, everyone votes, one presents: 2n+1 calls."""
    models = [f"m{number}" for number in range(1, agents + 1)]
    answers = await asyncio.gather(*(ask(model, QUESTION) for model in models))
    ballot = "\n".join([QUESTION, *answers, "Vote for one of these answers."])
    await asyncio.gather(*(ask(model, ballot) for model in models))
    return await ask(models[0], "\n".join([QUESTION, *answers, "Write the final answer."]))


def resident_kb() -> float:
    """Memory in use now; where the system does not say, the most there was."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize() / 1024


async def timed(flow: Callable[[], Awaitable[object]], *, flows: int, warmup: int) -> dict[str, float]:
    for _ in range(warmup):
        await flow()
    walls: list[float] = []
    began, resident = cpu_seconds(), resident_kb()
    for _ in range(flows):
        start = time.perf_counter()
        await flow()
        walls.append(time.perf_counter() - start)
    cpu, grown = cpu_seconds() - began, resident_kb() - resident
    return {"cpu_ms": cpu / flows * 1e3, "wall_ms": min(walls) * 1e3, "rss_kb": grown / flows}


def main(client: Callable[[str], AbstractAsyncContextManager[Ask]]) -> None:
    """Measure the flow through the `Ask` that `client(base_url)` opens."""
    job = json.loads(sys.argv[1])

    async def run() -> dict[str, float]:
        async with client(job["base_url"]) as ask:
            return await timed(lambda: team(ask, job["agents"]), flows=job["flows"], warmup=job["warmup"])

    print(json.dumps(asyncio.run(run())))
