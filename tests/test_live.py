"""The live view on a real terminal: a pseudo-terminal that a program draws on and `pyte` reads as a person would."""

import contextlib
import fcntl
import io
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest
from pyte.modes import DECAWM as WRAPS

from massgen.display import Display, PlainView, Steady, open_display
from massgen.display.frame import UNICODE
from massgen.display.live import BACKLOG, LiveView
from massgen.messages import TextDelta
from tests.facts import START, answering, whole

ROOT = Path(__file__).parent.parent


END = b"\x1b[?2026l"
"""Ends an update that a terminal shows at once, however many reads it takes."""
BEGUN = re.compile(rb"\x1b(?:\[\?2026h|[^a-zA-Z]*\Z)")
"""The start of such an update, or what may become one."""
HOSTILE = (
    "\x1b[2J\x1b[1;1Hhome \x1b]0;owned\x07 \x9b31mC1 \u202egnp.exe\u202c \u2066isolated\u2069 \x1b[?1049h\x1b[?7h\x0e bell\x07 "
    "日本語の文字が続きます。 שלום עולם، مرحبا بالعالم e\u0301\u0323 \U0001f468\u200d\U0001f469\u200d\U0001f467\U0001f44d\U0001f3fd end"
)
PHASES = ("summarising", "answering", "voting", "presenting", "done")


class Screen(pyte.Screen):
    """`pyte` drops what follows a character without width; a terminal does not. It counts emoji one by one, as many do."""

    def draw(self, data: str) -> None:
        super().draw(re.sub("[\u200c-\u200f\u2066-\u2069]", "", data))


class Person:
    """Someone in front of a terminal of `columns` x 24."""

    def __init__(self, columns: int) -> None:
        self.screen = Screen(columns, 24)
        self._reader = pyte.ByteStream(self.screen)
        self.master, self.tty = os.openpty()
        self.raw = b""
        self._held = b""
        """The update that has begun to arrive."""
        self.seen: list[str] = []
        """The screen after each update."""
        self.resize(columns)

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self.tty, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.screen.resize(24, columns)

    @property
    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self.screen.display).rstrip()

    @property
    def has_its_terminal_back(self) -> bool:
        return not self.screen.cursor.hidden and WRAPS in self.screen.mode

    def sees(self, what: str | Callable[[str], bool]) -> str:
        """Wait until the screen shows it, for five seconds at most; returns the screen."""
        seen = what if callable(what) else lambda text: what in text
        deadline = time.monotonic() + 5
        while not seen(self.text):
            assert time.monotonic() < deadline, f"never saw it; the screen is:\n{self.text}"
            self._read(0.2)
        return self.text

    def reads_all(self) -> str:
        while self._read(0.2):
            pass
        return self.text

    def _read(self, patience: float) -> bool:
        if not select.select([self.master], [], [], patience)[0]:
            return False
        data = os.read(self.master, 256)  # less than a frame, as a slow line brings it
        self.raw += data
        *updates, rest = (self._held + data).split(END)
        for update in updates:
            self._reader.feed(update + END)
            self.seen.append(self.text)
        held = BEGUN.search(rest)
        start = held.start() if held else len(rest)
        self._reader.feed(rest[:start])
        self._held = rest[start:]
        return True

    def leave(self) -> None:
        for fd in (self.master, self.tty):
            with contextlib.suppress(OSError):
                os.close(fd)


@pytest.fixture
def person() -> Iterator[Person]:
    someone = Person(80)
    yield someone
    someone.leave()


def is_whole(screen: str) -> bool:
    """Whether it is one frame from its first line to its last, or what remains of it after the run."""
    first, *rows = screen.splitlines()
    foot = "".join(rows[max((n for n, row in enumerate(rows) if row.startswith("──")), default=0) :]).lstrip("─")
    return first.startswith("massgen ") and (
        foot.startswith(PHASES) or all(row[0] in f"{UNICODE.moods}+" for row in rows)
    )


def play(
    stderr: int, count: int = 3, streams: str = "considering the evidence", *arguments: str, **env: str
) -> subprocess.Popen[str]:
    environ = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.play", str(count), streams, *arguments],
        cwd=ROOT,
        env={**environ, "TERM": "xterm-256color", "PYTHONUTF8": "1", **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def finish(program: subprocess.Popen[str], line: str = "go on\n") -> str:
    return program.communicate(line, timeout=8)[0]


def test_a_person_follows_the_run_and_keeps_its_last_frame(person: Person) -> None:
    with play(person.tty) as program:
        screen = person.sees("considering the evidence")
        assert screen.splitlines()[:4] == [
            "massgen What is the capital of Australia, and why is it not Sydney?",
            "─" * 80,
            "▸ alice model-a          │ ▸ bob model-b            │ ● carol model-c",
            "voted for alice          │ voted for alice          │ thinking 0 s",
        ]
        assert "votes: alice 2" in screen
        assert person.screen.cursor.hidden
        assert finish(program) == "the final answer\n"
    assert person.reads_all().splitlines() == [
        "massgen What is the capital of Australia, and why is it not Sydney?",
        "★ alice won              3 votes  1.5 s  360 tokens  Canberra. It was founded i…",
        "▸ bob   voted for alice           0.8 s  240 tokens  it names the compromise",
        "▸ carol voted for alice           1.2 s  240 tokens  it names the compromise",
        "Chosen: alice (votes: alice 3)",
        "7 model calls, 5,684 tokens in, 840 out, $0.0147, 7.2 s, session 20260101-demo",
    ]
    assert person.has_its_terminal_back


@pytest.mark.parametrize("count", [1, 3, 10, 50])
def test_a_terminal_never_shows_less_than_a_whole_frame(person: Person, count: int) -> None:
    with play(person.tty, count) as program:
        person.sees("considering the evidence" if count > 1 else "alice")
        finish(program)
    person.reads_all()
    recorded = person.raw.split(END)
    assert all(re.fullmatch(rb"\x1b\[\?2026h\x1b\[\?7l.*\x1b\[\?7h", update, re.DOTALL) for update in recorded[:-1])
    assert recorded[-1].startswith(b"Chosen: a")
    shown = [screen for screen in person.seen if screen]
    assert len(shown) > 1
    assert all(map(is_whole, shown)), shown


def test_the_view_follows_the_terminal_to_twenty_columns_and_back(person: Person) -> None:
    with play(person.tty) as program:
        wide = person.sees("considering the evidence")
        person.resize(20)
        screen = person.sees("▸ bob   voted alice")
        assert screen.splitlines()[0] == "massgen What is the…"
        assert screen.count("massgen") == 1
        person.resize(80)
        assert person.sees("voted for alice          │ voted for alice").splitlines() == wide.splitlines()
        finish(program)
    assert "Chosen: alice" in person.reads_all()
    assert person.has_its_terminal_back


def test_ten_agents_are_a_row_each(person: Person) -> None:
    with play(person.tty, 10) as program:
        person.sees("● judy  thinking 2 s                     120 tokens  considering the evidence")
        finish(program)


def test_of_fifty_agents_those_at_work_are_seen_and_the_others_counted(person: Person) -> None:
    with play(person.tty, 50) as program:
        screen = person.sees("considering the evidence")
        assert "+32 more: 25 voted, 7 thinking" in screen
        assert "agent26" in screen
        assert "▸" not in screen
        finish(program)
    assert person.reads_all().splitlines()[1].startswith("★ agent1  won               50 votes")


@pytest.mark.parametrize("count", [1, 3, 5, 10])
def test_whatever_agents_stream_the_frame_stays_in_place(person: Person, count: int) -> None:
    with play(person.tty, count, streams=HOSTILE) as program:
        screen = person.sees(" end" if count > 1 else "alice")
        if count == 3:
            rows = range(2, len(screen.splitlines()) - 2)
            assert len(rows) > 6
            assert all(person.screen.buffer[y][x].data == "│" for y in rows for x in (25, 52))
        finish(program)
    person.reads_all()
    nothing_steered(person)


@pytest.mark.parametrize("count", [3, 10])
def test_whatever_agents_answer_or_fail_with_the_frame_stays_in_place(person: Person, count: int) -> None:
    with play(person.tty, count, HOSTILE, "everywhere") as program:
        screen = person.sees("failed: home")
        assert "retrying in 1 m 00 s:" in screen
        finish(program)
    assert "Chosen: alice" in person.reads_all()
    nothing_steered(person)


def nothing_steered(person: Person) -> None:
    assert all(is_whole(screen) for screen in person.seen if screen), person.seen
    assert person.screen.title == ""
    assert person.has_its_terminal_back
    assert not re.search("\x1b\\]|\x07|[\x80-\x9f\u202a-\u202e\u2066-\u2069]", person.raw.decode())


def test_what_others_write_to_stderr_appears_above_the_view(person: Person) -> None:
    with play(person.tty) as program:
        person.sees("considering the evidence")
        assert program.stdin
        program.stdin.write("a warning\n")
        program.stdin.flush()
        screen = person.sees(lambda text: text.startswith("a warning") and "voted for" in text)
        assert screen.count("massgen") == 1
        finish(program)


def test_ctrl_c_gives_the_terminal_back_with_the_last_frame(person: Person) -> None:
    with play(person.tty) as program:
        person.sees("considering the evidence")
        program.send_signal(signal.SIGINT)
        assert finish(program, "") == ""
    screen = person.reads_all()
    assert "▸ bob   voted for alice" in screen
    assert "No answer was chosen: interrupted" in screen
    assert person.has_its_terminal_back


def test_a_crash_gives_the_terminal_back_too(person: Person) -> None:
    with play(person.tty) as program:
        person.sees("considering the evidence")
        assert finish(program, "crash\n") == ""
    screen = person.reads_all()
    assert screen.index("No answer was chosen") < screen.index("RuntimeError: the program is at fault")
    assert person.has_its_terminal_back


def test_no_color_is_respected(person: Person) -> None:
    with play(person.tty, NO_COLOR="1") as program:
        person.sees("considering the evidence")
        finish(program)
    person.reads_all()
    assert b"\x1b[1m" in person.raw
    assert b"\x1b[3" not in person.raw


@pytest.mark.parametrize("env", [{}, {"COLORTERM": "truecolor"}])
def test_named_colours_are_used_where_colour_is_welcome(person: Person, env: dict[str, str]) -> None:
    with play(person.tty, **env) as program:
        person.sees("considering the evidence")
        finish(program)
    assert b"\x1b[36m" in person.raw  # cyan, as the terminal's theme has it
    assert not re.search(rb"\x1b\[[\d;]*(?:[34]8;|[14]0?[0-7]m)", person.raw.replace(b"\x1b[1m", b""))


def test_a_terminal_without_utf8_gets_ascii(person: Person) -> None:
    with play(person.tty, LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii") as program:
        person.sees("considering the evidence")
        finish(program)
    person.reads_all()
    assert person.raw.isascii()
    assert "> bob   voted for alice  " in person.text


def test_a_dumb_terminal_gets_lines_without_control_sequences(person: Person) -> None:
    with play(person.tty, streams=HOSTILE, TERM="dumb") as program:
        finish(program)
    assert "chosen: alice (3 of 3 votes)" in person.reads_all()
    assert b"\x1b" not in person.raw


def test_a_terminal_that_goes_away_does_not_end_the_run(person: Person) -> None:
    with play(person.tty) as program:
        person.sees("considering the evidence")
        person.leave()
        assert finish(program) == "the final answer\n"
    assert program.returncode == 0


@pytest.mark.parametrize("sink", ["broken pipe", "full disk"])
def test_stderr_that_takes_nothing_does_not_end_the_run(sink: str) -> None:
    if sink == "full disk":
        stderr = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, stderr = os.pipe()
        os.close(reader)
    with play(stderr) as program:
        os.close(stderr)
        assert finish(program) == "the final answer\n"
    assert program.returncode == 0


class Tty(io.StringIO):
    """A terminal of unknown size."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError("no file")


def test_a_terminal_of_unknown_size_counts_as_80_by_24(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    person = Person(80)
    fcntl.ioctl(person.tty, termios.TIOCSWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
    with os.fdopen(os.dup(person.tty), "w") as stream:
        assert Steady(stream).size() == (80, 24)
    person.leave()


def test_an_error_in_drawing_is_raised_where_the_log_can_note_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Tty()
    stray = answering(1).begin("answer", ["nobody"]).facts[-1]
    deadline = time.monotonic() + 5

    def record(display: Display) -> None:
        while time.monotonic() < deadline:
            display.fact(stray)

    with open_display("auto", stream, clock=lambda: START) as display, pytest.raises(KeyError, match="nobody"):
        record(display)
    assert "No answer was chosen" in stream.getvalue()


def test_of_what_a_stalled_terminal_cannot_show_only_the_facts_are_kept() -> None:
    stream = Tty()
    run = answering(1)
    begun = len(run.facts)
    run.retry("alice", "HTTP 429", 60)
    view = LiveView(Steady(stream), clock=lambda: run.at)
    for recorded in run.facts[:begun]:
        view.fact(recorded)
    for chunk in [TextDelta("a")] * BACKLOG + [TextDelta("\N{SNOWMAN}")]:
        view.delta("alice", chunk)
    view.fact(run.facts[-1])
    with view:
        pass
    assert "\N{SNOWMAN}" not in stream.getvalue()
    assert "retrying in 1 m 00 s: HTTP 429" in stream.getvalue()


def test_plain_lines_are_asked_for_or_chosen_for_what_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(open_display("plain", Tty()), PlainView)
    assert isinstance(open_display("auto", io.StringIO()), PlainView)
    assert isinstance(open_display("auto", Tty()), LiveView)


def test_the_plain_view_does_not_load_rich() -> None:
    code = (
        "import sys, io; from massgen.display import open_display\n"
        "with open_display('auto', io.StringIO()): pass\n"
        "sys.exit(any(name.startswith('rich') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_whole_run_through_a_view_that_nobody_sees_ends_in_its_summary() -> None:
    stream = Tty()
    run = whole(1)
    with LiveView(Steady(stream), clock=lambda: run.at) as view:
        for recorded in run.facts:
            view.fact(recorded)
    assert "Chosen: alice (single agent)" in stream.getvalue()
