"""Sessions: what it takes to go on with a long one, to record a fact, and to find one of a thousand.

As a program it does one part in an empty folder and prints its figures as JSON. Going on is measured in a process of its
own, to know its memory.
"""

import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import Probe
from benchmarks.scenarios import FAST, TEAM, Figure, Row
from massgen.events import (
    Answered,
    Asked,
    Chosen,
    Fact,
    Member,
    Presented,
    Recorded,
    Retried,
    Said,
    Spent,
    Stopped,
    TurnBegan,
    Voted,
    VotingOpened,
)
from massgen.log import FORMAT, Log, line
from massgen.log.facts_file import scanned
from massgen.messages import Message, Text, ToolResult

HEADER = json.dumps({"massgen": "session log", "format": FORMAT}) + "\n"
NAMES = ("alice", "bob", "carol")
TEAM_OF_3 = tuple(Member(name, "openai", f"model-{name[0]}") for name in NAMES)
WORDS = "The constitution asks for a site in New South Wales, at least 100 miles from Sydney; “Canberra” was it. "


def probes() -> list[Probe]:
    return [
        Probe(f"sessions: {part}", (sys.executable, "-m", "benchmarks.sessions", part, "{home}"), FAST)
        for part in PARTS
    ]


def rows() -> list[Row]:
    return [*_resume_rows(), *_append_rows(), *_find_rows()]


def _resume_rows() -> list[Row]:
    def rows(probe: str, what: str, seconds: float) -> list[Row]:
        figures = {key: Figure(f"sessions: {probe}", key) for key in ("cpu_s", "peak_mb", "file_mb", "parse_s")}
        return [
            Row(f"sessions: to go on with {what}: CPU", "s", figures["cpu_s"], limit=seconds, cpu=True),
            Row("sessions: the same / parsing every line of it as JSON", "x", figures["cpu_s"], figures["parse_s"]),
            Row("sessions: the same: memory / file", "x", figures["peak_mb"], figures["file_mb"], limit=2.5),
        ]

    return [
        *rows("large", "one of 100 MB and 300 questions", 1.0),
        *rows("beside", "one of 300 questions and 100 MB in large texts beside it", 1.0)[:1],
        *rows("million", "one of a million small facts", 4.0),
    ]


def _append_rows() -> list[Row]:
    figures = {key: Figure("sessions: append", key) for key in ("beyond_us", "write_us", "dumps_us")}
    kept = Figure("sessions: recording", "cost_ms")
    return [
        Row("sessions: recording a fact, beyond the bare write: CPU", "µs", figures["beyond_us"], limit=20, cpu=True),
        Row("sessions: the bare write of its bytes: CPU", "µs", figures["write_us"]),
        Row("sessions: `json.dumps` of its fields alone: CPU", "µs", figures["dumps_us"]),
        Row("sessions: recording a run of 7 scripted calls, log on disk / none: CPU", "ms", kept),
        Row("sessions: the same, of the CPU of 7 calls over HTTP", "%", kept, TEAM, 100),
    ]


def _find_rows() -> list[Row]:
    def figure(key: str) -> Figure:
        return Figure("sessions: find", key)

    return [
        Row("sessions: `massgen sessions list` of 1,000, read before: CPU", "s", figure("list_s")),
        Row("sessions: `massgen sessions search` of 1,000, read before: CPU", "s", figure("search_s")),
        Row("sessions: to read 1,000 for the first time: CPU", "s", figure("cold_s")),
        Row("sessions: `massgen --version`, for comparison: CPU", "s", figure("nothing_s")),
    ]


# --- sessions to measure ---


def question(number: int, base: int, said: Iterator[Fact]) -> Iterator[Fact]:
    """A question from the fact `base` + 1 on; `said` are the facts in its middle, of the first agent's turn, `base` + 2."""
    yield Asked(f"What is the capital of the country {number}, and why?", TEAM_OF_3)
    yield from (TurnBegan(name, "answer") for name in NAMES)
    count = 0
    for count, fact in enumerate(said, 1):  # noqa: B007 - how many there were
        yield fact
    answers = [base + 4 + count + place for place in (1, 2, 3)]
    yield from (Answered(name, base + 2 + place, f"{name}: {WORDS}") for place, name in enumerate(NAMES))
    yield VotingOpened("all answered")
    ballot = {f"agent{place}": (seq,) for place, seq in enumerate(answers, 1)}
    yield from (TurnBegan(name, "decide", ballot) for name in NAMES)
    yield from (Voted(name, answers[2] + 2 + place, answers[0], "It says why.") for place, name in enumerate(NAMES))
    yield Chosen(answers[0], {answers[0]: 3}, "consensus")
    yield Presented("alice", None, f"alice: {WORDS}")
    yield Stopped("answered")


def large(turn: int, chars: int) -> Iterator[Fact]:
    """A third of a megabyte from tools, in texts of `chars` characters each."""
    for number in range(320_000 // chars):
        text = (f"<p>{turn}.{number} " + WORDS * (chars // len(WORDS) + 1))[:chars]
        yield Said("alice", turn, Message("tool", (ToolResult(f"call_{number}", text),)))
        yield Spent("alice", turn, "model-a", 812, 120, 0.0021, 1.5)


def written(path: Path, questions: int, said: Callable[[int], Iterator[Fact]]) -> None:
    with Log(path) as log:
        seq = 0
        for number in range(questions):
            for fact in question(number, seq, said(seq + 2)):
                last = log.append(fact).seq
            seq = last


def million(path: Path) -> None:
    """A thousand questions of a thousand facts, most of them of two kinds, which are written once for each turn."""
    seq, at = 0, 1_790_000_000.0
    with path.open("w") as file:
        file.write(HEADER)
        for number in range(1_000):
            kinds = (Retried("alice", seq + 2, "HTTP 429", 1.25), Spent("alice", seq + 2, "model-a", 8, 9, 0.0021, 1.5))
            told = [line(Recorded(0, at, kind)).removeprefix('{"seq":0') for kind in kinds]
            facts = [*question(number, seq, iter((kinds * 492)[:983]))]
            for place, fact in enumerate(facts):
                rest = told[place % 2] if 4 <= place < 987 else line(Recorded(0, at, fact)).removeprefix('{"seq":0')
                file.write(f'{{"seq":{seq + place + 1}{rest}\n')
            seq += len(facts)


def _large(home: Path) -> Mapping[str, float]:
    written(home / "events.jsonl", 300, lambda turn: large(turn, 30_000))
    return resumed_apart(home)


def _beside(home: Path) -> Mapping[str, float]:
    written(home / "events.jsonl", 300, lambda turn: large(turn, 160_000))
    return resumed_apart(home)


def _million(home: Path) -> Mapping[str, float]:
    million(home / "events.jsonl")
    return resumed_apart(home)


def resumed_apart(home: Path) -> Mapping[str, float]:
    command = [sys.executable, "-m", "benchmarks.sessions", "resume", str(home)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def _resume(home: Path) -> Mapping[str, float]:
    """What a run does before it asks anyone: opens the log, and finds where it stands."""
    from massgen.resuming import memories, standing

    path = home / "events.jsonl"
    began = time.process_time()
    with Log(path) as log:
        state = standing(log.facts)
        memories(state, log.facts)
        cpu, count = time.process_time() - began, len(log.facts)
    assert len(state.history) >= 299, "it is another session"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    size = sum(each.stat().st_size for each in home.rglob("*") if each.is_file())
    began = time.process_time()
    with path.open("rb") as file:
        parsed = sum(1 for raw in file if json.loads(raw))
    assert parsed == count + 1
    return {"cpu_s": cpu, "peak_mb": peak, "file_mb": size / 2**20, "parse_s": time.process_time() - began}


# --- recording, and finding ---


def _append(home: Path) -> Mapping[str, float]:
    """Of the facts of a model call that streamed a short text, the best of five rounds."""
    facts: list[Fact] = [
        Said("alice", 2, Message("assistant", (Text(WORDS * 5),))),
        Spent("alice", 2, "model-a", 812, 120, 0.0021, 1.5),
        Retried("alice", 2, "HTTP 429 from api.example.org", 1.25),
    ]
    encoder = json.JSONEncoder(ensure_ascii=False)
    fields = [json.loads(line(Recorded(1, 1_790_000_000.0, fact))) for fact in facts]
    raw = [line(Recorded(1_000, 1_790_000_000.0, fact)).encode() + b"\n" for fact in facts]
    bare = os.open(home / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with Log(home / "events.jsonl") as log:
        ours, write, dumps = (
            [best(do, each) for each in items]
            for do, items in ((log.append, facts), (lambda data: os.write(bare, data), raw), (encoder.encode, fields))
        )
    os.close(bare)
    means = [sum(each) / len(facts) for each in (ours, write, dumps)]
    return {"beyond_us": means[0] - means[1], "write_us": means[1], "dumps_us": means[2]}


def best(do: Callable[[Any], object], item: Any, times: int = 3_000, rounds: int = 5) -> float:
    """Microseconds of CPU."""
    spans: list[float] = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(times):
            do(item)
        spans.append(time.process_time() - began)
    return min(spans) / times * 1e6


class Unrecorded(Log):
    """Numbers facts, and writes none."""

    def __init__(self, path: Path) -> None:
        self.path, self.facts, self._count = path, scanned(HEADER.encode(), path), 0

    def append_all(self, facts: Any) -> list[Recorded]:
        self._count += len(facts)
        return [Recorded(self._count - len(facts) + place, 0.0, fact) for place, fact in enumerate(facts, 1)]

    def close(self) -> None:
        """Nothing is held."""


def _recording(home: Path) -> Mapping[str, float]:
    """A team of three whose models answer at once: with a log on disk, and without; runs of both by turns."""
    kept, bare = (sorted(spans) for spans in zip(*(_pair(home / str(number)) for number in range(60)), strict=True))
    return {"cost_ms": (kept[len(kept) // 2] - bare[len(bare) // 2]) * 1e3}


def _pair(home: Path) -> tuple[float, float]:
    return _run(Log(home / "events.jsonl")), _run(Unrecorded(home))


def _run(log: Log) -> float:
    from massgen.coordination import Rules
    from massgen.orchestrator import Orchestrator
    from tests.stage import actors, agents, play

    team = agents(dict(zip(NAMES, actors((), (), ()).values(), strict=True)))
    began = time.process_time()
    with log:
        state = play(Orchestrator(team, log, Rules(), dice=random.Random(1)).run(Asked("Why?", TEAM_OF_3)))
    assert state.presented, "it came to no answer"
    return time.process_time() - began


def _find(home: Path) -> Mapping[str, float]:
    from massgen import sessions

    for number in range(1_000):
        path = sessions.folder() / f"20261121-{number:06}-abcdef" / sessions.LOG_NAME
        path.parent.mkdir(parents=True)
        facts = question(number, 0, iter([Spent("alice", 2, "model-a", 812, 120, 0.0021, 1.5)]))
        lines = [line(Recorded(seq, 1_790_000_000.0 + number, fact)) for seq, fact in enumerate(facts, 1)]
        path.write_text(HEADER + "".join(f"{each}\n" for each in lines))
    words = {"cold_s": ("sessions", "list"), "list_s": ("sessions", "list")}
    words |= {"search_s": ("sessions", "search", "canberra"), "nothing_s": ("--version",)}
    return {key: command(*said) for key, said in words.items()}


def command(*words: str) -> float:
    """Seconds of CPU of a whole command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "massgen", *words], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


PARTS: Mapping[str, Callable[[Path], Mapping[str, float]]] = {
    "large": _large,
    "beside": _beside,
    "million": _million,
    "append": _append,
    "recording": _recording,
    "find": _find,
}

if __name__ == "__main__":
    print(json.dumps({**PARTS, "resume": _resume}[sys.argv[1]](Path(sys.argv[2]))))
