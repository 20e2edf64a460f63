"""A plan of 100 tasks with 1,000 dependencies: checking it, and each of the eight tools upon it, called here and over HTTP.

As a program it prints its figures as JSON, in milliseconds of CPU.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from benchmarks.measure import Probe
from benchmarks.scenarios import FAST, Figure, Row
from massgen.planning import MOST_TASKS, Plan, PlanError, PlannedTask, changed, deleted, planned
from massgen.planning.tools import call
from massgen.servers import Attached

EDGES = 1000
IDS = [f"t{number}" for number in range(1, MOST_TASKS + 1)]


def probes() -> list[Probe]:
    return [Probe("planning", (sys.executable, "-m", "benchmarks.planning"), FAST)]


def rows() -> list[Row]:
    what = f"a plan of {MOST_TASKS} tasks and {EDGES:,} dependencies"
    return [
        Row(f"{what} is checked: CPU", "ms", Figure("planning", "checked"), limit=2, cpu=True),
        Row(f"{what} is refused, its circles named: CPU", "ms", Figure("planning", "refused"), limit=2, cpu=True),
        Row(f"{what}: the slowest of its tools: CPU", "ms", Figure("planning", "slowest"), limit=1, cpu=True),
        Row(
            "the slowest of them over HTTP, client and server: CPU", "ms", Figure("planning", "http"), limit=5, cpu=True
        ),
        Row("the whole plan with mcp's own client, which checks it: CPU", "ms", Figure("planning", "mcp")),
    ]


def figures() -> dict[str, float]:
    needs = dependencies()
    tasks = [PlannedTask(name, "Do it", tuple(others)) for name, others in needs.items()]
    circular = [PlannedTask(IDS[0], "Do it", (IDS[-1],)), *tasks[1:]]
    tools = {tool: _cpu(lambda tool=tool, on=on: _asked(tool, *on)) for tool, on in _questions(needs).items()}
    checks = {"checked": _cpu(lambda: planned(Plan(), tasks)), "refused": _cpu(lambda: _refused(circular))}
    over_http, with_mcp = asyncio.run(_over_http(needs))
    return {**checks, **tools, "slowest": max(tools.values()), "http": max(over_http.values()), "mcp": with_mcp}


def dependencies() -> dict[str, list[str]]:
    """Task -> earlier tasks, at random."""
    pairs = [(late, early) for late in range(MOST_TASKS) for early in range(late)]
    needs: dict[str, list[str]] = {name: [] for name in IDS}
    for late, early in random.Random(1).sample(pairs, EDGES):
        needs[IDS[late]].append(IDS[early])
    return needs


def _questions(needs: dict[str, list[str]]) -> dict[str, tuple[Plan, dict[str, Any]]]:
    """Tool -> a plan and arguments."""
    tasks = [PlannedTask(name, "Do it", tuple(others)) for name, others in needs.items()]
    plan = changed(Plan(), planned(Plan(), tasks))
    last, written = IDS[-1], {"description": "Do it", "depends_on": IDS[:20]}
    drafts = [{"id": name, "description": "Do it", "depends_on": others} for name, others in needs.items()]
    return {
        "create_task_plan": (plan, {"tasks": drafts}),
        "add_task": (changed(plan, deleted(plan, last, agent="a")), written),
        "update_task_status": (plan, {"task_id": IDS[0], "status": "in_progress"}),
        "edit_task": (plan, {"task_id": last, **written}),
        "delete_task": (plan, {"task_id": last}),
        **dict.fromkeys(("get_task_plan", "get_ready_tasks", "get_blocked_tasks"), (plan, {})),
    }


def _asked(tool: str, plan: Plan, arguments: dict[str, Any]) -> None:
    assert not call(plan, tool, arguments, agent="a", at=1.0).is_error


async def _over_http(needs: dict[str, list[str]]) -> tuple[dict[str, float], float]:
    """Tool -> milliseconds of CPU, by a client that does no more than it must; and those of `get_task_plan` by mcp's."""
    from massgen.servers.http import serve_http  # a second, of which the figures above are to know nothing

    questions = _questions(needs)
    taken: dict[str, float] = {}
    async with serve_http(
        lambda agent, tool, given: call(questions[tool][0], tool, given, agent=agent, at=1.0), "a"
    ) as at:
        for tool, (_, arguments) in questions.items():
            taken[tool] = min([await _posted(at["a"], tool, arguments) for _ in range(15)])
        return taken, await _with_mcp(at["a"])


async def _with_mcp(at: Attached, times: int = 5) -> float:
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    best = float("inf")
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {at.token}"})
    async with http, Client(streamable_http_client(at.url, http_client=http)) as client:
        for _ in range(15):
            began = time.process_time()
            for _ in range(times):
                assert (await client.call_tool("get_task_plan", {})).structured_content
            best = min(best, (time.process_time() - began) / times)
    return best * 1e3


async def _posted(at: Attached, tool: str, arguments: dict[str, Any], times: int = 10) -> float:
    place, params = urlsplit(at.url), {"name": tool, "arguments": arguments}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    head = (
        f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {at.token}\r\nAccept: */*\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    began = time.process_time()
    for _ in range(times):
        writer.write(head.encode() + body)
        headers = (await reader.readuntil(b"\r\n\r\n")).lower()
        reply = await reader.readexactly(int(headers.split(b"content-length:")[1].split(b"\r\n")[0]))
        assert b'"isError":false' in reply
    taken = time.process_time() - began
    writer.close()
    return taken / times * 1e3


def _refused(tasks: list[PlannedTask]) -> None:
    try:
        planned(Plan(), tasks)
    except PlanError:
        return
    raise AssertionError("accepted")


def _cpu(job: Callable[[], object], times: int = 20, runs: int = 15) -> float:
    """Milliseconds of one: the best of many short runs, so that what else the machine does counts least."""
    best = float("inf")
    for _ in range(runs):
        began = time.process_time()
        for _ in range(times):
            job()
        best = min(best, (time.process_time() - began) / times)
    return best * 1e3


if __name__ == "__main__":
    print(json.dumps(figures()))
