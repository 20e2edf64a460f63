"""`calls`: `bare_ms` and `ours_ms` of a call, taken in turns. `starts`: the time of five servers over that of the slowest."""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mcp import Client, StdioServerParameters

from massgen.toolbox.agent import agent_toolbox
from massgen.toolbox.server import preload
from massgen.toolbox.servers import Servers
from tests.mcp_servers import raw

ROUNDS, WARM_UP = 1_000, 50
LATE = (0.2, 0.4, 0.6, 0.8, 1.5)
"""Seconds before each server greets: waiting, not computing, so that two cores do for five."""


async def calls() -> dict[str, float]:
    server = raw()
    spans: dict[str, list[float]] = {"bare": [], "ours": []}
    async with (
        Client(StdioServerParameters(command=server.command, args=server.args)) as client,
        Servers() as servers,
    ):
        tools = agent_toolbox(servers, {"raw": server})
        await tools.offered()
        await client.list_tools()
        given = {"text": "x" * 2_000}
        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "bare": lambda: client.call_tool("echo", given),
            "ours": lambda: tools.call("mcp__raw__echo", given),
        }
        for _ in range(ROUNDS):
            for name, call in ways.items():
                began = time.perf_counter()
                await call()
                spans[name].append(time.perf_counter() - began)
    return {f"{name}_ms": statistics.median(each[WARM_UP:]) * 1e3 for name, each in spans.items()}


async def starts() -> dict[str, float]:
    preload().join()

    async def started(*late: float) -> float:
        async with Servers() as servers:
            tools = agent_toolbox(servers, {f"late{each}": raw(f"late={each}") for each in late})
            began = time.perf_counter()
            await tools.offered()
            return time.perf_counter() - began

    slowest = await started(max(LATE))
    return {"ratio": await started(*LATE) / slowest}


if __name__ == "__main__":
    print(json.dumps(asyncio.run({"calls": calls, "starts": starts}[sys.argv[1]]())))
