"""One measurement: a fresh process, its CPU time and memory, and what the model server saw of it."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers import ROOT

PATIENCE = 300
"""Seconds after which a measured process is given up."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How the simulated models talk: the wait before a reply, and into how many pieces it is cut."""

    latency_ms: int = 0
    chunks: int = 8


@dataclass(frozen=True, slots=True)
class Probe:
    """A process to measure. In `argv` and `config`, {url} is the model server's address, {home} a folder for this
    measurement, {config} the file that `config` was written to."""

    name: str
    argv: tuple[str, ...]
    pace: Pace = Pace()
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Server:
    """The model simulator in a process of its own; it ends when its stdin is closed."""

    def __init__(self, pace: Pace) -> None:
        options = ["--latency-ms", str(pace.latency_ms), "--chunks", str(pace.chunks)]
        command = [sys.executable, "-m", "tests.providers", *options]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.url: str = json.loads(self._process.stdout.readline())["base_url"]

    def summary(self) -> dict[str, int]:
        """What it saw since `forget`: calls, connections, bytes."""
        with self._counters("GET") as response:
            return json.load(response)

    def forget(self) -> None:
        self._counters("DELETE").close()

    def close(self) -> None:
        self._process.communicate()

    def _counters(self, method: str) -> Any:
        address = f"{self.url.removesuffix('/v1')}/_requests"
        return urllib.request.urlopen(urllib.request.Request(address, method=method), timeout=10)  # noqa: S310 - loopback


@contextmanager
def servers(paces: Sequence[Pace]) -> Iterator[Mapping[Pace, Server]]:
    running: dict[Pace, Server] = {}
    try:
        for pace in paces:
            running[pace] = Server(pace)
        yield running
    finally:
        for server in running.values():
            server.close()


def measure(probe: Probe, server: Server) -> dict[str, float]:
    """The process's own figures (`process_cpu_s`, `process_wall_s`, `process_rss_mb`), what it printed as JSON, what the
    server saw, and the `files` and `disk_bytes` it left below its home."""
    with tempfile.TemporaryDirectory() as home:
        config = Path(home) / "config.yaml"
        config.write_text(json.dumps(probe.config).replace("{url}", server.url))
        places = {"{url}": server.url, "{home}": home, "{config}": str(config)}
        server.forget()
        figures = _run([_filled(word, places) for word in probe.argv], home)
        config.unlink()
        left = [path.stat().st_size for path in Path(home).rglob("*") if path.is_file()]
        return {**figures, **server.summary(), "files": len(left), "disk_bytes": sum(left)}


def _filled(word: str, places: Mapping[str, str]) -> str:
    for place, value in places.items():
        word = word.replace(place, value)
    return word


def _run(command: Sequence[str], home: str) -> dict[str, float]:
    environment = {**os.environ, "MASSGEN_HOME": home, "OPENAI_API_KEY": "none"}
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=home, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout
    with process.stdout, deadline(process):
        output = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
    wall, process.returncode = time.perf_counter() - start, os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed ({process.returncode}):\n{output[-3000:]}")
    figures = {
        "process_cpu_s": used.ru_utime + used.ru_stime,
        "process_wall_s": wall,
        "process_rss_mb": used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10),
    }
    printed = [line for line in output.splitlines() if line.startswith("{")]
    return {**figures, **(json.loads(printed[-1]) if printed else {})}


@contextmanager
def deadline(process: subprocess.Popen[str]) -> Iterator[None]:
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
