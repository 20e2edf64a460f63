"""What is measured, and what we hold ourselves to."""

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.measure import Pace, Probe
from benchmarks.peers import FLOWS, PEERS, PUBLIC, RAW, Peer

Results: TypeAlias = Mapping[str, Sequence[Mapping[str, float]]]
"""Probe -> its figures, a mapping for every round."""

FAST, SLOW, LONG = Pace(), Pace(latency_ms=200), Pace(chunks=10_000)
CRITICAL_PATH_MS = 3 * SLOW.latency_ms
"""Answers, votes and the final answer, each as long as one reply."""


def flow(name: str, peer: Peer, pace: Pace = FAST, **job: int | str) -> Probe:
    """Whole runs in one process: `flows` of them by `agents` agents, after `warmup` that are not counted."""
    given = {"base_url": "{url}", "agents": 3, "flows": 20, "warmup": 3, **job}
    return Probe(name, (str(peer.python), str(FLOWS / peer.script), json.dumps(given)), pace)


def ours(name: str, pace: Pace = FAST, *, backend: str = "chatcompletion", **job: int | str) -> Probe:
    return flow(name, Peer("massgen", "with_ours.py"), pace, type=backend, **job)


def command(name: str, *words: str, agents: int = 0) -> Probe:
    backends = [{"type": "chatcompletion", "model": f"m{n}", "base_url": "{url}"} for n in range(1, agents + 1)]
    config = {"agents": [{"backend": backend} for backend in backends]}
    return Probe(name, (sys.executable, "-m", "massgen", *words), FAST, config)


def probes(*, public: bool) -> list[Probe]:
    peers = [*PEERS, PUBLIC] if public else PEERS
    return [
        *(flow(peer.name, peer, flows=100 if peer is RAW else 10 if peer is PUBLIC else 20) for peer in peers),
        command("help", "--help"),
        command("command", "--config", "{config}", "--no-display", "What is the capital of France?", agents=3),
        ours("team of 3"),
        ours("team of 100", agents=100, flows=3, warmup=1),
        ours("one long reply", LONG, agents=1, flows=5, warmup=1),
        ours("3 at 200 ms", SLOW, flows=3, warmup=1),
        ours("30 at 200 ms", SLOW, agents=30, flows=3, warmup=1),
        ours("200 runs", flows=200, warmup=20),
        ours("gateway", backend="litellm", prefix="openai/"),
        flow("litellm again", Peer("massgen", "with_litellm_again.py")),
        *(flow(f"rawsock, {agents} at 200 ms", RAW, SLOW, agents=agents, flows=3, warmup=1) for agents in (3, 30)),
    ]


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of one probe over all rounds: the median, or where `best` the smallest."""

    probe: str
    key: str
    best: bool = False

    def of(self, results: Results) -> float:
        values = [figures[self.key] for figures in results[self.probe]]
        return min(values) if self.best else statistics.median(values)


TEAM = Figure("team of 3", "cpu_ms")


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: `figure`, divided by `over`, times `scale`. `limit` is the most it may be."""

    what: str
    unit: str
    figure: Figure
    over: Figure | None = None
    scale: float = 1.0
    limit: float | None = None
    beside: Figure | None = None
    """What to show the figure's ratio to."""
    exact: bool = False
    """Whether it must be `limit`, no less."""
    cpu: bool = False
    """Whether `limit` is CPU time on the reference machine: on a slower one it is as much more."""

    def value(self, results: Results) -> float:
        return self.figure.of(results) * self.scale / (self.over.of(results) if self.over else 1.0)

    def ratio(self, results: Results) -> float | None:
        return self.figure.of(results) / self.beside.of(results) if self.beside else None

    def bound(self, results: Results) -> float | None:
        """`limit` as it is for this machine."""
        return self.limit and self.limit * (slowness(results) if self.cpu else 1.0)


def slowness(results: Results) -> float:
    """How much slower than the reference machine this one is now, at least 1: there, `rawsock` took 1 ms of CPU for the 7 calls."""
    return max(1.0, Figure(RAW.name, "cpu_ms").of(results))


def rows(*, public: bool) -> list[Row]:
    peers = [*PEERS, PUBLIC] if public else PEERS
    return [
        Row("7 calls of a team of 3, log on disk: CPU", "ms", TEAM, limit=8, beside=TEAM, cpu=True),
        *(Row(f"7 calls with {peer.name}: CPU", "ms", Figure(peer.name, "cpu_ms"), beside=TEAM) for peer in peers),
        Row("7 calls through the gateway: CPU", "ms", Figure("gateway", "cpu_ms"), beside=TEAM),
        Row("the same calls with bare litellm: CPU", "ms", Figure("litellm again", "cpu_ms"), beside=TEAM),
        Row("gateway / bare litellm: CPU", "x", Figure("gateway", "cpu_ms"), Figure("litellm again", "cpu_ms"), limit=1.1),
        Row(
            "a call among 100 agents / among 3: CPU", "x", Figure("team of 100", "cpu_ms"), TEAM, 7 / 201, limit=1.2
        ),
        Row("a chunk of a reply of 10,000: CPU", "µs", Figure("one long reply", "cpu_ms"), scale=0.1, limit=20, cpu=True),
        *(row for agents, limit in ((3, 1.02), (30, 1.08)) for row in walls(agents, limit)),
        Row("`massgen --help`: CPU", "s", Figure("help", "process_cpu_s"), limit=0.15, cpu=True),
        *command_rows(),
        Row("memory a run leaves behind, of 200", "kB", Figure("200 runs", "rss_kb"), limit=20),
    ]  # fmt: skip


def walls(agents: int, limit: float) -> list[Row]:
    """Ours, and the least that is possible here."""
    what = f"{agents} agents, replies after 200 ms: wall time / critical path"
    ours, least = (Figure(f"{who}{agents} at 200 ms", "wall_ms", best=True) for who in ("", "rawsock, "))
    scale = 1 / CRITICAL_PATH_MS
    return [Row(what, "x", ours, scale=scale, limit=limit), Row("the same with rawsock", "x", least, scale=scale)]


def command_rows() -> list[Row]:
    """The whole command with 3 agents, from the shell to the answer."""
    limits = (
        ("CPU", "s", "process_cpu_s", 1.0, 0.35),
        ("memory", "MB", "process_rss_mb", 1.0, 60),
        ("model calls", "", "calls", 1.0, 7),
        ("connections", "", "connections", 1.0, 3),
        ("prompts sent", "kB", "bytes", 1e-3, 12),
        ("files left", "", "files", 1.0, 6),
        ("bytes left", "kB", "disk_bytes", 1e-3, 30),
    )
    return [
        Row(
            f"`massgen --config` with 3 agents: {what}",
            unit,
            Figure("command", key),
            scale=scale,
            limit=limit,
            cpu=what == "CPU",
        )
        for what, unit, key, scale, limit in limits
    ]
