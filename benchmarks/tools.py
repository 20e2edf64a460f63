"""Tools of MCP servers: what a call takes beside one by mcp's bare client, and how long five servers need to start."""

import sys

from benchmarks.measure import Probe
from benchmarks.peers import FLOWS
from benchmarks.scenarios import Figure, Row

_CALLS, _STARTS = "tools calls", "tools starts"


def probes() -> list[Probe]:
    script = str(FLOWS / "tool_calls.py")
    return [Probe(_CALLS, (sys.executable, script, "calls")), Probe(_STARTS, (sys.executable, script, "starts"))]


def rows() -> list[Row]:
    ours, bare = Figure(_CALLS, "ours_ms"), Figure(_CALLS, "bare_ms")
    return [
        Row("a tool of an MCP server is called: by mcp's bare client, p50", "ms", bare),
        Row("the same by an agent's toolbox, p50", "ms", ours),
        Row("the toolbox beside the bare client", "times", ours, over=bare, limit=1.2),
        Row(
            "five MCP servers start, beside the slowest of them",
            "times",
            Figure(_STARTS, "ratio", best=True),
            limit=1.2,
        ),
    ]
