"""Processes that share quotas: `p50_ms` of reserving a call and acknowledging it. Arguments: sqlite or redis, and how many."""

import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from massgen.limiter.quotas import Limits, Weights
from massgen.limiter.stores.redis import Redis
from massgen.limiter.stores.sqlite import Sqlite
from tests.redis_server import RedisServer

BURSTS, CALLS, PAUSE = 25, 10, 0.4
"""A process calls ten times in a row, as the agents of a team do, then a while not."""


async def measure(place: str) -> float:
    """Milliseconds, the median."""
    store = Redis(place) if "://" in place else Sqlite(Path(place))
    limits, weights = Limits(rpm=1e6, tpm=1e12, rpd=1e9), Weights(100_000, 4_000)
    spans: list[float] = []
    for _ in range(BURSTS):
        for _ in range(CALLS):
            began = time.perf_counter()
            ticket = await store.reserve("provider/model", limits, weights)
            assert isinstance(ticket, str)
            await store.acked("provider/model", ticket)
            spans.append(time.perf_counter() - began)
            await store.finish("provider/model", ticket, Weights(90_000, 500))
        await asyncio.sleep(random.uniform(0, PAUSE))
    await store.aclose()
    return statistics.median(spans) * 1e3


def main(kind: str, count: int) -> None:
    with ExitStack() as stack:
        if kind == "redis":
            place = stack.enter_context(RedisServer()).url
        else:
            place = str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "quotas.db")
        command = [sys.executable, __file__, "process", place]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
        print(json.dumps({"p50_ms": statistics.median(float(each.communicate()[0]) for each in running)}))


if __name__ == "__main__":
    if sys.argv[1] == "process":
        print(asyncio.run(measure(sys.argv[2])))
    else:
        main(sys.argv[1], int(sys.argv[2]))
