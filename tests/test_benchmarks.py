"""That what `make bench` runs still runs: each flow once, by what the development environment has."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from benchmarks.measure import Pace, Probe, Server, measure
from benchmarks.peers import PEERS, Peer
from benchmarks.scenarios import flow, probes


def once(probe: Probe) -> Probe:
    """`probe` with one run, of which nothing is measured, against models that do not wait."""
    program, script, job = probe.argv
    given = {**json.loads(job), "flows": 1, "warmup": 0, "agents": 3}
    return replace(probe, argv=(program, script, json.dumps(given)), pace=Pace())


def flows() -> Iterator[Probe]:
    """One of each script that we run."""
    here = [
        probe for probe in probes(public=False) if probe.argv[0] == sys.executable and probe.argv[1].endswith(".py")
    ]
    peers = [flow(peer.name, Peer(peer.name, peer.script)) for peer in PEERS if peer.name in ("aiohttp", "openai")]
    yield from {(probe.argv[1], "litellm" in probe.argv[2]): probe for probe in [*here, *peers]}.values()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server(Pace())
    yield running
    running.close()


@pytest.mark.parametrize("probe", [pytest.param(once(each), id=each.name) for each in flows()])
def test_a_flow_makes_the_seven_calls_of_a_run(server: Server, probe: Probe) -> None:
    figures = measure(probe, server)
    assert figures["cpu_ms"] > 0
    assert figures["calls"] == (14 if probe.name == "litellm again" else 7)  # that one first looks what a run sends
