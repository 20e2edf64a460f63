"""A team on the embedded model, whose file is there, against the model's runtime alone making the same calls."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import Probe, measure, servers
from benchmarks.peers import FLOWS
from benchmarks.scenarios import FAST

LIMIT = 1.3
AGENTS = 3
ROUNDS = 3


def local_model() -> list[dict[str, Any]]:
    from massgen.models import ensure

    model = ensure("")
    os.environ["MASSGEN_LOCAL_MODEL"] = str(model)  # each measured process has an empty home
    with tempfile.TemporaryDirectory() as folder, servers([FAST]) as running:
        job = {"calls": str(Path(folder) / "calls.json"), "model": str(model), "agents": AGENTS, "home": "{home}"}
        probes = [_probe(script, job) for script in ("with_local.py", "with_runtime.py")]
        walls = [[measure(probe, running[FAST])["process_wall_s"] for probe in probes] for _ in range(ROUNDS)]
    team, runtime = (min(column) for column in zip(*walls, strict=True))
    what = f"{AGENTS} agents on the embedded model, start to answer: wall time"
    ratio = {"value": team / runtime, "unit": "x", "limit": LIMIT, "met": team / runtime <= LIMIT}
    return [{"what": what, "value": team, "unit": "s"}, {"what": f"{what} / its runtime alone", **ratio}]


def _probe(script: str, job: dict[str, Any]) -> Probe:
    return Probe(script, (sys.executable, str(FLOWS / script), json.dumps(job)))
