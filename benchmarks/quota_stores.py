"""Limits that processes share: what reserving a call and acknowledging it takes, whatever the call's tokens."""

import sys

from benchmarks.measure import Probe
from benchmarks.peers import FLOWS
from benchmarks.scenarios import Figure, Row
from tests.redis_server import PROGRAM

STORES = {"sqlite": ("a SQLite file", 0.5), "redis": ("Redis", 1.0)}
"""The most it may take, in milliseconds."""


def _measured() -> list[tuple[str, int]]:
    """Redis where its server is installed."""
    return [(store, count) for store in STORES if store != "redis" or PROGRAM for count in (2, 4)]


def probes() -> list[Probe]:
    script = str(FLOWS / "quota_store.py")
    return [Probe(f"quotas {store} {n}", (sys.executable, script, store, str(n))) for store, n in _measured()]


def rows() -> list[Row]:
    return [
        Row(
            f"{count} processes share limits through {STORES[store][0]}: acquire + ack, p50",
            "ms",
            Figure(f"quotas {store} {count}", "p50_ms", best=True),
            limit=STORES[store][1],
            cpu=True,
        )
        for store, count in _measured()
    ]
