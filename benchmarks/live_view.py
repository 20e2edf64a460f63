"""What following a run costs: ten agents that stream 50 chunks a second each into a terminal of 140 x 40, as a share of one core.

The same stream without a view, the view's own bytes written by a bare loop, and the table that one would draw with `rich`
alone are measured beside it. `python -m benchmarks.live_view` prints the figures.
"""

import fcntl
import json
import os
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers import ROOT

AGENTS, CHUNKS, SECONDS, COLUMNS, ROWS = 10, 50, 6, 140, 40
END = b"\x1b[?2026l"
TEXT = "The constitution of 1901 asks for a site in New South Wales, at least 100 miles from Sydney.\n" * 6


def live_view(slowness: float = 1.0) -> list[dict[str, Any]]:
    """Rows of the table; the target counts for the reference machine, which is `slowness` times as fast."""
    with tempfile.TemporaryDirectory() as home:
        recording = Path(home) / "updates"
        idle = measure("none")[0]
        share, written = measure("ours")
        recording.write_bytes(written)
        bare, peer = measure("bare", str(recording))[0], measure("rich")[0]
    limit = 5 * slowness
    what = f"live view, {AGENTS} agents at {CHUNKS} chunks/s"
    return [
        row(f"{what}: CPU", "% of a core", share - idle, limit=limit, met=share - idle <= limit),
        row("its bytes written by a bare loop: CPU", "% of a core", bare),
        row("the same table by `rich.live` alone: CPU", "% of a core", peer - idle),
        row("live view: updates", "per s", written.count(END) / SECONDS),
        row("live view: written", "kB/s", len(written) / SECONDS / 1e3),
    ]


def row(what: str, unit: str, value: float, **judged: Any) -> dict[str, Any]:
    return {"what": what, "unit": unit, "value": value, **judged}


def measure(mode: str, *arguments: str) -> tuple[float, bytes]:
    """The CPU of a process that plays `mode` on a terminal, in percent of a core, and what it wrote there."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    written = bytearray()
    reader = threading.Thread(target=_drain, args=(ours, written))
    reader.start()
    command = [sys.executable, "-m", "benchmarks.live_view", mode, *arguments]
    terminal = {"TERM": "xterm-256color", "PYTHONUTF8": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **terminal}, stdout=subprocess.PIPE, stderr=theirs, check=True
    )
    os.close(theirs)
    reader.join()
    os.close(ours)
    return json.loads(done.stdout), bytes(written)


def _drain(terminal: int, into: bytearray) -> None:
    try:
        while data := os.read(terminal, 65536):
            into += data
    except OSError:  # its last writer has gone
        return


def play(mode: str, recording: str = "") -> float:
    """Runs in a process of its own, with the terminal as stderr; returns its CPU in percent of a core."""
    if mode == "bare":
        updates = Path(recording).read_bytes().split(END)
        pace = SECONDS / len(updates)
        return _spent(len(updates), pace, lambda number: os.write(2, updates[number] + END))
    if mode == "rich":
        return _by_rich()
    from massgen.display import open_display
    from massgen.messages import TextDelta
    from tests.facts import answering

    run, began = answering(AGENTS), time.time()
    with open_display(
        "auto" if mode == "ours" else "none", sys.stderr, clock=lambda: run.at + time.time() - began
    ) as view:
        for fact in run.facts:
            view.fact(fact)

        def stream(number: int) -> None:
            for agent in run.names:
                view.delta(agent, TextDelta(piece(number)))

        return _spent(SECONDS * CHUNKS, 1 / CHUNKS, stream)


def piece(number: int) -> str:
    """Six characters: about a token."""
    start = 6 * number % len(TEXT)
    return TEXT[start : start + 6]


def _by_rich() -> float:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from tests.facts import NAMES

    texts = dict.fromkeys(NAMES, "")

    def table() -> Table:
        drawn = Table("agent", "status", "says", width=COLUMNS)
        for agent, text in texts.items():
            drawn.add_row(agent, "thinking", text[-100:].replace("\n", " "))
        return drawn

    def stream(number: int) -> None:
        for agent in texts:
            texts[agent] = (texts[agent] + piece(number))[-4_000:]

    with Live(get_renderable=table, console=Console(stderr=True), refresh_per_second=8):
        return _spent(SECONDS * CHUNKS, 1 / CHUNKS, stream)


def _spent(times: int, pace: float, do: Callable[[int], Any]) -> float:
    """The CPU share of doing it `times` times, every `pace` seconds."""
    began, used = time.perf_counter(), time.process_time()
    for number in range(times):
        do(number)
        time.sleep(max(0.0, began + (number + 1) * pace - time.perf_counter()))
    return 100 * (time.process_time() - used) / (time.perf_counter() - began)


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(play(*sys.argv[1:])))
    else:
        for each in live_view():
            print(f"{each['what']}: {each['value']:.2f} {each['unit']}")
