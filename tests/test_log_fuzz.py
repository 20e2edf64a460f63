"""Logs that no run has written: whatever is in the file, every command reads it or says what is wrong with it, and no byte of
it is lost."""

import contextlib
import io
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massgen import sessions
from massgen.cli import run
from massgen.coordination import Rules
from massgen.errors import Exit, LogError, MassgenError
from massgen.events import Resumed
from massgen.log import Log
from massgen.orchestrator import Orchestrator, Times
from massgen.resuming import standing
from massgen.state import State
from tests.stage import Actor, Cue, Stage, actors, agents, play
from tests.test_truths import folder

pytestmark = pytest.mark.timeout(60)
GOLDEN = Path(__file__).parent / "golden"
ID = "20260922-101112-abcdef"
HEADER = b'{"massgen": "session log", "format": 1}\n'
SHOWING = (
    ("sessions", "show", ID),
    *(("sessions", "export", ID, "--format", form) for form in ("json", "md", "html")),
    ("verify", ID),
    ("replay", ID, "--speed", "instant"),
)
LISTING = (("sessions", "list"), ("sessions", "list", "--json"), ("sessions", "search", "scattering"))
Line: TypeAlias = dict[str, Any]
T = TypeVar("T")


def performed(*cues: Sequence[Cue], rules: Rules, cut: float) -> bytes:
    """The log of a run of actors, or its beginning."""
    with folder() as name:
        stage = Stage(Path(name) / sessions.LOG_NAME, agents(actors(*cues)), rules)
        stage.run()
        lines = stage.path.read_bytes().splitlines(keepends=True)
    return b"".join(lines[: max(2, int(len(lines) * cut))])


REVISED = ((), (Cue("comply"), Cue("ghost", 1, 3.0), Cue("answer", 2, 3.0)))
LOGS = [
    *(path.read_bytes() for path in sorted(GOLDEN.glob("*.jsonl"))),
    *(performed(*REVISED, rules=Rules(max_restarts=1), cut=cut) for cut in (0.3, 0.6, 0.8, 1.0)),
    performed((), rules=Rules(), cut=0.5),
]


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended that was run in this process."""

    code: int
    err: str


def ran(*arguments: str) -> Ran:
    """Run a command, which must not end in a defect."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", None)
        code = run(arguments)
    assert "bug in massgen" not in err.getvalue(), f"massgen {' '.join(arguments)}: {err.getvalue()}"
    assert code != Exit.USAGE or err.getvalue().startswith("massgen: "), "refused without a word"
    return Ran(code, err.getvalue())


def session_of(name: str) -> Path:
    return sessions.folder() / name / sessions.LOG_NAME


def session(content: bytes) -> Path:
    """The log of a session that holds `content`."""
    log = session_of(ID)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.with_suffix(".torn").unlink(missing_ok=True)
    log.write_bytes(content)
    return log


def check_all_that_only_read(content: bytes) -> None:
    log = session(content)
    for arguments in LISTING:
        assert ran(*arguments).code == Exit.ANSWER, "one bad session must not hide the others"
    for arguments in SHOWING:
        ran(*arguments)
    assert log.read_bytes() == content
    assert not log.with_suffix(".torn").exists()


def check_going_on(content: bytes) -> None:
    """Whoever goes on with it loses nothing: what is cut off the end stands beside it, all else stays."""
    log = session(content)
    with contextlib.suppress(MassgenError):
        resumed(log)
    torn = log.with_suffix(".torn").read_bytes() if log.with_suffix(".torn").exists() else b""
    assert content.endswith(torn)
    assert log.read_bytes().startswith(content[: len(content) - len(torn)])


def resumed(log: Path) -> State:
    """Finish the run in `log` with agents of the same names, as `massgen --continue` does. Raises `LogError`."""

    async def scene() -> State:
        with Log(log) as opened:
            team = standing(opened.facts).asked
            roster = team.roster if team else ()
            cast = agents({member.id: Actor() for member in roster})
            orchestrator = Orchestrator(cast, opened, Rules(max_restarts=1), Times(60.0, 20.0, 2.0))
            if orchestrator.state.unfinished and roster:
                await orchestrator.run(Resumed(roster))
                assert orchestrator.state.stopped
            return orchestrator.state

    return play(scene())


# --- bytes -----------------------------------------------------------------------------------------------------------

STRANGE = (
    b"\0", b"\0" * 512, b"\xff", b"\xc3", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\\ud800", b"\n", b"\r\n", b'"', b"{", b"}", b",",
    b"9" * 400, b"1e999", b"-1", b"NaN", b"null", b"true", b"[" * 3000, b'{"a":' * 3000, b'{"$blob":"../x","chars":70000}',
    b'"more":true,', HEADER, b'{"seq":2,"at":1,"type":"Sang"}\n',
)  # fmt: skip
places = st.floats(0, 1, exclude_max=True)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A log with bytes and lines that were replaced, taken out, doubled and moved."""
    content = draw(st.sampled_from(LOGS))
    for _ in range(draw(st.integers(1, 3))):
        at = int(draw(places) * len(content))
        match draw(st.sampled_from(["flip", "strange", "over", "lines", "lines", "cut"])):
            case "flip" if content:
                content = content[:at] + bytes([content[at] ^ draw(st.integers(1, 255))]) + content[at + 1 :]
            case "strange":
                content = content[:at] + draw(st.sampled_from(STRANGE)) + content[at:]
            case "over":
                content = content[:at] + draw(st.sampled_from(STRANGE)) + content[at + 1 :]
            case "lines":
                content = b"".join(_moved(draw, content.splitlines(keepends=True)))
            case _:
                content = content[:at]
    return content


def _moved(draw: st.DrawFn, lines: list[T]) -> list[T]:
    """`lines`, of which one is missing, there twice, or in the place of another."""
    here, there = (int(draw(places) * len(lines)) for _ in range(2))
    match draw(st.sampled_from(["drop", "double", "swap"])):
        case "drop":
            return lines[:here] + lines[here + 1 :]
        case "double":
            return [*lines[:there], *lines[here : here + 1], *lines[there:]]
        case _:
            if lines:
                lines[here], lines[there] = lines[there], lines[here]
            return lines


@settings(max_examples=60, deadline=None)
@given(damaged())
def test_whatever_is_in_a_file_what_reads_it_says_what_is_wrong_and_changes_nothing(content: bytes) -> None:
    check_all_that_only_read(content)


@settings(max_examples=200, deadline=None)
@given(damaged())
def test_whatever_is_in_a_file_who_goes_on_with_it_loses_nothing(content: bytes) -> None:
    check_going_on(content)


# --- facts that contradict each other ----------------------------------------------------------------------------------

NAMES = (
    "",
    "ghost",
    "a",
    "b",
    "alice",
    "bob",
    "agent1",
    "agent9",
    "x",
    "\u2028",
    "\ud800",
    "interrupted",
    "timeout",
    "decide",
)
NUMBERS = (0, -1, 1, 2, 3, 5, 8, 13, 10**9, 10**30)
LABELS = ("agent7", "x", "agentx", "agent-1", "agent" + "9" * 5000, "1", "")


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where in a fact something plain stands that may have been something else."""
    if not isinstance(value, (dict, list)):
        return [path]
    pairs = cast("Line", value).items() if isinstance(value, dict) else enumerate(cast("list[Any]", value))
    return [leaf for key, each in pairs if key not in ("seq", "type") for leaf in leaves(each, (*path, key))]


@st.composite
def contradicting(draw: st.DrawFn) -> bytes:
    """A log of whole, numbered facts, some of which say something else, are missing, or stand elsewhere."""
    facts: list[Line] = [json.loads(line) for line in draw(st.sampled_from(LOGS)).split(b"\n")[1:-1]]
    for _ in range(draw(st.integers(1, 3))):
        fact = facts[int(draw(places) * len(facts))]
        match draw(st.sampled_from(["say", "say", "say", "label", "lines"])):
            case "say" if paths := leaves(fact):
                _say(draw, fact, draw(st.sampled_from(paths)))
            case "label" if ballot := fact.get("ballot"):
                ballot[draw(st.sampled_from(LABELS))] = ballot.pop(draw(st.sampled_from(sorted(ballot))))
            case _:
                facts = _moved(draw, facts) or facts
    return whole(facts)


def whole(facts: Sequence[Line]) -> bytes:
    """The log with `facts`, numbered as they stand."""
    lines = [json.dumps({**fact, "seq": place}, separators=(",", ":")) for place, fact in enumerate(facts, 1)]
    return HEADER + "".join(f"{line}\n" for line in lines).encode()


def _say(draw: st.DrawFn, fact: Line, path: tuple[Any, ...]) -> None:
    place: Any = fact
    for key in path[:-1]:
        place = place[key]
    match place[path[-1]]:
        case bool() | None:
            new: Any = draw(st.sampled_from([None, 1, "x", True]))
        case int():
            new = draw(st.sampled_from(NUMBERS))
        case float():
            new = draw(st.sampled_from([0.0, -1.0, 1e11, 1e18, -1e18, 1e308]))
        case _:
            new = draw(st.sampled_from(NAMES))
    place[path[-1]] = new


@settings(max_examples=60, deadline=None)
@given(contradicting())
def test_facts_that_contradict_each_other_are_shown_or_refused(content: bytes) -> None:
    check_all_that_only_read(content)


@settings(max_examples=200, deadline=None)
@given(contradicting())
def test_a_run_whose_facts_contradict_each_other_is_finished_or_refused(content: bytes) -> None:
    check_going_on(content)


def line(kind: str, /, **fields: Any) -> Line:
    return {"at": 1.0, "type": kind, **fields}


TEAM = [{"type": "Member", "id": name, "backend": "local", "model": "m"} for name in "ab"]
ASKED = line("Asked", question="Why?", roster=TEAM)
ANSWERS = [
    ASKED,
    *(line("TurnBegan", agent=name, purpose="answer") for name in "ab"),
    *(line("Answered", agent=name, turn=turn, content=f"By {name}.") for turn, name in enumerate("ab", 2)),
    line("VotingOpened", why="all answered"),
]
DECIDES = [*ANSWERS, line("TurnBegan", agent="a", purpose="decide", ballot={"agent1": [4], "agent2": [5]})]
CONTRADICTIONS: dict[str, list[Line]] = {
    "a turn of nobody": [ASKED, line("TurnBegan", agent="ghost", purpose="answer")],
    "an answer of nobody": [ASKED, line("Answered", agent="ghost", turn=2, content="Boo")],
    "a final answer of nobody": [ASKED, line("Presented", agent="ghost", turn=None, content="Boo")],
    "a check by nobody": [ASKED, line("Evaluated", agent="ghost", turn=2, verdict="submit")],
    "a summary by nobody": [ASKED, line("Summarised", agent="ghost", turn=2, until=1, content="Boo")],
    "a failure of nobody": [ASKED, line("TurnFailed", agent="ghost", turn=2, kind="error", cause="Boo")],
    "what nobody said": [*DECIDES, line("Said", agent="ghost", turn=7, message={"type": "Message", "role": "assistant"})],
    "a vote of nobody": [*DECIDES, line("Voted", agent="ghost", turn=7, choice=4, reason="")],
    "a vote for no answer": [*DECIDES, line("Voted", agent="a", turn=7, choice=99, reason="")],
    "no answer chosen": [*ANSWERS, line("Chosen", answer=99, tally={}, why="consensus")],
    "a ballot with no answer": [*ANSWERS, line("TurnBegan", agent="a", purpose="decide", ballot={"agent1": [99]})],
    "an empty entry": [*ANSWERS, line("TurnBegan", agent="a", purpose="decide", ballot={"agent1": [], "agent2": [4, 5]})],
    "a label without a number": [*DECIDES, line("Informed", agent="a", turn=7, ballot={"agentx": [4], "agent2": [5]})],
    "a number too long": [*DECIDES, line("Informed", agent="a", turn=7, ballot={f"agent{'9' * 5000}": [4, 5]})],
    "a time after all calendars": [{**ASKED, "at": 1e18}],
    "a time beyond that": [{**ASKED, "at": 1e308}],
}  # fmt: skip


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_what_no_run_can_have_recorded_is_an_error_with_its_line_for_who_goes_on(what: str) -> None:
    content = whole(CONTRADICTIONS[what])
    with pytest.raises(LogError, match=r"events\.jsonl:\d+: ") as error:
        resumed(session(content))
    assert error.value.fix
    assert session_of(ID).read_bytes() == content


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_what_no_run_can_have_recorded_is_shown_or_refused(what: str) -> None:
    check_all_that_only_read(whole(CONTRADICTIONS[what]))


# --- files and folders that are no session ----------------------------------------------------------------------------


@pytest.mark.parametrize("byte", range(len(HEADER) - 1))
def test_a_header_with_another_byte_is_refused_and_left_as_it_is(byte: int) -> None:
    content = HEADER[:byte] + bytes([HEADER[byte] ^ 1]) + HEADER[byte + 1 :] + LOGS[0][len(HEADER) :]
    log = session(content)
    with pytest.raises(LogError, match=r"events\.jsonl:1: "):
        resumed(log)
    assert log.read_bytes() == content
    assert not log.with_suffix(".torn").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (LOGS[0][len(HEADER) :], ":1: not a session log: the header line is missing or damaged"),
        (
            HEADER.replace(b"1}", b"2}") + b'{"seq":1,"at":1,"type":"Sang"}\n',
            ":1: format 2 is not one this version reads",
        ),
        (b"\n", ":1: not a session log"),
        (b"PK\3\4\n\n", ":1: not a session log"),
    ],
    ids=["no header", "a newer format", "a line's end", "an archive"],
)
def test_what_is_no_log_of_ours_is_refused_by_all_and_left_as_it_is(content: bytes, words: str) -> None:
    log = session(content)
    for arguments in (*SHOWING, ("--quiet", "--continue", ID), ("--quiet", "--continue", ID, "And?")):
        told = ran(*arguments)
        assert (told.code, words in told.err) == (Exit.USAGE, True), told.err
    check_all_that_only_read(content)
    assert log.read_bytes() == content


@pytest.mark.parametrize("content", [b"", HEADER[:9], HEADER, HEADER + LOGS[0][len(HEADER) : 200]])
def test_where_nothing_was_asked_there_is_nothing_to_go_on_with(content: bytes) -> None:
    session(content)
    told = ran("--quiet", "--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--continue", ID)
    assert told.code == Exit.USAGE
    assert ID in told.err
    assert "is answered" not in told.err, "nothing is"


@pytest.mark.parametrize("command", [("--quiet", "--continue"), ("verify",), ("replay",), ("sessions", "show")])
@pytest.mark.parametrize(
    "name",
    [
        "../elsewhere",
        "..",
        "/",
        ".",
        "./",
        f"../sessions/{ID}x",
        "a/../../b",
        "~/nowhere",
        "2026",
        "\udc80/x",
        "x" * 5000,
    ],
)
def test_what_is_no_session_is_refused(command: tuple[str, ...], name: str) -> None:
    empty = sessions.folder() / ID
    empty.mkdir(parents=True)
    assert ran(*command, name).code == Exit.USAGE
    assert ran(*command, str(empty)).code == Exit.USAGE
    assert [*empty.iterdir()] == []


def test_a_log_of_a_hundred_megabytes_goes_on_in_seconds() -> None:
    """A generous limit, for the time is measured elsewhere."""
    asked = {**ASKED, "question": "Why? " * 4_000}
    exchange = [
        asked,
        line("Presented", agent="a", turn=None, content="So. " * 10_000),
        line("Stopped", why="answered"),
    ]
    log = session(whole([*exchange * 1_700, *DECIDES[:3]]))
    assert log.stat().st_size > 100_000_000
    began = time.monotonic()
    with Log(log) as opened:
        state = standing(opened.facts)
    assert time.monotonic() - began < 20
    assert len(state.history) == 1_700
    assert state.unfinished


# --- the command that goes on -------------------------------------------------------------------------------------------

NOBODY = ("--model", "alice", "--base-url", "http://127.0.0.1:9/v1", "--no-display", "--timeout", "0.05")
"""A team that nobody serves."""


@settings(max_examples=40, deadline=None)
@given(st.one_of(damaged(), contradicting()), st.sampled_from([(), ("And at night?",)]))
def test_whatever_is_in_a_file_the_command_goes_on_or_says_what_is_wrong(
    content: bytes, question: tuple[str, ...]
) -> None:
    log = session(content)
    told = ran(*NOBODY, "--continue", ID, *question)
    torn = log.with_suffix(".torn").read_bytes() if log.with_suffix(".torn").exists() else b""
    assert log.read_bytes().startswith(content[: len(content) - len(torn)])
    assert content.endswith(torn)
    assert told.code != Exit.USAGE or ID in told.err, told.err
