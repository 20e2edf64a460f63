"""Checking a configuration of 50 agents: the whole command, and validation itself."""

import sys
from typing import Any

from benchmarks.measure import Probe
from benchmarks.peers import FLOWS
from benchmarks.scenarios import FAST, Figure, Row


def probes() -> list[Probe]:
    return [
        Probe("validate", (sys.executable, "-m", "massgen", "config", "validate", "{config}"), FAST, team()),
        Probe("validation", (sys.executable, str(FLOWS / "validation.py"), "{config}"), FAST, team()),
    ]


def team(agents: int = 50) -> dict[str, Any]:
    """Every agent with what people set."""
    settings = {"type": "gemini", "model": "gemini-3-flash-preview", "enable_web_search": True, "temperature": 0.7}
    told = {"role": "critic", "system_message": "Be brief. Name your sources."}
    team = [{"id": f"agent_{number}", "backend": settings, **told} for number in range(agents)]
    return {"agents": team, "ui": {"display_type": "simple"}, "orchestrator": {"voting_sensitivity": "strict"}}


def rows() -> list[Row]:
    what = "a file of 50 agents: CPU"
    return [
        Row(f"`massgen config validate`, {what}", "s", Figure("validate", "process_cpu_s"), limit=0.25, cpu=True),
        Row(f"validation itself, {what}", "ms", Figure("validation", "validate_ms"), limit=20, cpu=True),
    ]
