"""The interactive mode: what a line means, what is kept of it, how it is edited, and a conversation from greeting to parting."""

import asyncio
import fcntl
import io
import json
import os
import re
import signal
import stat
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import pyte
import pytest
from prompt_toolkit.input import create_input

from massgen import sessions
from massgen.commands.interactive import interact
from massgen.commands.interactive_editor import Editor, drawn_on
from massgen.commands.interactive_history import MAX_BYTES, MAX_ENTRIES, MAX_ENTRY, Past
from massgen.commands.interactive_input import MAX_BYTES as TYPED_BYTES
from massgen.commands.interactive_input import Interrupted, Lines, Reader
from massgen.commands.interactive_words import COMMANDS, Command, parse, usage
from massgen.config.loading import load
from massgen.conversation import Conversation
from massgen.display import NoView
from massgen.errors import Exit, MassgenError, UsageError
from massgen.events import Asked, Fact, Recorded, Stopped
from massgen.log import read
from tests.command import ended, started, write_config
from tests.handbook.console import is_file, steady
from tests.handbook.fences import fences
from tests.providers import Call, Policy, Record, Reply, Simulator, Team, fault, hang, say
from tests.test_terminal import Window

SECONDS = 15
slow = pytest.mark.timeout(30)
TEAM = Team(final="It is Paris.")
"""Stateless where it is one agent."""


# What a line means


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("What is it?", "What is it?"),
        ("  two\nlines \n", "two\nlines"),
        (" \n ", ""),
        ("//etc/passwd: what is that?", "/etc/passwd: what is that?"),
        ("/status", Command("status")),
        ("/export  my talk.md ", Command("export", "my talk.md")),
        ("/quit", Command("quit")),
        ("/exit", Command("quit")),
        ("exit", Command("quit")),
        (" quit\n", Command("quit")),
        ("quit smoking: how?", "quit smoking: how?"),
    ],
)
def test_a_line_is_a_question_or_a_command(text: str, means: Command | str) -> None:
    assert parse(text) == means


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/stauts", "no command is called '/stauts'; did you mean '/status'?"),
        ("/e", "did you mean '/export'?"),
        ("/etc/passwd", "no command is called '/etc/passwd'"),
        ("/", "no command is called '/'; /help tells them"),
        ("/zzz", "/help tells them"),
        ("/status now", "/status takes nothing behind it: 'now'"),
        ("/\x1b[2J", "no command is called '/'"),
        ("/retry\nWhat?", "no command is called '/retry What?'"),
    ],
)
def test_what_begins_as_a_command_and_is_none_is_never_a_question(text: str, told: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(text)
    assert told in str(error.value)
    assert "Nothing was sent." in str(error.value)


def test_help_tells_every_command() -> None:
    assert all(f"/{name}" in usage() for name in COMMANDS)


# What is kept of it


def past(path: Path, *secrets: str) -> tuple[Past, list[str]]:
    told: list[str] = []

    def redact(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***")
        return text

    return Past(path, redact, told.append), told


def test_what_was_typed_is_there_again_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "data" / "typed.jsonl"
    first, _ = past(file, "sk-0123")
    for text in ("What?", "two\nlines", "a \ud800 half, 日本語", "my key is sk-0123"):
        first.add(text)
    assert past(file)[0].read() == ["What?", "two\nlines", "a \ud800 half, 日本語", "my key is ***"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_that_others_could_read_is_theirs_no_longer(tmp_path: Path) -> None:
    file = tmp_path / "typed.jsonl"
    file.touch(0o644)
    past(file)[0].add("What?")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_two_at_once_add_to_one_file(tmp_path: Path) -> None:
    file = tmp_path / "typed.jsonl"
    one, other = past(file)[0], past(file)[0]
    for n in range(50):
        (one, other)[n % 2].add(f"question {n}")
    assert one.read() == other.read() == [f"question {n}" for n in range(50)]


def test_the_file_stays_small_and_keeps_the_latest(tmp_path: Path) -> None:
    file = tmp_path / "typed.jsonl"
    kept, _ = past(file)
    for n in range(45):
        kept.add(f"{n} " + "x" * (MAX_ENTRY - 10))
        assert file.stat().st_size <= MAX_BYTES
    assert [text.split()[0] for text in kept.read()][-3:] == ["42", "43", "44"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [*tmp_path.iterdir()] == [file]


def test_only_so_many_entries_are_read_and_none_that_is_too_long_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "typed.jsonl"
    kept, _ = past(file)
    kept.add("x" * (MAX_ENTRY + 1))
    assert not file.exists()
    file.write_text("".join(f'"{n}"\n' for n in range(MAX_ENTRIES + 5)))
    assert kept.read()[0] == "5"


def test_what_is_no_entry_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "typed.jsonl"
    file.write_bytes(b'"one"\n\xff\xfe\n{"a": 1}\n' + b"[" * 9000 + b'\n""\n\n"two"\n"torn')
    assert past(file)[0].read() == ["one", "two"]


def test_that_nothing_can_be_kept_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    kept, told = past(tmp_path / "data" / "typed.jsonl")
    kept.add("What?")
    kept.add("Why?")
    assert kept.read() == []
    assert len(told) == 1
    assert "what is typed is not kept" in told[0]


# How it is edited


@dataclass
class Terminal(Window):
    """A window, and the end of it that a program reads and writes."""

    tty: int = -1

    def hang_up(self) -> None:
        if self.tty >= 0:
            asyncio.get_running_loop().remove_reader(self.fd)
            os.close(self.fd)
            os.close(self.tty)
            self.tty = -1


@asynccontextmanager
async def terminal(columns: int = 80) -> AsyncGenerator[Terminal]:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    shown = Terminal(ours, pyte.Screen(columns, 24), tty=theirs)
    asyncio.get_running_loop().add_reader(ours, shown.read)
    try:
        yield shown
    finally:
        shown.hang_up()


async def see(shown: Window, wanted: str | Callable[[str], bool]) -> str:
    """What the terminal shows as soon as it shows what is wanted."""
    try:
        async with asyncio.timeout(SECONDS):
            await shown.until(lambda: wanted in shown.text if isinstance(wanted, str) else wanted(shown.text))
    except TimeoutError:
        raise AssertionError(f"never saw it; the screen is:\n{shown.text}") from None
    return shown.text


async def write(fd: int, keys: str) -> None:
    """Type; what is longer than a terminal holds waits for its reader."""
    data = keys.encode()
    while data:
        data = data[await asyncio.to_thread(os.write, fd, data) :]


@dataclass
class Desk:
    """Someone at the editor."""

    shown: Window
    editor: Editor
    reading: "asyncio.Task[str]"

    async def types(self, keys: str, until: str | Callable[[str], bool]) -> str:
        await write(self.shown.fd, keys)
        return await see(self.shown, until)

    async def sends(self, keys: str = "\r") -> str:
        """The text that comes of it."""
        await write(self.shown.fd, keys)
        async with asyncio.timeout(SECONDS):
            return await self.reading

    async def again(self) -> None:
        self.reading = asyncio.create_task(self.editor.read())
        await see(self.shown, lambda text: text.endswith(">"))


@asynccontextmanager
async def desk(kept: Past, columns: int = 80) -> AsyncGenerator[Desk]:
    async with terminal(columns) as shown:
        with open(shown.tty, closefd=False) as keys, open(shown.tty, "w", closefd=False) as paper:
            editor = Editor(kept, input=create_input(keys), output=drawn_on(paper))
            someone = Desk(shown, editor, asyncio.create_task(editor.read()))
            try:
                await see(shown, ">")
                yield someone
            finally:
                someone.reading.cancel()
                await asyncio.gather(someone.reading, return_exceptions=True)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Past:
    monkeypatch.setenv("TERM", "xterm-256color")
    return past(tmp_path / "typed.jsonl")[0]


async def test_enter_sends(kept: Past) -> None:
    async with desk(kept) as someone:
        assert await someone.sends("What is it?\r") == "What is it?"
    assert kept.read() == ["What is it?"]


async def test_a_backslash_at_the_end_and_alt_enter_begin_another_line(kept: Past) -> None:
    async with desk(kept) as someone:
        await someone.types("one\\", "one\\")
        await someone.types("\r", lambda text: "\\" not in text)
        await someone.types("two\x1b\rthree", "three")
        assert await someone.sends() == "one\ntwo\nthree"


async def test_what_is_pasted_is_one_question(kept: Past) -> None:
    async with desk(kept) as someone:
        await someone.types("\x1b[200~one\r\ntwo\rthree\n\x1b[201~", "three")
        assert await someone.sends() == "one\ntwo\nthree\n"


async def test_what_is_pasted_on_a_terminal_that_does_not_say_so_is_one_question(kept: Past) -> None:
    async with desk(kept) as someone:
        assert await someone.sends("one\rtwo\rthree\r") == "one\ntwo\nthree"


@pytest.mark.timeout(30)
async def test_a_book_can_be_pasted(kept: Past) -> None:
    book = "\n".join(f"{n:>5} " + "word " * 18 for n in range(2_000)) + "\nthe end"
    async with desk(kept) as someone:
        await someone.types(f"\x1b[200~{book}\x1b[201~", "the end")
        assert await someone.sends() == book
        assert len(someone.shown.raw) < 20_000
    assert kept.read() == []


async def test_ctrl_c_clears_the_line_and_at_an_empty_one_interrupts(kept: Past) -> None:
    async with desk(kept) as someone:
        await someone.types("What is", "What is")
        await someone.types("\x03", lambda text: "What" not in text)
        with pytest.raises(Interrupted):
            await someone.sends("\x03")


async def test_ctrl_d_is_the_end(kept: Past) -> None:
    async with desk(kept) as someone:
        with pytest.raises(EOFError):
            await someone.sends("\x04")


async def test_earlier_questions_come_back_latest_first(kept: Past) -> None:
    kept.add("first")
    kept.add("second")
    async with desk(kept) as someone:
        await someone.types("\x1b[A", "second")
        await someone.types("\x1b[A", "first")
        assert await someone.sends() == "first"
        await someone.again()
        await someone.types("\x12sec", "second")
        await someone.types("\r", lambda text: "search" not in text)
        assert await someone.sends() == "second"
    assert kept.read() == ["first", "second", "first", "second"]


async def test_tab_completes_commands_and_enter_in_the_menu_sends_nothing(kept: Past) -> None:
    async with desk(kept) as someone:
        await someone.types("/st\t", "/status")
        await someone.types("\x03", lambda text: "/status" not in text)
        await someone.types("/\t", "/sessions")
        await someone.types("\t", "> /help")
        await someone.types("\r", lambda text: "/sessions" not in text)
        assert await someone.sends() == "/help"


async def test_nothing_but_a_command_is_completed(kept: Past) -> None:
    async with desk(kept) as someone:
        await someone.types("What /\t?", "What /?")
        assert await someone.sends() == "What /?"


async def test_wide_characters_and_narrow_terminals_are_no_trouble(kept: Past) -> None:
    question = "日本語のとても長い質問です。" * 4
    async with desk(kept, columns=20) as someone:
        await someone.types(question, lambda text: text.count("質") >= 4)
        assert await someone.sends() == question
    assert all(line.startswith(("> ", "  ")) for line in someone.shown.text.splitlines())


async def test_the_terminal_is_never_asked_where_its_cursor_is(kept: Past) -> None:
    async with desk(kept) as someone:
        await someone.sends("What?\r")
        assert b"\x1b[6n" not in someone.shown.raw


async def test_colours_are_left_out_where_they_are_not_wanted(kept: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with desk(kept) as someone:
        await someone.types("/\t", "/sessions")
        assert not re.search(rb"\x1b\[[\d;]*;(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]", someone.shown.raw)


# Lines, where there is no editor


@asynccontextmanager
async def typewriter() -> AsyncGenerator[tuple[Lines, int, io.StringIO]]:
    """Lines from a terminal, its other end, and what it shows."""
    ours, theirs = os.openpty()
    paper = io.StringIO()
    try:
        yield Lines(theirs, paper), ours, paper
    finally:
        os.close(ours)
        os.close(theirs)


async def test_a_simple_terminal_sends_lines(kept: Past) -> None:
    async with typewriter() as (lines, keys, paper), asyncio.timeout(SECONDS):
        os.write(keys, b"What is it?\n")
        assert await lines.read() == "What is it?\n"
        os.write(keys, b"one\\\n")
        reading = asyncio.create_task(lines.read())
        while not paper.getvalue().endswith("  "):
            await asyncio.sleep(0)
        os.write(keys, b"two\n")
        assert await reading == "one\ntwo\n"
        os.write(keys, "three\nfour\n\xe9".encode() + b"\xff\n")
        assert await lines.read() == "three\nfour\n\xe9\udcff\n"
        os.write(keys, b"\x04")
        with pytest.raises(EOFError):
            await lines.read()
    assert paper.getvalue().startswith("> > ")


async def test_what_was_typed_before_the_end_is_not_lost() -> None:
    out, into = os.pipe()
    os.write(into, b"What is it?\nYes?")
    os.close(into)
    lines = Lines(out, None)
    assert await lines.read() == "What is it?\nYes?"
    with pytest.raises(EOFError):
        await lines.read()
    os.close(out)


async def test_the_end_of_a_text_that_is_too_long_is_no_question_of_its_own() -> None:
    out, into = os.pipe()
    text = b"a line that is pasted\n" * (TYPED_BYTES // 22 + 10_000)
    writing = asyncio.create_task(asyncio.to_thread(poured, into, text))
    lines = Lines(out, None)
    try:
        async with asyncio.timeout(SECONDS):
            assert len(await lines.read()) == TYPED_BYTES + 1
            with pytest.raises(EOFError):
                await lines.read()
    finally:
        os.close(out)
        await writing


def poured(fd: int, data: bytes) -> None:
    with suppress(BrokenPipeError), open(fd, "wb") as file:
        file.write(data)


async def test_what_cannot_be_read_is_the_end() -> None:
    out, into = os.pipe()
    os.close(out)
    with pytest.raises(EOFError):
        await Lines(into, None).read()
    os.close(into)


async def test_a_terminal_that_has_gone_is_the_end() -> None:
    ours, theirs = os.openpty()
    os.close(ours)
    with open(os.devnull) as nowhere, pytest.raises(EOFError):
        await Lines(theirs, nowhere).read()
    os.close(theirs)


# A conversation


@dataclass
class Typed:
    """Someone who types these; an exception is raised instead. Then the end."""

    texts: list[str | type[Exception]]

    async def read(self) -> str:
        text = self.texts.pop(0) if self.texts else EOFError
        if isinstance(text, str):
            return text
        raise text


@dataclass
class Shown(NoView):
    """A display that is told what happens."""

    facts: list[str] = field(default_factory=list[str])

    def fact(self, recorded: Recorded) -> None:
        self.facts.append(type(recorded.fact).__name__)


@dataclass
class Talk:
    """How a conversation went."""

    code: int
    out: str
    err: str
    calls: Sequence[Record]
    displays: list[Shown]
    folder: Path | None

    @property
    def facts(self) -> list[Fact]:
        assert self.folder
        return [each.fact for each in read(self.folder / sessions.LOG_NAME)]

    @property
    def asked(self) -> list[str]:
        return [fact.question for fact in self.facts if isinstance(fact, Asked)]


Talker: TypeAlias = Callable[..., Coroutine[Any, Any, Talk]]


@pytest.fixture
def talk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Talker:
    async def talk(
        *texts: str | type[Exception],
        policy: Policy | None = None,
        session: Path | None = None,
        agents: int = 3,
        team: Mapping[str, object] | None = None,
        reader: Reader | None = None,
        context: Sequence[str] = (),
        quiet: bool = False,
    ) -> Talk:
        displays: list[Shown] = []

        def display(folder: Path) -> Shown:
            displays.append(Shown())
            return displays[-1]

        async with Simulator(policy or TEAM) as simulator:
            config = write_config(tmp_path / "team.yaml", simulator.base_url, agents)
            if team:
                config.write_text(json.dumps(team))
            async with Conversation(load(config), session=session) as conversation, asyncio.timeout(SECONDS):
                code = await interact(
                    conversation,
                    open_display=display,
                    why=lambda result: f"{result.why}!",
                    context=context,
                    quiet=quiet,
                    reader=reader or Typed([*texts]),
                )
        told = capsys.readouterr()
        return Talk(code, told.out, told.err, simulator.calls, displays, conversation.folder)

    return talk


async def test_a_conversation_has_several_turns_in_one_session(talk: Talker) -> None:
    went = await talk("What is it?", "And why?", "/quit", "never read")
    assert (went.code, went.out) == (Exit.ANSWER, "It is Paris.\nIt is Paris.\n")
    assert went.asked == ["What is it?", "And why?"]
    assert len(went.calls) == 14
    assert any("What is it?" in str(call.body) for call in went.calls[7:])
    assert [display.facts[-1] for display in went.displays] == ["Stopped", "Stopped"]
    assert went.folder
    assert went.err.startswith("massgen: m1 (m1), m2 (m2), m3 (m3). /help tells the commands, /quit leaves.\n")
    assert re.search(r"^m\d won, votes: m\d \d.*, 7 calls, \d\.\d s$", went.err, re.MULTILINE)
    assert went.err.endswith(f"massgen: 2 questions; to go on: massgen --continue {went.folder.name}\n")


async def test_who_leaves_without_a_question_has_no_session(talk: Talker) -> None:
    went = await talk("", " \n", "/status")
    assert (went.code, went.folder, went.calls) == (0, None, [])
    assert "session: none before the first question" in went.err
    assert "--continue" not in went.err


async def test_a_mistyped_command_costs_nothing(talk: Talker) -> None:
    went = await talk("/stauts", "/export", "/export 'a", "/retry")
    assert went.calls == []
    assert "did you mean '/status'?" in went.err
    assert went.err.count("there is nothing to export before the first question") == 2
    assert "there is nothing to retry" in went.err


async def test_two_slashes_send_a_question_that_begins_with_one(talk: Talker) -> None:
    assert (await talk("//etc: what is that?", agents=1)).asked == ["/etc: what is that?"]


async def test_quiet_leaves_answers_and_errors(talk: Talker) -> None:
    went = await talk("What is it?", "/x", agents=1, quiet=True)
    assert went.out == "It is Paris.\n"
    assert went.err.strip().startswith("massgen: no command")
    assert "massgen:" not in went.err.strip()[9:]


async def test_context_goes_with_the_first_question_alone(talk: Talker, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Tram 28 is full at ten.")
    went = await talk("\0", "When?", "And then?", agents=1, context=["notes.txt"])
    assert "With the first question goes: notes.txt" in went.err
    assert ["Tram 28" in question for question in went.asked] == [True, False]


async def test_context_that_cannot_be_read_is_told_before_anything_is_asked(talk: Talker) -> None:
    with pytest.raises(UsageError, match=r"nosuch\.txt"):
        await talk("What is it?", context=["nosuch.txt"])


async def test_what_cannot_be_asked_is_told_and_the_mode_goes_on(talk: Talker) -> None:
    went = await talk("half \ud800", "/retry", "x" * 1_000_001, "What is it?", agents=1)
    assert went.err.count("not UTF-8") == 2
    assert "1,000,001 characters" in went.err
    assert went.asked == ["What is it?"]


async def test_a_turn_without_an_answer_does_not_end_the_mode_and_can_be_retried(talk: Talker) -> None:
    refused = True

    def policy(call: Call) -> Reply:
        return fault(status=401) if refused else TEAM(call)

    @dataclass
    class Then(Typed):
        async def read(self) -> str:
            nonlocal refused
            text = await Typed.read(self)
            refused = text != "/retry"
            return text

    went = await talk(policy=policy, agents=1, reader=Then(["What is it?", "/status", "/retry", "/status"]))
    assert "massgen: no answer!" in went.err
    assert went.err.count("the last question has no answer yet; /retry goes on with it") == 1
    assert (went.out, went.asked, went.code) == ("It is Paris.\n", ["What is it?"], 0)


def signalling(number: int, then: Policy) -> Policy:
    """The first call is answered with a signal to this process and never by words, the others as `then` does."""
    calls: list[Call] = []

    def policy(call: Call) -> Reply:
        calls.append(call)
        if len(calls) > 1:
            return then(call)
        os.kill(os.getpid(), number)
        return hang()

    return policy


async def test_ctrl_c_cancels_the_turn_and_keeps_the_session(talk: Talker) -> None:
    went = await talk("What is it?", "/status", "/retry", policy=signalling(signal.SIGINT, TEAM), agents=1)
    assert "massgen: interrupted; /retry goes on" in went.err
    assert "the last question has no answer yet" in went.err
    assert [fact.why for fact in went.facts if isinstance(fact, Stopped)] == ["interrupted", "answered"]
    assert (went.out, went.code) == ("It is Paris.\n", Exit.ANSWER)
    assert went.displays[1].facts[0] == "Asked"


async def test_another_question_may_follow_an_interrupted_one(talk: Talker) -> None:
    went = await talk("What is it?", "Why?", policy=signalling(signal.SIGINT, TEAM), agents=1)
    assert went.asked == ["What is it?", "Why?"]
    assert went.out == "It is Paris.\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_that_ends_the_program_ends_the_turn_and_the_mode(talk: Talker, number: int) -> None:
    before = signal.getsignal(number)
    went = await talk("What is it?", "never read", policy=signalling(number, TEAM), agents=1)
    assert (went.code, went.out, len(went.calls)) == (Exit.INTERRUPTED, "", 1)
    assert [fact.why for fact in went.facts if isinstance(fact, Stopped)] == ["interrupted"]
    assert "1 question; to go on: massgen --continue" in went.err
    assert "/retry" not in went.err
    assert signal.getsignal(number) is before


async def test_a_signal_that_is_ignored_stays_ignored(talk: Talker) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:

        def policy(call: Call) -> Reply:
            os.kill(os.getpid(), signal.SIGHUP)
            return TEAM(call)

        went = await talk("What is it?", policy=policy, agents=1)
        assert (went.code, went.out) == (0, "It is Paris.\n")
    finally:
        signal.signal(signal.SIGHUP, before)


STUBBORN = """
import asyncio, signal, sys
from contextlib import suppress
from pathlib import Path
from massgen.commands.interactive import PATIENCE, interact
from massgen.commands.interactive_input import unheard
from massgen.config.loading import load
from massgen.conversation import Conversation
from massgen.display import NoView
from massgen.interrupts import run

class Stubborn:
    async def read(self):
        with unheard(sys.stdin):
            for number in range(1, PATIENCE + 2):
                with suppress(asyncio.CancelledError):
                    signal.raise_signal(int(sys.argv[2]))
                    await asyncio.sleep(0)
                if number == PATIENCE:
                    print("patient", flush=True)
            await asyncio.Event().wait()

async def talk():
    async with Conversation(load(Path(sys.argv[1]))) as conversation:
        await interact(conversation, open_display=lambda folder: NoView(), why=str, reader=Stubborn())

run(talk())
"""


@pytest.mark.parametrize("number", [int(signal.SIGINT), int(signal.SIGTERM)])
async def test_what_does_not_end_by_ctrl_c_ends_by_more_of_them_and_gives_the_terminal_back(
    tmp_path: Path, number: int
) -> None:
    config = write_config(tmp_path / "team.yaml", "http://127.0.0.1:9/v1", 1)
    async with terminal() as shown, asyncio.timeout(SECONDS):
        before = termios.tcgetattr(shown.tty)
        ends: dict[str, Any] = {"stdin": shown.tty, "stderr": shown.tty}
        async with started("-c", STUBBORN, str(config), str(number), program=(), **ends) as run:
            assert run.stdout
            assert await run.stdout.readline() == b"patient\n"
            assert termios.tcgetattr(shown.tty) != before
            assert await run.wait() == Exit.INTERRUPTED
        assert termios.tcgetattr(shown.tty) == before


async def test_ctrl_c_twice_leaves_and_once_does_not(talk: Talker) -> None:
    went = await talk(Interrupted, "What is it?", Interrupted, Interrupted, "never asked", agents=1)
    assert went.asked == ["What is it?"]
    assert went.err.count("Ctrl-C again leaves, as does Ctrl-D.") == 2
    assert went.code == 0


async def test_whoever_cancels_the_mode_itself_cancels_the_turn(talk: Talker) -> None:
    ready = asyncio.Event()

    def policy(call: Call) -> Reply:
        ready.set()
        return hang()

    mode = asyncio.create_task(talk("What is it?", policy=policy, agents=1))
    await ready.wait()
    mode.cancel()
    with pytest.raises(asyncio.CancelledError):
        await mode


async def test_a_conversation_goes_on_where_it_was_left(talk: Talker) -> None:
    before = await talk("What is it?", "And why?", agents=1)
    assert before.folder
    with (before.folder / "events.jsonl").open("a") as log:
        log.write("{")
    went = await talk("Since when?", "/status", agents=1, session=before.folder)
    assert f"session {before.folder.name} goes on, after:" in went.err
    assert "events.torn" in went.err
    assert "> And why?" in went.err
    assert went.asked == ["What is it?", "And why?", "Since when?"]
    assert "3 questions" in went.err


async def test_what_another_team_would_lose_of_an_unfinished_question_is_told_once(
    talk: Talker, tmp_path: Path
) -> None:
    before = await talk("What is it?", policy=signalling(signal.SIGTERM, TEAM), agents=2)
    went = await talk("/retry", "/retry", agents=1, session=before.folder)
    assert "m2 (chatcompletion m2) is not in this team" in went.err
    assert went.err.count("m2 was at work on its turn (answer), which nobody in this team can take up") == 1
    assert went.err.count("/retry again goes on all the same.") == 1
    assert (went.asked, went.out) == (["What is it?"], "The answer of m1.\n")


async def test_an_unfinished_question_is_told_and_finished_when_the_session_goes_on(talk: Talker) -> None:
    before = await talk("What is it?", policy=signalling(signal.SIGTERM, TEAM), agents=1)
    went = await talk("/retry", agents=1, session=before.folder)
    assert "the last question has no answer yet; /retry goes on with it" in went.err
    assert (went.asked, went.out) == (["What is it?"], "It is Paris.\n")


async def test_a_conversation_is_exported_as_its_file_is_called(talk: Talker, tmp_path: Path) -> None:
    went = await talk(
        "What is it?", "/export", "/export 'my talk.json'", "/export talk.html", "/export", "/export talk.doc", agents=1
    )
    assert went.folder
    assert (tmp_path / f"{went.folder.name}.md").read_text().startswith("# What is it?\n")
    assert json.loads((tmp_path / "my talk.json").read_text())["question"] == "What is it?"
    assert "<html" in (tmp_path / "talk.html").read_text()
    assert "written to my talk.json" in went.err
    assert "there is a file already" in went.err
    assert "the suffix '.doc' says no format" in went.err


async def test_an_export_takes_the_options_of_the_command(talk: Talker, tmp_path: Path) -> None:
    (tmp_path / "talk.txt").write_text("old")
    went = await talk(
        "What is it?", "/export talk.txt --format md --force", "/export talk.md --nonsense", "/export 'a", agents=1
    )
    assert (tmp_path / "talk.txt").read_text().startswith("# What is it?\n")
    assert "No such option" in went.err
    assert "No closing quotation" in went.err


async def test_the_configuration_is_told_without_its_secrets(talk: Talker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-0123456789")
    backend = {"type": "openai", "model": "gpt-6-luna", "api_key": "${TEST_KEY}"}
    written = {**backend, "api_key": "sk-written-out"}
    team = {"agents": [{"id": "ada", "backend": backend}, {"id": "bob", "backend": written}]}
    went = await talk("/config", team=team)
    assert "api_key: ${TEST_KEY}" in went.err
    assert "# from " in went.err
    assert "sk-" not in went.err


async def test_large_teams_are_told_in_short(talk: Talker) -> None:
    assert "m8 (m8) and 2 more." in (await talk(agents=10)).err


async def test_the_latest_sessions_are_told(talk: Talker) -> None:
    first = await talk("What is it?", agents=1)
    went = await talk("/sessions", "Why?", "/sessions", agents=1)
    assert first.folder
    assert went.folder
    assert went.err.index("What is it?") < went.err.index(went.folder.name)


async def test_the_latest_sessions_are_those_beside_which_this_one_will_be(tmp_path: Path) -> None:
    config, root = load(write_config(tmp_path / "team.yaml", "http://127.0.0.1:9/v1", 1)), tmp_path / "elsewhere"
    async with Conversation(config, session_dir=root) as conversation:
        assert conversation.root == root
    async with Conversation(config) as conversation:
        assert conversation.root == sessions.folder()


async def test_there_may_be_no_sessions(talk: Talker) -> None:
    assert "there is no session yet" in (await talk("/sessions")).err


async def test_help_is_told(talk: Talker) -> None:
    assert usage() in (await talk("/help")).err


async def test_a_closed_stdout_ends_the_mode(talk: Talker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(MassgenError, match="stdout cannot be written"):
        await talk("What is it?", "Why?", agents=1)


# The command on a terminal


@dataclass
class Seat:
    """Someone at a terminal in which `massgen` runs."""

    shown: Terminal
    run: asyncio.subprocess.Process
    before: list[Any]
    """How the terminal was set up."""

    async def types(self, keys: str, until: str | Callable[[str], bool]) -> str:
        await write(self.shown.fd, keys)
        return await see(self.shown, until)

    async def leaves(self, keys: str = "") -> int:
        """The exit code; the terminal must be as it was."""
        await write(self.shown.fd, keys)
        async with asyncio.timeout(SECONDS):
            code = await self.run.wait()
            await see(self.shown, lambda text: True)
        assert termios.tcgetattr(self.shown.tty) == self.before
        assert not self.shown.screen.cursor.hidden
        return code


@asynccontextmanager
async def at_terminal(
    folder: Path, policy: Policy, *arguments: str, columns: int = 80, term: str = "xterm-256color", team: str = ""
) -> AsyncGenerator[Seat]:
    async with Simulator(policy) as simulator, terminal(columns) as shown:
        config = folder / "team.yaml"
        if team:
            config.write_text(team.replace("backend: {", f"backend: {{base_url: {simulator.base_url}, "))
        else:
            write_config(config, simulator.base_url, 1)
        before = termios.tcgetattr(shown.tty)
        ends: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), shown.tty)
        async with started("--config", str(config), *arguments, env={"TERM": term}, **ends) as run:
            seat = Seat(shown, run, before)
            await see(shown, lambda text: text.endswith("\n>"))
            yield seat


@slow
async def test_a_person_talks_with_a_team(tmp_path: Path) -> None:
    async with at_terminal(tmp_path, TEAM) as seat:
        screen = await seat.types("What is it?\r", lambda text: "by m1" in text and text.endswith("\n>"))
        assert "> What is it?\nmassgen What is it?" in screen
        assert "\n\nIt is Paris.\n\nby m1, 1 call" in screen
        assert b"\x1b[2mby m1, 1 call" in seat.shown.raw
        await seat.types("/sta\t", "> /status")
        await seat.types("\r", "1 question\n>")
        assert await seat.leaves("/quit\r") == Exit.ANSWER
        assert "massgen: 1 question; to go on: massgen --continue 20" in seat.shown.text
    (session,) = sessions.ids(sessions.folder())
    async with at_terminal(tmp_path, TEAM, "--continue", session) as seat:
        assert f"session {session} goes on, after:\n> What is it?\n  It is Paris." in seat.shown.text
        await seat.types("\x1b[A\x1b[A", "> /status")
        await seat.types("\x1b[A", "> What is it?")
        await seat.types("\r", "by m1")
        assert await seat.leaves("\x04") == Exit.ANSWER
        assert "massgen: 2 questions; to go on" in seat.shown.text


@slow
async def test_ctrl_c_cancels_a_turn_and_what_is_typed_meanwhile_is_neither_shown_nor_sent(tmp_path: Path) -> None:
    never = asyncio.Event()
    replies = iter([replace(say("never"), gate=never)])
    async with at_terminal(tmp_path, lambda call: next(replies, say("It is Paris."))) as seat:
        await seat.types("What is it?\r", "thinking")
        await write(seat.shown.fd, "typed blindly\r")
        seat.run.send_signal(signal.SIGINT)
        await see(seat.shown, lambda text: "interrupted; /retry" in text and text.endswith("\n>"))
        await seat.types("/retry\r", lambda text: "by m1, 1 call" in text and text.endswith("\n>"))
        assert "typed" not in seat.shown.text
        await seat.types("half", "> half")
        await seat.types("\x03", lambda text: text.endswith("\n>"))
        await seat.types("\x03", "Ctrl-C again leaves")
        await see(seat.shown, lambda text: text.endswith("\n>"))
        assert await seat.leaves("\x03") == Exit.ANSWER


@slow
async def test_a_signal_at_the_prompt_gives_the_terminal_back(tmp_path: Path) -> None:
    async with at_terminal(tmp_path, TEAM) as seat:
        await seat.types("half a question", "half a question")
        seat.run.terminate()
        assert await seat.leaves() == Exit.INTERRUPTED
        assert seat.shown.raw.rindex(b"\x1b[?2004l") > seat.shown.raw.rindex(b"\x1b[?2004h")
        assert "again leaves" not in seat.shown.text


@slow
@pytest.mark.parametrize("keys", ["", "half"])
async def test_a_terminal_that_goes_away_ends_the_mode(tmp_path: Path, keys: str) -> None:
    async with at_terminal(tmp_path, TEAM) as seat:
        await seat.types(keys, f"> {keys}".rstrip())
        seat.shown.hang_up()
        async with asyncio.timeout(SECONDS):
            assert await seat.run.wait() == Exit.ANSWER


@slow
async def test_a_terminal_that_goes_away_while_the_team_works_ends_its_turn(tmp_path: Path) -> None:
    never = asyncio.Event()
    async with at_terminal(tmp_path, lambda call: replace(say("never"), gate=never)) as seat:
        await seat.types("What is it?\r", "thinking")
        seat.run.send_signal(signal.SIGHUP)
        seat.shown.hang_up()
        async with asyncio.timeout(SECONDS):
            assert await seat.run.wait() == Exit.INTERRUPTED


@slow
async def test_a_simple_terminal_holds_a_conversation_too(tmp_path: Path) -> None:
    async with at_terminal(tmp_path, TEAM, term="dumb") as seat:
        await seat.types("What is it?\n", "It is Paris.")
        await see(seat.shown, lambda text: text.endswith("\n>"))
        await seat.types("/nosuch\n", "no command is called '/nosuch'")
        seat.run.send_signal(signal.SIGINT)
        await see(seat.shown, "Ctrl-C again leaves")
        assert await seat.leaves("\x04") == Exit.ANSWER
        assert b"\x1b" not in seat.shown.raw


@slow
async def test_an_answer_cannot_steer_the_terminal_and_a_narrow_one_holds_a_conversation(tmp_path: Path) -> None:
    hostile = Team(final="It is \x1b]0;owned\x07\x1b[2J\x1b[?1049h\u202eParis.\x9b31m")
    async with at_terminal(tmp_path, hostile, columns=40) as seat:
        screen = await seat.types("日本語のとても長い質問です。四十列を超えます。\r", "by m1")
        assert "\nIt is ]0;ownedParis.\n" in screen
        assert seat.shown.screen.title == ""
        assert not any(
            control in seat.shown.raw for control in (b"\x07", b"\x1b]", b"\x1b[2J", b"1049", b"\xe2\x80\xae")
        )
        assert await seat.leaves("/quit\r") == Exit.ANSWER


@slow
async def test_the_page_shows_what_a_person_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[1] / "handbook" / "guides" / "conversation.md"
    files = {fence.title: fence.body for fence in fences(page) if is_file(fence)}
    told = re.findall(r"^> (.+)\n\n(.+)\n\nada won", files["terminal.txt"], re.MULTILINE)
    teams = {question: Team(answer, answer) for question, answer in told}

    def policy(call: Call) -> Reply:
        last = max(teams, key=lambda question: str(call.messages).rfind(question))
        return replace(teams[last](call), delay=0.2 * (call.model == "gpt-6-sol"))

    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    async with at_terminal(tmp_path, policy, "--no-display", columns=120, team=files["team.yaml"]) as seat:
        for number, question in enumerate(teams, 1):
            await seat.types(
                f"{question}\r", lambda text, number=number: text.count("won,") == number and text.endswith("\n>")
            )
        assert await seat.leaves("/quit\r") == Exit.ANSWER
        assert steady(seat.shown.text) == steady(files["terminal.txt"])


def test_whoever_does_not_talk_does_not_pay_for_the_editor() -> None:
    code = (
        "import sys; from massgen import cli; cli.run(['--help'])\n"
        "import massgen.commands.interactive\n"
        "sys.exit(any(name.startswith('prompt_toolkit') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("arguments", [["--json"], ["--format", "json"], ["-o", "answer.md"]])
async def test_what_is_of_no_use_in_a_conversation_is_refused(arguments: list[str], tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    try:
        async with started(*arguments, stdin=theirs, stderr=theirs, cwd=tmp_path) as process:
            ran = await ended(process)
        assert ran.code == Exit.USAGE
        assert b"needs a question" in os.read(ours, 4096)
    finally:
        os.close(ours)
        os.close(theirs)
