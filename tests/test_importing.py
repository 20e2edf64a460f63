"""Sessions from elsewhere: ours of another machine, exports, and what the public MassGen leaves on disk."""

import hashlib
import json
import os
import resource
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massgen import sessions
from massgen.cli import run
from massgen.errors import Exit, LogError, UsageError
from massgen.events import Answered, Asked, Chosen, Fact, Member, Presented, Recorded, Stopped, Voted
from massgen.exports import rendered
from massgen.importing import KNOWN, Imported, foreign, imported
from massgen.importing import files as import_files
from massgen.importing import layouts as import_layouts
from massgen.importing import logs as import_logs
from massgen.log import read
from massgen.state import State, fold
from tests.command import massgen, write_config
from tests.facts import Run, troubled, whole
from tests.providers import Simulator, Team
from tests.public_sessions import LOG, SESSION, Logs, Session
from tests.test_session_index import HEADER, IDS, written
from tests.test_sessions_command import Output, kept, told

TEAM = (
    {"id": "agent_a", "backend": {"type": "openai", "model": "gpt-5", "api_key": "sk-0123456789"}},
    {"id": "agent_b", "backend": {"type": "gemini", "model": "gemini-2.5-pro"}},
)
AT = "20251103_1430{}_000000"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The public MassGen writes local times."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def facts(made: Imported) -> list[Fact]:
    return [each.fact for each in recorded(made)]


def recorded(made: Imported) -> list[Recorded]:
    return [*read(made.folder / sessions.LOG_NAME)]


def state(made: Imported) -> State:
    return fold(recorded(made))


def of(kind: type[Fact] | tuple[type[Fact], ...], made: Imported) -> list[Fact]:
    return [each for each in facts(made) if isinstance(each, kind)]


def seen(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file below `folder`: its time and what is in it."""
    files = (each for each in sorted(folder.rglob("*")) if each.is_file())
    return {str(each): (each.stat().st_mtime_ns, hashlib.sha256(each.read_bytes()).hexdigest()) for each in files}


def is_taken(made: Imported, capsys: Output, *, code: int = Exit.ANSWER) -> None:
    """All that is done with sessions can be done with it."""
    session = made.folder.name
    for arguments in (("sessions", "show", session), ("sessions", "export", session, "--format", "json")):
        assert run([*arguments]) == 0
    assert run(["replay", session, "--speed", "0"]) == code
    assert session in told(capsys, "list")
    for form in ("md", "html"):
        assert rendered(recorded(made), form)


def logs_of_two(base: Path, *parts: str) -> Logs:
    """A run in which b revised its answer after a vote, which that made void."""
    logs = Logs.new(base, *parts).metadata("Who was Noether?", TEAM)
    logs.events("Who was Noether?", ["agent_a", "agent_b"], "agent_b", 1762180222.5, 1762180290.25)
    logs.answer("agent_a", AT.format(30), "A mathematician.")
    logs.answer("agent_b", AT.format(32), "A physicist.")
    logs.vote("agent_a", AT.format(40), "agent_a", "agent1.1", "mine is right")
    logs.answer("agent_b", AT.format(42), "An algebraist, of Göttingen.")
    logs.vote("agent_a", AT.format(50), "agent_b", "agent2.2", "more exact")
    logs.vote("agent_b", AT.format(51), "agent_b", "agent2.2")
    logs.final("agent_b", "Emmy Noether was an algebraist, of Göttingen.")
    return logs


# --- sessions of the public MassGen ----------------------------------------------------------------------------------


def test_a_conversation_is_imported_with_its_questions_answers_and_times(tmp_path: Path, capsys: Output) -> None:
    session = Session.new(tmp_path)
    session.turn(1, "What is 2 + 2?", "4", "agent_b")
    session.turn(2, "And times\n\n3?", "12\n", "agent_a", "2025-10-29T12:05:00")
    before = seen(tmp_path)
    made = imported(session.path)
    assert seen(session.path) == before
    assert [each.at for each in recorded(made)][:1] == [1761739205.25]
    assert of(Asked, made) == [
        Asked("What is 2 + 2?", (Member("agent_b", "unknown", ""),)),
        Asked("And times\n\n3?", (Member("agent_a", "unknown", ""),)),
    ]
    assert of(Presented, made) == [Presented("agent_b", None, "4"), Presented("agent_a", None, "12\n")]
    assert [(each.question, each.answer, each.author) for each in state(made).history] == [
        ("What is 2 + 2?", "4", "agent_b")
    ]
    assert made.folder.name.startswith("20251029-120005-")
    assert made.notes == (f"{session.path.name}: files that agents made (workspace) are left out",)
    is_taken(made, capsys)
    assert run(["verify", made.folder.name]) == Exit.ANSWER


def test_models_are_told_where_the_public_version_tells_them(tmp_path: Path, capsys: Output) -> None:
    session = Session.new(tmp_path)
    session.turn(1, "Why?", "So.", "agent_b", models={"agent_a": "gpt-5", "agent_b": "claude-5"})
    made = imported(session.path)
    team = (Member("agent_a", "unknown", "gpt-5"), Member("agent_b", "unknown", "claude-5"))
    assert of(Asked, made) == [Asked("Why?", team)]
    assert of(Chosen, made) == [Chosen(3, {}, "consensus")]
    is_taken(made, capsys)


def test_a_cancelled_turn_has_answers_and_no_final_one(tmp_path: Path, capsys: Output) -> None:
    session = Session.new(tmp_path)
    session.turn(1, "One?", "1")
    session.cancelled(2, "Two?", {"agent_a": "2", "agent_b": "II"})
    made = imported(session.path)
    assert [each for each in facts(made) if isinstance(each, Answered)][1:] == [
        Answered("agent_a", 8, "2"),
        Answered("agent_b", 9, "II"),
    ]
    assert facts(made)[-1] == Stopped("interrupted")
    is_taken(made, capsys, code=Exit.INTERRUPTED)
    assert '"status": "interrupted"' in told(capsys, "list", "--json")


@pytest.mark.parametrize("cut", [0, 1, 20, 100])
def test_of_a_turn_with_damaged_metadata_the_summary_tells_the_question(cut: int, tmp_path: Path) -> None:
    session = Session.new(tmp_path)
    session.turn(1, "What is\nthis?", "That.", "agent_c")
    metadata = session.turn(2, "And this?", "Those.") / "metadata.json"
    for damaged in (metadata, session.path / "turn_1" / "metadata.json"):
        damaged.write_bytes(damaged.read_bytes()[:cut])
    made = imported(session.path)
    assert [each.question for each in of(Asked, made) if isinstance(each, Asked)] == ["What is\nthis?", "And this?"]
    assert [each.agent for each in of(Presented, made) if isinstance(each, Presented)] == ["agent_c", "agent_a"]
    assert recorded(made)[0].at == 1761739205.25
    assert any(note.startswith(f"{SESSION}/turn_1/metadata.json: damaged: ") for note in made.notes)
    assert f"{SESSION}/turn_1/metadata.json: the question is taken from SESSION_SUMMARY.txt instead" in made.notes


def test_a_damaged_cancelled_turn_is_still_one(tmp_path: Path) -> None:
    session = Session.new(tmp_path)
    (session.cancelled(1, "One?", {"agent_a": "1"}) / "metadata.json").write_text("{")
    made = imported(session.path)
    assert facts(made)[-1] == Stopped("interrupted")
    assert [each.content for each in facts(made) if isinstance(each, Answered)] == ["1"]


def test_what_is_missing_is_told_and_the_rest_imported(tmp_path: Path, capsys: Output) -> None:
    session = Session.new(tmp_path)
    session.turn(1, "One?", "1")
    session.turn(3, "Three?", None)
    shutil.rmtree(session.turn(4, "Four?", "4"))
    (session.path / "SESSION_SUMMARY.txt").unlink()
    (session.turn(5, "Five?", "5") / "metadata.json").write_text("[]")
    (session.path / "SESSION_SUMMARY.txt").unlink()
    made = imported(session.path)
    assert [each.question for each in facts(made) if isinstance(each, Asked)] == ["One?", "Three?"]
    assert facts(made)[-1] == Stopped("no answer")
    for note in (
        f"{SESSION}/turn_2: missing",
        f"{SESSION}/turn_4: missing",
        f"{SESSION}/turn_3/answer.txt: no answer; the question is kept without one",
        f"{SESSION}/turn_5/metadata.json: damaged: it holds no object",
        f"{SESSION}/turn_5: its question is told nowhere; the turn is left out",
    ):
        assert note in made.notes
    is_taken(made, capsys, code=Exit.NO_ANSWER)


def test_an_answer_that_is_not_utf8_is_imported_as_far_as_it_is(tmp_path: Path) -> None:
    session = Session.new(tmp_path)
    (session.turn(1, "Ou?", "") / "answer.txt").write_bytes("À Göttingen".encode("cp1252"))
    made = imported(session.path)
    assert of(Presented, made) == [Presented("agent_a", None, "\ufffd G\ufffdttingen")]
    assert f"{SESSION}/turn_1/answer.txt: not all of it is UTF-8; what is not is shown as \ufffd" in made.notes


def test_what_is_too_large_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session.new(tmp_path)
    session.turn(1, "Long?", "x" * 1_000_001)
    session.turn(2, "Short?", "y")
    monkeypatch.setattr(import_files, "MAX_BYTES", 1_000_000)
    made = imported(session.path)
    assert of(Presented, made) == [Presented("agent_a", None, "y")]
    assert f"{SESSION}/turn_1/answer.txt: larger than 1 MB; left out" in made.notes


def test_a_description_that_would_take_long_is_left_out(tmp_path: Path) -> None:
    logs = logs_of_two(tmp_path, "turn_1")
    (logs.path / "execution_metadata.yaml").write_text("#" * 1_000_001)
    made = imported(logs.root)
    assert made.notes == (f"{LOG}/turn_1/execution_metadata.yaml: larger than 1 MB; left out",)
    assert [each.question for each in facts(made) if isinstance(each, Asked)] == ["Who was Noether?"]


def test_turns_beyond_the_limit_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session.new(tmp_path)
    for number in range(1, 5):
        session.turn(number, f"{number}?", "y")
    monkeypatch.setattr(import_layouts, "MAX_TURNS", 3)
    made = imported(session.path)
    assert len(of(Asked, made)) == 3
    assert f"{session.path.name}: 4 turns; those after the first 3 are left out" in made.notes


def test_links_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("launch codes")
    (tmp_path / "elsewhere").mkdir()
    session = Session.new(tmp_path)
    session.turn(1, "One?", "1")
    inside = session.turn(2, "Two?", None)
    (inside / "answer.txt").symlink_to("../turn_1/answer.txt")
    (session.turn(3, "Three?", None) / "answer.txt").symlink_to(secret)
    (session.turn(4, "Four?", None) / "answer.txt").symlink_to("/no/such/file")
    made = imported(session.path)
    assert [each.content for each in facts(made) if isinstance(each, Presented)] == ["1", "1"]
    assert f"{SESSION}/turn_3/answer.txt: a link that leads out of the folder; left out" in made.notes
    assert "launch codes" not in (made.folder / sessions.LOG_NAME).read_text()


def test_links_to_themselves_are_told(tmp_path: Path) -> None:
    session = Session.new(tmp_path)
    link = session.turn(1, "One?", None) / "answer.txt"
    link.symlink_to(link.name)
    made = imported(session.path)
    assert any("turn_1/answer.txt: cannot be read: " in note for note in made.notes)
    assert import_files.Source(tmp_path).changed(tmp_path / "nothing") == 0.0


def test_a_session_without_a_summary_is_one(tmp_path: Path) -> None:
    session = Session.new(tmp_path)
    session.turn(1, "One?", "1")
    (session.path / "SESSION_SUMMARY.txt").unlink()
    (session.path / "winning_agents_history.json").write_text('[1, {"agent_id": 5, "turn": 1}]')
    assert of(Presented, imported(session.path)) == [Presented("agent_a", None, "1")]
    (session.path / "winning_agents_history.json").unlink()
    assert imported(session.path).notes[0].endswith(KNOWN)


def test_pipes_and_folders_are_no_files(tmp_path: Path) -> None:
    session = Session.new(tmp_path)
    os.mkfifo(session.turn(1, "One?", None) / "answer.txt")
    (session.turn(2, "Two?", None) / "answer.txt").mkdir()
    made = imported(session.path)
    assert {
        f"{SESSION}/turn_1/answer.txt: not a file; left out",
        f"{SESSION}/turn_2/answer.txt: not a file; left out",
    } <= {*made.notes}


@pytest.mark.parametrize("agent", ["../../etc", "..", "", "a\\b", "/", "\x1b[2J"])
def test_names_that_could_be_paths_are_nobodys(agent: str, tmp_path: Path) -> None:
    session = Session.new(tmp_path)
    (session.turn(1, "One?", "1", agent) / "metadata.json").write_text(
        json.dumps({"task": "One?", "winning_agent": agent or None, "session_id": "../../../x", "timestamp": "soon"})
    )
    (session.path / "winning_agents_history.json").write_text("{}")
    (session.path / "SESSION_SUMMARY.txt").write_text("nothing")
    made = imported(session.path)
    assert of(Presented, made) == [Presented("unknown", None, "1")]
    assert made.folder.parent == sessions.folder()


def test_the_history_of_winners_tells_what_metadata_does_not(tmp_path: Path) -> None:
    session = Session.new(tmp_path)
    (session.turn(1, "One?", "1", "agent_z") / "metadata.json").write_text('{"task": "One?"}')
    (session.path / "SESSION_SUMMARY.txt").unlink()
    assert of(Presented, imported(session.path)) == [Presented("agent_z", None, "1")]


@pytest.mark.parametrize("at", ["soon", "", None, 1e300, -5, float("nan"), True, "9999-99-99", [1]])
def test_a_time_that_is_none_is_that_of_the_file(at: object, tmp_path: Path) -> None:
    session = Session.new(tmp_path)
    folder = session.turn(1, "One?", "1")
    (folder / "metadata.json").write_text(json.dumps({"task": "One?", "timestamp": at}))
    (session.path / "SESSION_SUMMARY.txt").unlink()
    os.utime(folder, (1_700_000_000, 1_700_000_000))
    assert recorded(imported(session.path))[0].at == 1_700_000_000


# --- its logs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [("turn_1", "attempt_1"), ("turn_1",), ()])
def test_logs_hold_all_answers_and_votes(parts: tuple[str, ...], tmp_path: Path, capsys: Output) -> None:
    logs = logs_of_two(tmp_path, *parts)
    before = seen(tmp_path / ".massgen")
    made = imported(logs.root)
    assert seen(tmp_path / ".massgen") == before
    assert made.notes == ()
    team = (Member("agent_a", "openai", "gpt-5"), Member("agent_b", "gemini", "gemini-2.5-pro"))
    assert of(Asked, made) == [Asked("Who was Noether?", team)]
    given = {each.seq: each.fact.content for each in recorded(made) if isinstance(each.fact, Answered)}
    assert [*given.values()] == ["A mathematician.", "A physicist.", "An algebraist, of Göttingen."]
    votes = [(each.agent, given[each.choice], each.reason) for each in facts(made) if isinstance(each, Voted)]
    assert votes == [
        ("agent_a", "A mathematician.", "mine is right"),
        ("agent_a", "An algebraist, of Göttingen.", "more exact"),
        ("agent_b", "An algebraist, of Göttingen.", ""),
    ]
    (chosen,) = (each for each in facts(made) if isinstance(each, Chosen))
    assert (given[chosen.answer], [*chosen.tally.values()]) == ("An algebraist, of Göttingen.", [2])
    assert facts(made)[-1] == Stopped("answered")
    assert (recorded(made)[0].at, recorded(made)[-1].at) == (1762180222.5, 1762180290.25)
    assert "sk-0123456789" not in (made.folder / sessions.LOG_NAME).read_text()
    is_taken(made, capsys)
    document = json.loads(rendered(recorded(made), "json"))
    assert [each["counted"] for each in document["turns"][0]["votes"]] == [False, True, True]


def test_a_run_that_was_killed_has_what_was_written_until_then(tmp_path: Path, capsys: Output) -> None:
    logs = Logs.new(tmp_path, "turn_1", "attempt_1").metadata("Why?", TEAM)
    logs.answer("agent_b", AT.format(30), "Because.")
    made = imported(logs.root)
    assert [each.content for each in facts(made) if isinstance(each, Answered)] == ["Because."]
    assert facts(made)[-1] == Stopped("interrupted")
    is_taken(made, capsys, code=Exit.INTERRUPTED)


def test_an_agent_alone_that_votes_for_itself_is_alone(tmp_path: Path, capsys: Output) -> None:
    logs = Logs.new(tmp_path, "turn_1", "attempt_1").metadata("Why?", TEAM[:1])
    logs.answer("agent_a", AT.format(30), "Hm.")
    logs.answer("agent_a", AT.format(31), "Because.")
    logs.vote("agent_a", AT.format(32), "agent_a")
    logs.final("agent_a", "Because it is.")
    made = imported(logs.root)
    assert of(Voted, made) == []
    assert [each.why for each in facts(made) if isinstance(each, Chosen)] == ["single agent"]
    is_taken(made, capsys)


def test_the_last_attempt_counts(tmp_path: Path) -> None:
    first = Logs.new(tmp_path, "turn_1", "attempt_1").metadata("Why?", TEAM)
    first.final("agent_a", "Wrong.")
    Logs(first.path.parent / "attempt_2").path.mkdir()
    last = Logs(first.path.parent / "attempt_2").metadata("Why?", TEAM)
    last.answer("agent_a", AT.format(59), "Right.")
    last.final("agent_a", "Right.")
    made = imported(first.root)
    assert of(Presented, made) == [Presented("agent_a", None, "Right.")]
    assert made.notes == (f"{LOG}/turn_1: of its 2 attempts the last is taken; the others were sent back",)


def test_votes_without_labels_and_for_nobody(tmp_path: Path) -> None:
    logs = Logs.new(tmp_path, "turn_1").events("Why?", ["agent_a", "agent_b"], None, 1762180222.5, None)
    logs.answer("agent_a", AT.format(30), "So.")
    logs.answer("agent_a", AT.format(31), "  ")
    logs.vote("agent_b", AT.format(32), "agent_a")
    logs.vote("agent_b", AT.format(33), "agent_c")
    (logs.vote("agent_b", AT.format(34), "agent_c")).write_text('{"reason": "none"}')
    made = imported(logs.root)
    assert [(each.agent, each.choice) for each in facts(made) if isinstance(each, Voted)] == [("agent_b", 3)]
    assert made.notes == (f"{logs.root.name}: agent_b voted for agent_c, of whom there was no answer; left out",)
    assert of(Asked, made) == [Asked("Why?", (Member("agent_a", "unknown", ""), Member("agent_b", "unknown", "")))]


def test_a_vote_for_an_answer_that_was_revised_is_void(tmp_path: Path) -> None:
    logs = Logs.new(tmp_path, "turn_1").metadata("Why?", TEAM)
    for second, text in ((30, "One."), (31, "Two.")):
        logs.answer("agent_a", AT.format(second), text)
    logs.vote("agent_b", AT.format(32), "agent_a", "agent1.1")
    made = imported(logs.root)
    assert state(made).tally == {}


def test_a_final_answer_without_any_other_is_one(tmp_path: Path, capsys: Output) -> None:
    logs = Logs.new(tmp_path, "turn_1", "attempt_1")
    (logs.path / "status.json").write_text(json.dumps({"meta": {"question": "Why?"}, "results": {"winner": "b"}}))
    logs.final("a", "Not this.")
    logs.final("b", "Because.")
    (logs.path / "execution_metadata.yaml").write_text("query: [")
    made = imported(logs.root)
    assert of(Presented, made) == [Presented("b", None, "Because.")]
    assert recorded(made)[0].at == 1762180222.5
    assert made.notes[0].startswith(f"{LOG}/turn_1/attempt_1/execution_metadata.yaml: damaged: ")
    is_taken(made, capsys)


def test_acts_beyond_the_limit_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = logs_of_two(tmp_path, "turn_1")
    monkeypatch.setattr(import_logs, "MAX_ACTS", 2)
    made = imported(logs.root)
    assert f"{LOG}/turn_1: the answers and votes after the first 2 are left out" in made.notes
    assert len(of(Answered, made)) == 2


def test_entries_beyond_the_limit_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = logs_of_two(tmp_path, "turn_1")
    monkeypatch.setattr(import_files, "MAX_ENTRIES", 2)
    assert f"{LOG}/turn_1: more than 2 entries; the rest is left out" in imported(logs.root).notes


# --- which folder is meant -------------------------------------------------------------------------------------------


def test_a_part_of_a_session_means_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = logs_of_two(tmp_path, "turn_1", "attempt_1")
    (logs.path / sessions.LOG_NAME).write_text('{"event_type": "session_start"}\n')  # theirs has that name, too
    made = imported(logs.root)
    for part in (logs.path, logs.path.parent):
        assert foreign(part)
        assert imported(part) == Imported(made.folder, (f"{LOG}: {KNOWN}",))
    monkeypatch.chdir(logs.path)
    assert imported(Path()).folder == made.folder
    session = Session.new(tmp_path)
    assert imported(session.turn(1, "One?", "1")).folder == imported(session.path).folder != made.folder


def test_of_all_that_is_there_the_latest_is_taken(tmp_path: Path) -> None:
    massgen = tmp_path / ".massgen"
    logs = logs_of_two(tmp_path, "turn_1")
    assert imported(massgen).folder == imported(massgen / "massgen_logs").folder == imported(logs.root).folder
    Session.new(tmp_path, "session_20251029_120000").turn(1, "Old?", "1")
    Session.new(tmp_path, "session_20251030_120000").turn(1, "New?", "1")
    Session.new(tmp_path, "session_20251031_120000")  # nothing is in it
    os.utime(Session.new(tmp_path, "mine").turn(1, "Mine?", "1").parent, (1, 1))
    for path in (massgen, massgen / "sessions", tmp_path / ".massgen" / "sessions" / "session_20251030_120000"):
        made = imported(path)
        assert [each.question for each in facts(made) if isinstance(each, Asked)] == ["New?"]
    assert any("the last begun of 3; name another by its own folder" in note for note in imported(massgen).notes)


def test_a_folder_of_ours_with_many_is_told_to_be_one(tmp_path: Path) -> None:
    written(tmp_path, IDS[0], whole(1).facts)
    written(tmp_path, IDS[1], whole(1).facts)
    with pytest.raises(UsageError, match=r"it holds sessions \(2\)\n  Name one, or all: .*/\*"):
        imported(tmp_path)


def test_what_is_foreign_is_told_cheaply(tmp_path: Path) -> None:
    ours = written(tmp_path / "there", IDS[0], whole(1).facts)
    export = tmp_path / "x.json"
    export.write_text(rendered(whole(1).facts, "json"))
    (tmp_path / "empty").mkdir()
    session = Session.new(tmp_path)
    session.turn(1, "One?", "1")
    for path in (export, session.path, session.path / "turn_1", tmp_path / ".massgen"):
        assert foreign(path)
    for path in (ours, ours.parent, tmp_path / "empty", tmp_path / "nothing", session.path / "turn_1" / "answer.txt"):
        assert not foreign(path)


def test_a_question_is_no_path(tmp_path: Path) -> None:
    text = Path("How far is it " * 100 + "/?")
    assert not foreign(text)
    with pytest.raises(UsageError, match="there is no session"):
        imported(text)


@pytest.mark.parametrize("what", ["empty", "missing", "text", "pipe", "bare"])
def test_where_there_is_no_session_that_is_said(what: str, tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / what
    match what:
        case "empty":
            path.mkdir()
        case "text":
            path.write_text("hello")
        case "pipe":
            os.mkfifo(path)
        case "bare":
            (path / "turn_1").mkdir(parents=True)
        case _:
            pass
    assert run(["sessions", "import", str(path)]) == Exit.USAGE
    err = capsys.readouterr().err
    assert err.startswith(f"massgen: {path}: ")
    assert ("there is no session\n" in err) == (what != "bare")
    assert ("nothing in it can be imported; bare/turn_1: its question is told nowhere" in err) == (what == "bare")
    assert sessions.ids(sessions.folder()) == []


# --- again and again -------------------------------------------------------------------------------------------------


def test_the_same_is_imported_once_even_from_a_copy(tmp_path: Path) -> None:
    session = Session.new(tmp_path)
    session.turn(1, "One?", "1")
    made = imported(session.path)
    copy = Path(shutil.copytree(session.path, tmp_path / "copy" / session.path.name))
    with (made.folder / sessions.LOG_NAME).open("a") as file:  # it has gone on here
        file.write(f'{{"seq":{len(recorded(made)) + 1},"at":2e9,"type":"Asked","question":"More?","roster":[]}}\n')
    again = imported(copy)
    assert (again.folder, again.notes[0]) == (made.folder, f"{SESSION}: {KNOWN}")
    session.turn(2, "Two?", "2")
    assert imported(session.path).folder != made.folder


# --- ours ------------------------------------------------------------------------------------------------------------


def elsewhere(tmp_path: Path, run_: Run, session: str = IDS[0]) -> Path:
    return written(tmp_path / "elsewhere", session, run_.facts).parent


def test_a_session_of_another_machine_keeps_its_id_name_and_files(tmp_path: Path, capsys: Output) -> None:
    source = elsewhere(tmp_path, troubled())
    (source / sessions.NAME).write_text("Capitals\n")
    (source / "blobs").mkdir()
    (source / "blobs" / "y").symlink_to(source / sessions.NAME)
    (source / "notes.txt").write_text("mine")
    before = seen(source)
    made = imported(source)
    assert seen(source) == before
    assert made == Imported(sessions.folder() / IDS[0], (f"{IDS[0]}/blobs/y: not what its name says; left out",))
    assert recorded(made) == troubled().facts
    assert sessions.find("Capitals") == made.folder
    files = {str(each.relative_to(made.folder)) for each in made.folder.rglob("*") if each.is_file()}
    assert files == {sessions.LOG_NAME, sessions.NAME, "origin"}
    modes = [oct((made.folder / each).stat().st_mode)[-3:] for each in ("", sessions.LOG_NAME)]
    assert modes == ["700", "600"]
    assert imported(source / sessions.LOG_NAME) == Imported(made.folder, (f"{IDS[0]}: {KNOWN}",))
    is_taken(made, capsys)


def test_large_texts_come_along(tmp_path: Path, capsys: Output) -> None:
    source = Path(shutil.copytree(Path(__file__).parent / "golden" / "large", tmp_path / IDS[0]))
    made = imported(source)
    assert recorded(made) == [*read(source / sessions.LOG_NAME)]
    assert [oct(each.stat().st_mode)[-3:] for each in (made.folder / "blobs").iterdir()] == ["600"]
    (blob,) = (source / "blobs").iterdir()
    blob.write_text("something else")
    with pytest.raises(LogError, match="a text of this fact cannot be read"):
        imported(source, tmp_path / "other")
    assert sessions.ids(tmp_path / "other") == []


def test_large_answers_of_others_stand_beside_the_log(tmp_path: Path) -> None:
    session = Session.new(tmp_path)
    session.turn(1, "Long?", "long " * 100_000)
    made = imported(session.path)
    assert of(Presented, made) == [Presented("agent_a", None, "long " * 100_000)]
    assert {each.name for each in made.folder.iterdir()} == {sessions.LOG_NAME, "origin", "blobs"}


def test_another_with_its_id_gets_a_new_one_and_is_known_by_that(tmp_path: Path) -> None:
    kept(IDS[0], whole(2))
    (sessions.folder() / IDS[0] / sessions.NAME).write_text("Capitals")
    source = elsewhere(tmp_path, troubled())
    (source / sessions.NAME).write_text("Capitals")
    made = imported(source)
    assert made.folder.name != IDS[0]
    assert made.notes == (
        f"{source.name}: another session has its id; it is {made.folder.name} here",
        f"{IDS[0]}/name: 'Capitals' means another session here; left out",
    )
    assert recorded(made) == troubled().facts
    assert imported(source) == Imported(made.folder, (f"{IDS[0]}: {KNOWN}",))


def test_a_session_that_has_gone_on_here_is_the_same(tmp_path: Path) -> None:
    source = elsewhere(tmp_path, whole(1))
    kept(IDS[0], whole(1).ask("And why?"))
    assert imported(source) == Imported(sessions.folder() / IDS[0], (f"{IDS[0]}: {KNOWN}",))


def test_one_that_has_gone_on_there_is_another(tmp_path: Path) -> None:
    kept(IDS[0], whole(1))
    source = elsewhere(tmp_path, whole(1).ask("And why?"))
    made = imported(source)
    assert (made.folder.name != IDS[0], len(of(Asked, made))) == (True, 2)


def test_files_that_agents_made_stay_behind_and_that_is_told(tmp_path: Path) -> None:
    source = elsewhere(tmp_path, whole(1))
    (source / "workspaces" / "ada").mkdir(parents=True)
    assert imported(source).notes == (f"{IDS[0]}/workspaces: files that agents made are left out",)


def test_what_is_imported_is_on_disk_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []

    def noted(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)

    monkeypatch.setattr(os, "fsync", noted)
    for source in (elsewhere(tmp_path, whole(1)), Session.new(tmp_path).path):
        if source.name == SESSION:
            Session(source).turn(1, "Why?", "So.")
        folder = imported(source).folder
        assert synced[-2:] == [folder.stat().st_ino, folder.parent.stat().st_ino]


def test_one_that_is_here_is_left_alone(tmp_path: Path) -> None:
    folder = kept(IDS[0], whole(1))
    assert imported(folder) == Imported(folder, (f"{IDS[0]}: {KNOWN}",))
    assert imported(Path(os.path.relpath(folder))) == Imported(folder, (f"{IDS[0]}: {KNOWN}",))


def test_a_folder_that_is_called_something_gets_an_id(tmp_path: Path) -> None:
    made = imported(elsewhere(tmp_path, whole(1), "from-bob"))
    assert made.folder.name.startswith("20260921-1413")
    assert made.notes == ()


def test_a_torn_line_stays_behind(tmp_path: Path) -> None:
    source = elsewhere(tmp_path, whole(1))
    with (source / sessions.LOG_NAME).open("a") as file:
        file.write('{"seq": 99, "at"')
    assert recorded(imported(source)) == whole(1).facts


@pytest.mark.parametrize("content", ["", "rubbish\n", f"{HEADER}\nrubbish\n", f"{HEADER}\n" + "[" * 9_999 + "\n"])
def test_a_damaged_log_is_not_imported(content: str, tmp_path: Path) -> None:
    source = elsewhere(tmp_path, whole(1))
    (source / sessions.LOG_NAME).write_text(content)
    with pytest.raises(LogError, match=r"damaged|not a session log"):
        imported(source)
    assert sessions.ids(sessions.folder()) == []
    assert not sessions.folder().exists() or not os.listdir(sessions.folder())


def test_a_session_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    source = elsewhere(tmp_path, whole(1))
    data = b"x" * 5_000
    (source / "blobs").mkdir()
    (source / "blobs" / hashlib.sha256(data).hexdigest()).write_bytes(data)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, limits[1]))
    try:
        with pytest.raises(LogError, match="the session cannot be imported: File too large\n  Free some space"):
            imported(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(sessions.folder()) == []
    assert imported(source).notes == ()


def test_what_cannot_be_kept_leaves_nothing(tmp_path: Path) -> None:
    source = elsewhere(tmp_path, whole(1))
    (source / "blobs").mkdir()
    (source / "blobs" / "x").write_text("x")
    (source / sessions.NAME).write_text("Lisbon")
    root = tmp_path / "root"
    root.write_text("a file")
    with pytest.raises(LogError, match=r"Not a directory|cannot be (made|imported|read)"):
        imported(source, root)
    assert root.read_text() == "a file"


# --- exports ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run_", [whole(1), whole(3), troubled(), whole(2).ask("And why?")])
def test_an_export_comes_back_as_what_it_tells(run_: Run, tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "session.json"
    path.write_text(rendered(run_.facts, "json"))
    made = imported(path)
    before, after = (json.loads(rendered(each, "json"))["turns"] for each in (run_.facts, recorded(made)))
    for one, other in zip(before, after, strict=True):
        for key in ("question", "asked_at", "tally", "winner", "answer", "why", "stopped"):
            assert one[key] == other[key] or (key == "stopped" and one[key] is None)
        for key, fields in (("answers", ("author", "text", "revision")), ("votes", ("voter", "reason", "counted"))):
            assert [[each[field] for field in fields] for each in one[key]] == [
                [each[field] for field in fields] for each in other[key]
            ]
    assert imported(path) == Imported(made.folder, (f"{path.name}: {KNOWN}",))
    assert made.notes == ()
    assert run(["sessions", "show", made.folder.name]) == 0


def test_of_an_export_with_attempts_and_files_the_rest_is_told(tmp_path: Path) -> None:
    document = json.loads(rendered(whole(2).facts, "json"))
    turn = document["turns"][0]
    turn["media"] = [{"kind": "image", "mime": "image/png", "name": "x.png"}]
    turn["answers"].append({**turn["answers"][0], "id": 99, "attempt": 2, "revision": 1})
    turn["tool_calls"] = [{"agent": "a", "name": "search"}]
    turn["answers"].append({**turn["answers"][0], "id": []})
    document["turns"] += ["odd", {"question": 5}]
    path = tmp_path / "session.json"
    path.write_text(json.dumps(document))
    made = imported(path)
    assert made.notes == (
        f"{path.name}: files that went with a question are not in an export; left out",
        f"{path.name}: plans and uses of tools are left out",
        f"{path.name}: answers that were sent back are left out",
    )
    assert len(of(Answered, made)) == 1


def test_a_damaged_export_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    text = rendered(whole(1).facts, "json")
    for damaged in (text[:200], '{"facts_version": 1}', '{"facts_version": 1, "turns": {}}'):
        path.write_text(damaged)
        with pytest.raises(LogError, match="nothing in it can be imported"):
            imported(path)


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_tells_ids_on_stdout_and_the_rest_on_stderr(tmp_path: Path, capsys: Output) -> None:
    session = Session.new(tmp_path)
    session.turn(1, "One?", "1")
    source = elsewhere(tmp_path, whole(1))
    assert run(["sessions", "import", str(session.path), str(tmp_path / "nothing"), str(source)]) == Exit.USAGE
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [sessions.ids(sessions.folder())[1], IDS[0]]
    assert captured.err.splitlines()[:2] == [
        f"massgen: {session.path.name}: files that agents made (workspace) are left out",
        f"massgen: {tmp_path / 'nothing'}: there is no session",
    ]
    assert run(["sessions", "import", str(source)]) == Exit.ANSWER
    assert capsys.readouterr() == (f"{IDS[0]}\n", f"massgen: {IDS[0]}: {KNOWN}\n")


def test_many_notes_are_told_in_part(tmp_path: Path) -> None:
    session = Session.new(tmp_path)
    session.turn(1, "One?", "1")
    session.turn(80, "Eighty?", "80")
    notes = imported(session.path).notes
    assert (len(notes), notes[-1]) == (import_files.MAX_NOTES + 1, "and 29 more that are like these")


# --- it goes on ------------------------------------------------------------------------------------------------------


async def test_a_conversation_of_the_public_version_goes_on_here(tmp_path: Path) -> None:
    session = Session.new(tmp_path)
    session.turn(1, "What is the capital of France?", "Paris, on the Seine.")
    async with Simulator(Team(final="Rome.")) as team:
        config = write_config(tmp_path / "team.yaml", team.base_url, agents=2)
        ran = await massgen("--config", str(config), "--continue", str(session.path), "And of Italy?")
        again = await massgen("--config", str(config), "--continue", str(session.path / "turn_1"), "And of Spain?")
    assert (ran.code, ran.out) == (again.code, again.out) == (Exit.ANSWER, "Rome.\n")
    call = team.calls[0].call
    assert call
    asked = [(each["role"], each["content"]) for each in call.messages[1:3]]
    assert asked == [("user", "What is the capital of France?"), ("assistant", "Paris, on the Seine.")]
    (folder,) = sessions.folder().iterdir()
    assert len(of(Asked, Imported(folder))) == 3


async def test_a_cancelled_turn_of_the_public_version_is_finished_here(tmp_path: Path, capsys: Output) -> None:
    session = Session.new(tmp_path)
    session.cancelled(1, "What is the capital of France?", {"agent_a": "Paris.", "agent_b": "paris"})
    made = imported(session.path)
    async with Simulator(Team(final="Paris.")) as team:
        config = write_config(tmp_path / "team.yaml", team.base_url, agents=2)
        ran = await massgen("--config", str(config), "--continue", made.folder.name)
    assert (ran.code, ran.out.casefold()) in ((Exit.ANSWER, "paris.\n"), (Exit.ANSWER, "paris\n"))
    assert "the last question has no answer yet and is finished first: 2 answers" in ran.err
    assert "unknown left" not in ran.err
    assert run(["sessions", "show", made.folder.name]) == 0


# --- whatever is there -----------------------------------------------------------------------------------------------

NAMES = ("turn_1/metadata.json", "turn_1/answer.txt", "turn_2/partial_answers.json", "SESSION_SUMMARY.txt")
LOGGED = ("execution_metadata.yaml", "coordination_events.json", "status.json", f"agent_a/{AT.format(30)}/vote.json")
values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.sampled_from(["agent_a", "agent_b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["task", "answer", "agents", "agent_a", "config", "id", "meta"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
KEYS = (
    "task",
    "timestamp",
    "winning_agent",
    "models",
    "status",
    "query",
    "config",
    "session_metadata",
    "results",
    "voted_for",
)
objects = st.dictionaries(st.sampled_from(KEYS), values, max_size=5).map(json.dumps)
contents = st.one_of(st.binary(max_size=30), objects.map(str.encode))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from((*NAMES, *LOGGED)), contents, max_size=4), st.sampled_from(["session", "logs"]))
def test_whatever_is_in_the_files_it_is_imported_or_refused(files: dict[str, bytes], kind: str) -> None:
    base = sessions.folder().parent / f"fuzz-{os.urandom(4).hex()}"
    if kind == "session":
        session = Session.new(base)
        session.turn(1, "One?", "1")
        session.cancelled(2, "Two?", {"agent_b": "2"})
        root = place = session.path
    else:
        logs = logs_of_two(base, "turn_1", "attempt_1")
        root, place = logs.root, logs.path
    overwrite(place, files.items())
    try:
        made = imported(root)
    except (LogError, UsageError):
        return
    assert run(["sessions", "show", made.folder.name]) == 0
    assert rendered(recorded(made), "html")


def overwrite(place: Path, files: Iterable[tuple[str, bytes]]) -> None:
    for name, content in files:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 4_000), st.sampled_from([b"", b"\0", b'"', b"}", b"9"]))
def test_an_export_that_is_changed_anywhere_is_imported_or_refused(place: int, change: bytes) -> None:
    data = rendered(troubled().facts, "json").encode()
    path = sessions.folder().parent / f"x-{os.urandom(4).hex()}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data[:place] + change + data[place + 1 :])
    try:
        made = imported(path)
    except (LogError, UsageError):
        return
    assert rendered(recorded(made), "html")
