"""`massgen sessions` as people and scripts use it."""

import fcntl
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massgen import paths, sessions
from massgen.cli import run
from massgen.commands.completion import MAX_SESSIONS
from massgen.errors import Exit
from massgen.events import Answered, Asked, Fact, Member, Recorded, Resumed, Spent, Stopped, Voted
from massgen.log import line, read
from tests.command import ended, massgen, started
from tests.facts import NAMES, QUESTION, Run, answering, troubled, whole
from tests.test_exports import restarted
from tests.test_session_index import HEADER, IDS, asked, written

Output = pytest.CaptureFixture[str]


def kept(session: str, run_: Run) -> Path:
    return written(sessions.folder(), session, run_.facts).parent


def told(capsys: Output, *arguments: str, code: int = 0) -> str:
    """stdout."""
    assert run(["sessions", *arguments]) == code
    return capsys.readouterr().out


def failed(capsys: Output, *arguments: str) -> str:
    """stderr of a command that is refused."""
    assert run(["sessions", *arguments]) == Exit.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def listed(capsys: Output, *arguments: str) -> list[str]:
    return [row["id"] for row in json.loads(told(capsys, "list", "--json", *arguments))]


@pytest.fixture
def three() -> list[Path]:
    """An answered session, one with troubles that has a name, and one that was cut off."""
    folders = [kept(IDS[0], whole(1)), kept(IDS[1], troubled()), kept(IDS[2], answering(2))]
    (folders[1] / sessions.NAME).write_text("Capitals\n")
    return folders


# --- list ------------------------------------------------------------------------------------------------------------


def test_each_session_is_three_lines_the_latest_first(
    three: list[Path], capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert told(capsys, "list") == (
        f"{IDS[2]}  2026-09-21 14:13:20, interrupted\n  {QUESTION}\n  alice (model-a), bob (model-b)\n\n"
        f"{IDS[1]}  2026-09-21 14:13:20, answered, $0.0147, Capitals\n  {QUESTION}\n"
        "  alice (model-a), bob (model-b), carol (model-c)\n\n"
        f"{IDS[0]}  2026-09-21 14:13:20, answered, $0.0042\n  {QUESTION}\n  alice (model-a)\n"
    )


def test_turns_are_counted_and_long_questions_cut(capsys: Output) -> None:
    kept(IDS[0], Run().ask("long " * 100).ask("And why?"))
    _, question, team = told(capsys, "list").splitlines()
    assert question.endswith("...")
    assert len(question) < 110
    assert team.endswith("; 2 turns")


def test_a_list_for_programs_says_all_that_is_known(three: list[Path], capsys: Output) -> None:
    rows: list[dict[str, Any]] = json.loads(told(capsys, "list", "--json"))
    assert rows[2] == {
        "id": IDS[0],
        "name": "",
        "at": "2026-09-21T14:13:20Z",
        "question": QUESTION,
        "agents": [{"id": "alice", "model": "model-a"}],
        "turns": 1,
        "status": "answered",
        "winner": "alice",
        "cost": 0.0042,
        "asked_in": [],
        "templates": [],
        "folder": str(three[0]),
    }
    assert (rows[1]["name"], rows[0]["status"], rows[0]["cost"]) == ("Capitals", "interrupted", None)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (("--text", "AUSTRALIA"), [2, 1, 0]),
        (("--text", "capitals"), [1]),
        (("--text", "Portugal"), []),
        (("--agent", "bob"), [2, 1]),
        (("--agent", "bo"), []),
        (("--model", "MODEL-C"), [1]),
        (("--status", "interrupted"), [2]),
        (("--status", "no-answer"), []),
        (("--min-cost", "0.01"), [1]),
        (("--min-cost", "0"), [2, 1, 0]),
        (("--since", "2026-09-20"), [2, 1, 0]),
        (("--since", "2026-09-23"), []),
        (("--until", "2026-09-22"), [2, 1, 0]),
        (("--until", "2026-09-20T12:00"), []),
        (("--limit", "1"), [2]),
        (("--agent", "bob", "--status", "answered"), [1]),
    ],
)
def test_only_what_is_wanted_is_listed(
    filters: tuple[str, ...], expected: list[int], three: list[Path], capsys: Output
) -> None:
    assert listed(capsys, *filters) == [three[place].name for place in expected]


def test_a_date_means_the_whole_day(capsys: Output) -> None:
    kept(IDS[0], whole(1))
    day = time.strftime("%Y-%m-%d", time.localtime(whole(1).facts[0].at))
    assert listed(capsys, "--since", day, "--until", day) == [IDS[0]]


def test_a_time_means_that_time_and_the_first_and_last_of_all_days_are_days(capsys: Output) -> None:
    kept(IDS[0], whole(1))
    day = time.strftime("%Y-%m-%d", time.localtime(whole(1).facts[0].at))
    assert listed(capsys, "--until", f"{day}T00:00") == []
    assert listed(capsys, "--since", "0001-01-01", "--until", "9999-12-31") == [IDS[0]]
    assert listed(capsys, "--since", "0001-01-01T00:00", "--until", "9999-12-31T23:59:59") == [IDS[0]]


def test_a_cost_that_is_no_number_is_refused(capsys: Output) -> None:
    assert "'nan' is no number" in failed(capsys, "list", "--min-cost", "nan")


def test_the_latest_is_the_one_that_was_asked_last_whatever_its_folder_is_called(capsys: Output) -> None:
    for name, at in (("paris", 5.0), ("-x", 7.0), (IDS[0], 6.0), (IDS[1], 7.0)):
        run_ = whole(1)
        run_.facts[:] = [replace(each, at=each.at + at) for each in run_.facts]
        kept(name, run_)
    assert listed(capsys) == [IDS[1], "-x", IDS[0], "paris"]
    assert listed(capsys, "--limit", "1") == [IDS[1]]


def test_odd_names_and_folders_stand_on_one_line_and_steer_no_terminal(capsys: Output) -> None:
    folder = kept("a\nb \x1b[2J\x9b1m\u202ec", whole(1))
    (folder / sessions.NAME).write_text("one\ntwo \x1b[31m")
    (title, *_) = told(capsys, "list").splitlines()
    assert re.fullmatch(r"a b c  \S+ \S+, answered, \$0\.0042, one two", title)
    assert json.loads(told(capsys, "list", "--json"))[0]["id"] == folder.name


def test_a_question_in_wide_signs_is_cut_where_a_latin_one_is(capsys: Output) -> None:
    kept(IDS[0], Run().ask("日本語の長い質問" * 20))
    kept(IDS[1], Run().ask("日本語の長い質問" * 6))
    _, short, _, _, _, long, _ = told(capsys, "list").splitlines()
    assert short == "  " + "日本語の長い質問" * 6
    assert long == "  " + ("日本語の長い質問" * 7)[:48] + "..."


def test_of_a_large_team_as_many_are_named_as_fit_the_line(capsys: Output) -> None:
    team = [Member(f"agent-{n}", "openai", "gpt-6-luna-2026-11-01") for n in range(40)]
    kept(IDS[0], Run(facts=[Recorded(1, 1.0, Asked(QUESTION, (*team,)))]))
    kept(IDS[1], Run(facts=[Recorded(1, 2.0, Asked(QUESTION, (Member("x" * 80, "openai", "y" * 80),)))]))
    lines = told(capsys, "list").splitlines()
    assert lines[2] == f"  {'x' * 80} ({'y' * 80})"
    assert re.fullmatch(r"  agent-0 \(gpt-6-luna-2026-11-01\), agent-1 .*, agent-2 \(\S+\) and 37 more", lines[6])
    assert len(json.loads(told(capsys, "list", "--json"))[1]["agents"]) == 40


def test_a_cost_beyond_all_numbers_is_none_for_programs(capsys: Output) -> None:
    run_ = whole(1)
    for _ in range(2):
        run_.add(Spent("alice", 2, "model-a", 1, 1, 1e308, 1.0))
    kept(IDS[0], run_)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    assert json.loads(told(capsys, "list", "--json"), parse_constant=refuse)[0]["cost"] is None


def test_a_session_without_an_answer_is_told_as_such(capsys: Output) -> None:
    failed_run = answering(1)
    failed_run.fail("alice", "HTTP 500").add(Stopped("all failed"))
    kept(IDS[0], failed_run)
    assert listed(capsys, "--status", "no-answer") == [IDS[0]]


def test_a_session_that_is_being_written_is_running(three: list[Path], capsys: Output) -> None:
    with (three[2] / sessions.LOG_NAME).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert listed(capsys, "--status", "running") == [IDS[2]]
        assert listed(capsys, "--status", "interrupted") == []
    assert listed(capsys, "--status", "running") == []


def test_how_many_more_there_are_is_said(three: list[Path], capsys: Output) -> None:
    run(["sessions", "list", "--limit", "2"])
    assert capsys.readouterr().err == "massgen: and 1 more; --limit shows them\n"


def test_sessions_that_are_kept_elsewhere_are_managed_there(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    kept(IDS[0], whole(1))
    root = tmp_path / "elsewhere"
    folder = written(root, IDS[1], troubled().facts).parent
    there = ("--session-dir", os.path.relpath(root))
    assert listed(capsys, *there) == [IDS[1]]
    assert json.loads(told(capsys, "list", "--json", *there))[0]["folder"] == str(folder)
    assert IDS[1] in told(capsys, "search", QUESTION.split()[-1], *there)
    told(capsys, "name", "2026", "Capitals", *there)
    assert told(capsys, "show", "Capitals", *there).startswith(f"session {IDS[1]}, Capitals\n")
    assert told(capsys, "export", *there).startswith(f"# {QUESTION}")
    for command in (["replay", "--speed", "0"], ["verify"]):
        assert run([*command, "Capitals", *there]) in (Exit.ANSWER, Exit.NO_ANSWER)
        assert str(folder) in "".join(capsys.readouterr())
    assert told(capsys, "prune", "--older-than", "0h", *there) == ""
    assert told(capsys, "delete", "Capitals", "--yes", *there) == ""
    assert listed(capsys, *there) == []
    assert listed(capsys) == [IDS[0]]
    assert told(capsys, "import", str(sessions.folder() / IDS[0]), "--session-dir", f"~/{root.name}") == f"{IDS[0]}\n"
    assert listed(capsys, *there) == [IDS[0]]


@pytest.mark.parametrize("folder", ["nosuch", ""])
def test_a_folder_for_sessions_that_there_is_not_is_told(folder: str, capsys: Output) -> None:
    assert f"--session-dir {folder!r}: there is no such folder" in failed(capsys, "list", "--session-dir", folder)


def test_where_there_is_nothing_that_is_said(capsys: Output) -> None:
    run(["sessions", "list"])
    assert capsys.readouterr().err == "massgen: there is no session yet\n"
    kept(IDS[0], whole(1))
    run(["sessions", "list", "--text", "x y z"])
    assert capsys.readouterr().err == "massgen: there is no such session\n"
    assert json.loads(told(capsys, "list", "--text", "x y z", "--json")) == []


@pytest.mark.parametrize("arguments", [("list",), ("search", "capital")])
def test_a_bad_log_is_told_once_and_the_others_are_shown(
    arguments: tuple[str, ...], three: list[Path], capsys: Output
) -> None:
    log = three[0] / sessions.LOG_NAME
    content = f"{HEADER}\nrubbish\n".encode()
    log.write_bytes(content)
    for _ in range(2):
        assert run(["sessions", *arguments]) == 0
        captured = capsys.readouterr()
        assert [IDS[number] in captured.out for number in range(3)] == [False, True, True]
        assert captured.err.count("\n") == 1
        assert captured.err.startswith(f"massgen: {log}:2: this line is damaged: ")
    assert log.read_bytes() == content


# --- search ----------------------------------------------------------------------------------------------------------


def test_a_search_shows_where_the_words_are(three: list[Path], capsys: Output) -> None:
    lines = told(capsys, "search", "compromise").splitlines()
    assert lines[0].startswith(f"{IDS[1]}  ")
    assert (
        lines[1]
        == "  answer by alice: Canberra. It was founded in 1913 as a compromise between the rivals Sydney and Melbourne."
    )
    assert lines[2] == "  vote by alice: it names the compromise"


def test_more_texts_than_are_shown_are_counted(capsys: Output) -> None:
    kept(IDS[0], whole(3))
    kept(IDS[1], whole(3))
    assert run(["sessions", "search", "--limit", "1", "compromise"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == "  and 4 more"
    assert captured.err == "massgen: and 1 more; --limit shows them\n"


def test_a_search_for_programs(three: list[Path], capsys: Output) -> None:
    (row,) = json.loads(told(capsys, "search", "--json", '"both steps"'))
    assert (row["id"], row["name"], row["count"]) == (IDS[1], "Capitals", 1)
    assert row["texts"] == [{"kind": "vote", "agent": "alice", "body": "dates both steps"}]


def test_a_search_that_finds_nothing_says_so(three: list[Path], capsys: Output) -> None:
    assert run(["sessions", "search", "Lisbon"]) == 0
    assert capsys.readouterr().err == "massgen: no session has that\n"
    assert "there are no words to search for in '...'" in failed(capsys, "search", "...")


# --- show ------------------------------------------------------------------------------------------------------------


def test_a_session_is_shown_with_all_its_answers_votes_and_reasons(three: list[Path], capsys: Output) -> None:
    text = told(capsys, "show", "Capitals")
    for part in (
        f"session {IDS[1]}, Capitals\nfolder: {three[1]}\n\n# Question\n\n{QUESTION}\n\nAsked 20",
        "team: alice (openai model-a), bob (openai model-b), carol (openai model-c)",
        "## Answer 8 by alice, after 1.6 s\n\nCanberra. It was founded",
        "carol failed: HTTP 401 from api.example.org",
        "- alice for answer 8 by alice (void): it names the compromise\n- alice for answer 21 by bob: dates both steps\n- bob for answer 21 by bob\n",
        "## Final answer by bob\n\nCanberra.",
        "Chosen: bob (votes: bob 2)\n7 model calls, 5,684 tokens in, 840 out, $0.0147, 7.5 s\n",
    ):
        assert part in text


def test_the_uses_of_tools_are_shown(capsys: Output) -> None:
    working = answering(1).use("alice", "mcp__time__now", '{"zone": "UTC"}').result("alice", "noon")
    working.use("alice", "look").result("alice", "nothing there", is_error=True)
    for _ in range(99):
        working.use("alice", "look", '{"at": "\\x1b[2J"}')
    kept(IDS[0], working)
    uses = told(capsys, "show").partition("## Tools\n\n")[2].partition("\n\n")[0].split("\n")
    assert uses[0] == '- alice: mcp__time__now {"zone": "UTC"}'
    assert uses[1] == "- alice: look {}; it failed"
    assert uses[2].endswith("; it did not return")
    assert uses[-1] == "- and 1 more: `massgen sessions export` has all"
    assert len(uses) == 101
    assert "\x1b" not in "".join(uses)


def test_every_turn_of_a_session_is_shown(capsys: Output) -> None:
    conversation = whole(1).ask("And why?")
    kept(IDS[0], conversation)
    text = told(capsys, "show", IDS[0])
    assert text.count("# Question") == 2
    assert "And why?" in text
    assert "No answer was chosen: interrupted" in text


def test_a_final_answer_that_was_sent_back_is_shown_with_its_reason_and_its_votes_counted(capsys: Output) -> None:
    kept(IDS[0], restarted())
    text = told(capsys, "show")
    assert "## Final answer by alice, sent back: name the capital\n\nSydney.\n\n## Final answer by bob\n\n" in text
    assert "(void)" not in text


def test_what_was_interrupted_is_no_failure_and_the_time_between_does_not_count(capsys: Output) -> None:
    run_ = Run(NAMES[:1]).ask().begin("answer").interrupt("alice").resume().begin("answer").answer("alice")
    kept(IDS[0], run_)
    text = told(capsys, "show")
    assert "alice was interrupted: the run was stopped" in text
    assert f"## Answer {run_.answers['alice']} by alice, after 1.5 s" in text


def test_a_session_for_programs_is_its_facts(three: list[Path], capsys: Output) -> None:
    facts = read(three[0] / sessions.LOG_NAME)
    assert told(capsys, "show", IDS[0], "--json") == "".join(f"{line(each)}\n" for each in facts)


def test_a_session_in_which_nothing_was_asked_is_shown_as_that(capsys: Output) -> None:
    written(sessions.folder(), IDS[0], [])
    assert told(capsys, "show", IDS[0]).endswith("Nothing was asked in it.\n")


def test_facts_that_do_not_belong_together_are_an_error(capsys: Output) -> None:
    for stray in (Answered("ghost", 1, "Boo"), Voted("ada", 1, 99, "")):
        written(sessions.folder(), IDS[0], [*asked("Hm?"), Recorded(2, 1.0, stray)])
        assert "its facts do not belong together" in failed(capsys, "show", IDS[0])


def test_a_damaged_session_is_an_error_with_its_line(three: list[Path], capsys: Output) -> None:
    log = three[0] / sessions.LOG_NAME
    log.write_text(f"{HEADER}\n\0\0\n")
    assert f"{log}:2: this line is damaged" in failed(capsys, "show", IDS[0])
    assert "there is no session" in failed(capsys, "show", "../elsewhere")


MEMBERS = (Member("a", "openai", "m"), Member("b", "openai", "m"))
stray_facts = st.one_of(
    st.just(Asked("Q", MEMBERS)),
    st.builds(Answered, st.sampled_from("abx"), st.integers(0, 9), st.text(max_size=5)),
    st.builds(Voted, st.sampled_from("abx"), st.integers(0, 9), st.integers(0, 9), st.text(max_size=5)),
    st.builds(Stopped, st.sampled_from(["answered", "timeout", "interrupted"])),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(stray_facts, max_size=8))
def test_whatever_the_facts_are_a_session_is_shown_or_refused(facts: list[Fact]) -> None:
    written(sessions.folder(), IDS[0], [Recorded(place, 1.0, each) for place, each in enumerate(facts, 1)])
    assert run(["sessions", "show", IDS[0]]) in (Exit.ANSWER, Exit.USAGE)
    assert run(["sessions", "list"]) == Exit.ANSWER


LOG = "\n".join([HEADER, *map(line, whole(2).facts)]).encode() + b"\n"
damages = st.tuples(
    st.integers(0, len(LOG) - 1), st.sampled_from([b"", b"\0\0\0", b"\n", b"\xff", b'"', b"9", b"{", b"\\ud800"])
)


@settings(max_examples=25, deadline=None)
@given(st.lists(damages, min_size=1, max_size=3), st.booleans())
def test_whatever_is_damaged_nothing_crashes_and_no_byte_changes(damage: list[tuple[int, bytes]], cut: bool) -> None:
    content = LOG
    for place, with_what in damage:
        content = content[:place] + with_what + (b"" if cut else content[place + 1 :])
    log = written(sessions.folder(), IDS[0], [])
    log.write_bytes(content)
    kept(IDS[1], whole(1))
    assert run(["sessions", "list"]) == run(["sessions", "search", "compromise"]) == Exit.ANSWER
    assert run(["sessions", "show", IDS[0]]) in (Exit.ANSWER, Exit.USAGE)
    assert log.read_bytes() == content


# --- name ------------------------------------------------------------------------------------------------------------


def test_a_name_stands_for_the_id_until_it_is_taken_away(three: list[Path], capsys: Output) -> None:
    told(capsys, "name", IDS[0], "Trip to Lisbon")
    assert sessions.find("Trip to Lisbon") == three[0]
    told(capsys, "name", "Trip to Lisbon", "Lisboa")
    told(capsys, "name", "Lisboa", "Lisboa")
    assert sessions.name(three[0]) == "Lisboa"
    told(capsys, "name", "Lisboa", "")
    told(capsys, "name", IDS[0], "")
    assert sessions.name(three[0]) == ""


@pytest.mark.parametrize("name", ["a/b", "..", "-x", "two\nlines", "\x1b[2J", "x" * 81, " padded ", "a\\b"])
def test_what_could_not_be_found_again_is_no_name(name: str, three: list[Path], capsys: Output) -> None:
    assert "cannot be a name" in failed(capsys, "name", "--", IDS[0], name)
    assert sessions.name(three[0]) == ""


def test_a_variable_that_was_not_set_names_no_session(three: list[Path], capsys: Output) -> None:
    assert "it would mean the latest" in failed(capsys, "name", "", "Mine")
    assert [sessions.name(each) for each in three] == ["", "Capitals", ""]


def test_what_means_another_session_is_no_name(three: list[Path], capsys: Output) -> None:
    assert f"'Capitals' means session {IDS[1]} already" in failed(capsys, "name", IDS[0], "Capitals")
    assert "means session 2026" in failed(capsys, "name", IDS[0], "2026")


def test_a_name_that_cannot_be_written_is_told(three: list[Path], capsys: Output) -> None:
    (three[0] / sessions.NAME).mkdir()
    assert run(["sessions", "name", IDS[0], "x"]) == Exit.NO_ANSWER
    assert f"{three[0]}: cannot be named: Is a directory" in capsys.readouterr().err
    assert run(["sessions", "name", IDS[0], ""]) == Exit.NO_ANSWER
    assert f"{three[0]}: cannot be named: Is a directory" in capsys.readouterr().err


# --- delete ----------------------------------------------------------------------------------------------------------


def test_sessions_are_deleted_with_all_that_the_index_knew_of_them(three: list[Path], capsys: Output) -> None:
    (three[1] / "blobs").mkdir()
    (three[1] / "blobs" / "x").touch()
    assert listed(capsys) == [IDS[2], IDS[1], IDS[0]]
    assert told(capsys, "delete", "--yes", IDS[0], "Capitals", IDS[1]) == ""
    assert listed(capsys) == [IDS[2]]
    assert not three[1].exists()
    (index,) = (paths.cache_dir() / "sessions").glob("*.db")
    assert b"compromise" not in index.read_bytes()


def test_without_a_terminal_only_yes_deletes(three: list[Path], capsys: Output) -> None:
    assert "nobody can be asked whether to delete\n  Say so: --yes" in failed(capsys, "delete", IDS[0])
    assert three[0].exists()


@pytest.mark.parametrize(("reply", "there"), [("y", False), ("n", True)])
async def test_on_a_terminal_one_is_asked(reply: str, there: bool, three: list[Path]) -> None:
    master, terminal = os.openpty()
    try:
        os.write(master, f"{reply}\n".encode())
        async with started("sessions", "delete", IDS[1], stdin=terminal) as process:
            ran = await ended(process)
    finally:
        os.close(master)
        os.close(terminal)
    assert f"Delete session {IDS[1]}, Capitals, {QUESTION}? [y/N]" in ran.err
    assert (ran.code, three[1].exists()) == (0, there)


def test_a_running_session_is_not_deleted(three: list[Path], capsys: Output) -> None:
    with (three[2] / sessions.LOG_NAME).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "a process is writing this session" in failed(capsys, "delete", "--yes", IDS[2])
        assert told(capsys, "prune", "--older-than", "0h", "--yes") == ""
    assert [each.exists() for each in three] == [False, True, True]


def test_nothing_but_a_session_is_ever_deleted(three: list[Path], tmp_path: Path, capsys: Output) -> None:
    elsewhere = written(tmp_path / "elsewhere", IDS[3], asked("Mine")).parent
    link = sessions.folder() / IDS[3]
    link.symlink_to(elsewhere)
    (three[0] / "link").symlink_to(elsewhere)
    for reference in (IDS[3], str(elsewhere), f"{sessions.folder()}/../../../elsewhere/{IDS[3]}", str(link)):
        assert "this is no session's own folder, and is not deleted" in failed(capsys, "delete", "--yes", reference)
    assert f"--session-dir {elsewhere.parent}" in failed(capsys, "delete", "--yes", IDS[0], str(elsewhere))
    assert "--session-dir" not in failed(capsys, "delete", "--yes", IDS[3])
    assert three[0].exists()
    assert "there is no session" in failed(capsys, "delete", "--yes", "../..")
    assert "a session's id is empty" in failed(capsys, "delete", "--yes", "")
    told(capsys, "delete", "--yes", f"{sessions.folder()}/{IDS[0]}")
    assert [each.exists() for each in (three[0], elsewhere / sessions.LOG_NAME, link)] == [False, True, True]


def test_what_cannot_be_deleted_is_told(three: list[Path], capsys: Output) -> None:
    log = three[0] / sessions.LOG_NAME
    log.unlink()
    log.symlink_to(three[1] / sessions.LOG_NAME)
    three[1].rename(three[1].with_name("gone"))
    assert "there is no session" in failed(capsys, "delete", "--yes", IDS[0])
    assert not sessions.running(three[0])


def test_a_damaged_session_can_be_deleted(three: list[Path], capsys: Output) -> None:
    (three[0] / sessions.LOG_NAME).write_bytes(b"\0" * 100)
    told(capsys, "delete", "--yes", IDS[0])
    assert not three[0].exists()


# --- prune -----------------------------------------------------------------------------------------------------------


def aged(folder: Path, days: float) -> None:
    then = time.time() - days * 86_400
    os.utime(folder / sessions.LOG_NAME, (then, then))


def test_old_sessions_are_named_first_and_deleted_on_yes(three: list[Path], capsys: Output) -> None:
    aged(three[0], 31)
    aged(three[2], 29)
    assert run(["sessions", "prune", "--older-than", "30d"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"would delete session {IDS[0]}, {QUESTION}\n"
    assert captured.err == "massgen: nothing was deleted; --yes deletes them\n"
    assert three[0].exists()
    assert run(["sessions", "prune", "--older-than", "30d", "--yes"]) == 0
    assert capsys.readouterr().err == f"massgen: deleted {three[0]}\n"
    assert [each.exists() for each in three] == [False, True, True]
    assert run(["sessions", "prune", "--older-than", "5w"]) == 0
    assert capsys.readouterr().err == "massgen: no session is that old\n"


def test_a_session_with_a_name_stays(three: list[Path], capsys: Output) -> None:
    for each in three:
        aged(each, 100)
    told(capsys, "prune", "--older-than", "30d", "--yes")
    assert [each.exists() for each in three] == [False, True, False]


def test_a_damaged_session_gets_old_too(three: list[Path], capsys: Output) -> None:
    (three[0] / sessions.LOG_NAME).write_bytes(b"\0" * 100)
    aged(three[0], 100)
    assert told(capsys, "prune", "--older-than", "30d") == f"would delete session {IDS[0]}, which cannot be read\n"


@pytest.mark.parametrize("age", ["30", "d", "-1d", "1y", "1.5d", ""])
def test_an_age_is_a_number_and_a_unit(age: str, three: list[Path], capsys: Output) -> None:
    assert "is no age\n  A number and h, d or w, as 30d." in failed(capsys, "prune", f"--older-than={age}")


# --- the rest --------------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> Callable[..., list[str]]:
    """What zsh is offered for the last of some words."""

    def ask(*words: str) -> list[str]:
        monkeypatch.setenv("_MASSGEN_COMPLETE", "zsh_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(["massgen", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        assert run([]) == Exit.ANSWER
        lines = capsys.readouterr().out.removesuffix("\n").split("\n")
        return [": ".join(each).removesuffix(": _") for each in zip(lines[1::3], lines[2::3], strict=True)]

    return ask


@pytest.mark.parametrize(
    "words",
    [
        ("sessions", "show"),
        ("sessions", "export"),
        ("sessions", "delete", IDS[0]),
        ("replay",),
        ("verify",),
        ("--continue",),
        ("--no-display", "--continue"),
    ],
)
def test_a_shell_is_told_the_sessions(
    words: tuple[str, ...], three: list[Path], shell: Callable[..., list[str]]
) -> None:
    assert shell(*words, "2026") == [IDS[2], f"{IDS[1]}: Capitals", IDS[0]]
    assert shell(*words, "Cap") == [f"Capitals: {IDS[1]}"]
    assert shell(*words, "2025") == []
    assert shell(*words, "./2026") == ["./2026"]


def test_a_shell_is_told_the_sessions_of_the_folder_that_is_named(
    tmp_path: Path, shell: Callable[..., list[str]]
) -> None:
    written(tmp_path, IDS[5], asked("Hm?"))
    assert shell("--session-dir", str(tmp_path), "--continue", "") == [IDS[5]]
    assert shell("sessions", "show", "--session-dir", str(tmp_path), "") == [IDS[5]]
    assert shell("--session-dir", str(tmp_path / "nothing"), "--continue=2") == []


def test_a_shell_is_told_the_latest_of_many_sessions(shell: Callable[..., list[str]]) -> None:
    for number in range(MAX_SESSIONS + 20):
        kept(f"20260101-{number:06}-aaaaaa", Run().ask())
    assert [shell("replay", "")[place][9:15] for place in (0, -1)] == ["000119", "000020"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (("--template", "@examples/quickstart"), [0]),
        (("--template", "quickstart"), [0]),
        (("--template", "team.yaml"), [1]),
        (("--template", "team"), [1]),
        (("--template", "eam"), []),
        (("--folder", "/home/ada"), [1, 0]),
        (("--folder", "/home/ada/project/"), [1]),
        (("--folder", "/home/ad"), []),
        (("--folder", "/home/ada/project", "--template", "quickstart"), []),
        (("--folder", "."), [2]),
    ],
)
def test_sessions_are_found_by_where_and_with_what_they_were_asked(
    filters: tuple[str, ...], expected: list[int], capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "real" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path / "link")
    places = [
        ("@examples/quickstart", "/home/ada"),
        ("/etc/team.yaml", "/home/ada/project"),
        ("", os.getcwd() + "/below"),
    ]
    for session, (template, folder) in zip(IDS, places, strict=False):
        kept(session, Run(facts=[Recorded(1, 1.0, Asked("Hm?", (), folder=folder, template=template))]))
    assert listed(capsys, *filters) == [IDS[place] for place in expected]


def test_a_session_that_went_on_and_was_killed_is_interrupted(capsys: Output) -> None:
    run_ = answering(2)
    run_.add(Stopped("timeout"))
    run_.add(Resumed((Member("alice", "openai", "model-a"), Member("zoe", "openai", "model-z"))))
    kept(IDS[0], run_)
    assert listed(capsys, "--status", "interrupted", "--agent", "zoe") == [IDS[0]]
    run_.add(Stopped("no answer"))
    kept(IDS[0], run_)
    assert listed(capsys, "--status", "no-answer") == [IDS[0]]


async def test_a_list_loads_nothing_heavy(three: list[Path]) -> None:
    await massgen("sessions", "list")
    program = "import sys; from massgen.cli import run; run(['sessions', 'list']); print(*sys.modules)"
    ran = await massgen(program=("-c", program))
    assert not {"massgen.events", "massgen.display.view", "massgen.log", "pydantic", "asyncio", "rich"} & {
        *ran.out.split()
    }
