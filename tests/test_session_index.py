"""What is found among sessions, and that the index is never more than their logs."""

import json
import os
import re
import sqlite3
import tempfile
import threading
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massgen import paths, sessions
from massgen.errors import LogError, MassgenError, UsageError
from massgen.events import Asked, Member, Presented, Recorded, Spent, Stopped, Summarised
from massgen.log import line
from massgen.planning import PlannedTask
from massgen.sessions.digest import Session, Text, digest, texts
from massgen.sessions.index import SHOWN, Found, Index, consult
from tests.facts import ANSWER, QUESTION, answering, whole

HEADER = '{"massgen": "session log", "format": 1}'
IDS = [f"2026010{day}-080000-aaaaaa" for day in range(1, 10)]


def written(root: Path, session: str, facts: Sequence[Recorded]) -> Path:
    """The log of a session with these facts."""
    (root / session).mkdir(parents=True, exist_ok=True)
    log = root / session / sessions.LOG_NAME
    log.write_text("\n".join([HEADER, *map(line, facts)]) + "\n", errors="backslashreplace")
    return log


def asked(question: str) -> list[Recorded]:
    return [Recorded(1, 1_790_000_000.0, Asked(question, (Member("ada", "openai", "gpt"),)))]


def listed(root: Path, problems: list[str] | None = None) -> list[Session]:
    return consult(root, Index.sessions, (problems if problems is not None else []).append)


def found(root: Path, words: str, limit: int = 20) -> tuple[list[Found], int]:
    return consult(root, lambda index: index.search(words, limit))


def ids(root: Path, words: str) -> list[str]:
    return [each.session.id for each in found(root, words)[0]]


def index_file() -> Path:
    (file,) = (paths.cache_dir() / "sessions").glob("*.db")
    return file


# --- in short --------------------------------------------------------------------------------------------------------


def test_a_session_in_short_says_who_was_asked_what_and_how_it_ended() -> None:
    short = digest("x", whole(3).facts)
    assert (short.question, short.status, short.winner, short.turns) == (QUESTION, "answered", "alice", 1)
    assert short.agents == (("alice", "model-a"), ("bob", "model-b"), ("carol", "model-c"))
    assert (short.cost, short.price) == (0.0147, "$0.0147")


def test_how_the_last_turn_ended_counts() -> None:
    run = whole(1)
    assert digest("x", run.facts).status == "answered"
    run.ask("And why?")
    assert (digest("x", run.facts).status, digest("x", run.facts).turns) == ("interrupted", 2)
    run.add(Stopped("all failed"))
    assert (digest("x", run.facts).status, digest("x", run.facts).winner) == ("no answer", "")
    assert digest("x", [*answering(2).facts, Recorded(4, 1.0, Stopped("interrupted"))]).status == "interrupted"
    assert digest("x", run.facts).question == QUESTION


def test_a_log_that_only_began_is_a_session_without_a_question() -> None:
    assert digest("x", []) == Session("x")


def test_without_a_known_price_there_is_no_cost() -> None:
    facts = [*asked("Hm?"), Recorded(2, 1.0, Spent("ada", 1, "gpt", 1, 1, None, 0.1))]
    assert (digest("x", facts).cost, digest("x", facts).price) == (None, "")


def test_the_final_answer_is_a_text_of_its_own_only_where_it_was_written_anew() -> None:
    run = answering(1).answer("alice", "Canberra.")
    taken = [*run.facts, Recorded(9, 1.0, Presented("alice", None, "Canberra."))]
    assert [*texts(taken)] == [Text("question", "", QUESTION), Text("answer", "alice", "Canberra.")]
    assert [each.kind for each in texts(whole(2).facts)] == [
        "question",
        "answer",
        "answer",
        "vote",
        "vote",
        "final answer",
    ]


def test_a_summary_is_a_text(tmp_path: Path) -> None:
    written(tmp_path, IDS[0], [*asked("Hm?"), Recorded(2, 1.0, Summarised("ada", 1, 1, "They spoke of wombats."))])
    (hit,) = found(tmp_path, "wombats")[0]
    assert hit.texts == (Text("summary", "ada", "They spoke of wombats."),)


# --- the latest of a folder ------------------------------------------------------------------------------------------


def test_what_tools_were_called_with_is_a_text_and_so_is_each_task_but_no_result() -> None:
    task = PlannedTask("t1", "Check the dates", context="In 1913.")
    run = answering(1).use("alice", "read_file", '{"path": "notes.md"}').result("alice", "a whole file")
    run.use("alice", "add_task", '{"description": "Check the dates"}').plan("alice", task)
    run.plan("alice", replace(task, status="completed"), PlannedTask("t2", "Write"))
    assert [*texts(run.facts)][1:] == [
        Text("tool call", "alice", 'read_file {"path": "notes.md"}'),
        Text("task", "alice", "Check the dates\nIn 1913."),
        Text("task", "alice", "Write"),
    ]


def latest(root: Path, folder: str) -> str | None:
    return consult(root, lambda index: index.latest(folder))


def in_folders(*asked_at: tuple[float, str]) -> list[Recorded]:
    return [Recorded(seq, at, Asked("Hm?", (), folder=folder)) for seq, (at, folder) in enumerate(asked_at, 1)]


def test_the_latest_of_a_folder_is_that_with_the_latest_fact(tmp_path: Path) -> None:
    early = written(tmp_path, IDS[0], in_folders((1.0, "/here"), (9.0, "/here")))
    written(tmp_path, IDS[1], in_folders((2.0, "/here"), (3.0, "/elsewhere")))
    written(tmp_path, IDS[2], in_folders((4.0, "/elsewhere")))
    written(tmp_path, IDS[3], in_folders((5.0, "")))
    os.utime(early, (1, 1))
    for _ in ("cold", "warm"):
        assert latest(tmp_path, "/here") == IDS[0]
        assert latest(tmp_path, "/elsewhere") == IDS[2]
        assert latest(tmp_path, "/her") is None
        assert latest(tmp_path, "") == IDS[0], "of all"
    assert latest(tmp_path / "nothing", "/here") is None


def test_the_latest_of_a_folder_follows_what_changes(tmp_path: Path) -> None:
    written(tmp_path, IDS[0], in_folders((1.0, "/here")))
    other = written(tmp_path, IDS[1], in_folders((2.0, "/here")))
    assert latest(tmp_path, "/here") == IDS[1]
    written(tmp_path, IDS[0], in_folders((1.0, "/here"), (3.0, "/here/below")))
    assert latest(tmp_path, "/here") == IDS[0]
    written(tmp_path, IDS[0], [])
    assert latest(tmp_path, "/here") == IDS[1]
    other.unlink()
    assert latest(tmp_path, "/here") is None


def test_folders_that_are_no_text_are_found(tmp_path: Path) -> None:
    odd = b"/o\xffdd".decode(errors="surrogateescape")
    written(tmp_path, IDS[0], in_folders((1.0, odd)))
    assert latest(tmp_path, odd) == IDS[0]


# --- the list --------------------------------------------------------------------------------------------------------


def test_sessions_are_listed_latest_first(tmp_path: Path) -> None:
    for session in (IDS[1], IDS[0], IDS[2]):
        written(tmp_path, session, whole(1).facts)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a file").touch()
    (tmp_path / "odd" / sessions.LOG_NAME).mkdir(parents=True)
    assert [each.id for each in listed(tmp_path)] == [IDS[2], IDS[1], IDS[0]]
    assert listed(tmp_path / "nothing") == []


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    log = written(tmp_path, IDS[0], asked("First"))
    other = written(tmp_path, IDS[1], asked("Other"))
    listed(tmp_path)
    stamp = other.stat()
    other.write_bytes(b"x" * stamp.st_size)  # whoever read it would complain
    os.utime(other, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with log.open("a") as file:
        file.write(line(Recorded(2, 1.0, Stopped("no answer"))) + "\n")
    problems: list[str] = []
    assert [each.status for each in listed(tmp_path, problems)] == ["interrupted", "no answer"]
    assert problems == []


def test_a_session_that_is_gone_is_found_no_more_and_leaves_no_trace(tmp_path: Path) -> None:
    log = written(tmp_path, IDS[0], asked("The zanzibar affair"))
    written(tmp_path, IDS[1], asked("Another"))
    assert ids(tmp_path, "zanzibar") == [IDS[0]]
    log.unlink()
    consult(tmp_path, Index.compact)
    assert ids(tmp_path, "zanzibar") == []
    assert b"zanzibar" not in index_file().read_bytes()
    assert ids(tmp_path, "another") == [IDS[1]]


def test_the_index_is_for_its_owner_only(tmp_path: Path) -> None:
    listed(tmp_path)
    assert index_file().stat().st_mode & 0o077 == 0


# --- what cannot be read ---------------------------------------------------------------------------------------------

BAD = {
    "rubbish in a line": ("{HEADER}\n{ASKED}\nrubbish\n", 3),
    "a block of NUL": ("{HEADER}\n{ASKED}\n\0\0\0\0\0\0\n", 3),
    "no header": ("{ASKED}\n", 1),
    "nothing at all": ("", 1),
    "a newer version": ('{{"massgen": "session log", "format": 99}}\n{ASKED}\n', 1),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_log_is_told_with_its_line_and_the_others_are_listed(name: str, tmp_path: Path) -> None:
    shape, number = BAD[name]
    log = written(tmp_path, IDS[0], [])
    content = shape.format(HEADER=HEADER, ASKED=line(asked("Bad")[0])).encode()
    log.write_bytes(content)
    written(tmp_path, IDS[1], asked("Good"))
    for _ in range(2):  # read, and remembered
        problems: list[str] = []
        assert [each.id for each in listed(tmp_path, problems)] == [IDS[1]]
        assert len(problems) == 1
        assert problems[0].startswith(f"{log}:{number}: ")
    assert log.read_bytes() == content


def test_a_torn_last_line_is_left_out_and_no_problem(tmp_path: Path) -> None:
    log = written(tmp_path, IDS[0], asked("Good"))
    log.write_bytes(log.read_bytes() + b'{"seq": 2, "ty')
    problems: list[str] = []
    assert [each.question for each in listed(tmp_path, problems)] == ["Good"]
    assert problems == []


def test_a_log_that_cannot_be_read_today_is_tried_again_tomorrow(tmp_path: Path) -> None:
    log = written(tmp_path, IDS[0], asked("Good"))
    listed(tmp_path)
    kept = log.read_bytes()
    log.unlink()
    log.symlink_to("/proc/self/mem")  # reading it fails as a broken disk does, for root too
    for _ in range(2):
        problems: list[str] = []
        assert listed(tmp_path, problems) == []
        assert problems == [f"{log}: cannot be read: Input/output error"]
    log.unlink()
    log.write_bytes(kept)
    assert [each.question for each in listed(tmp_path)] == ["Good"]


def test_a_log_that_cannot_even_be_looked_at_is_told(tmp_path: Path) -> None:
    written(tmp_path, IDS[1], asked("Good"))
    (tmp_path / IDS[0]).symlink_to(IDS[0])  # a circle
    problems: list[str] = []
    assert [each.id for each in listed(tmp_path, problems)] == [IDS[1]]
    assert problems == [f"{tmp_path / IDS[0] / sessions.LOG_NAME}: cannot be read: Too many levels of symbolic links"]


def test_sessions_that_are_no_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogError, match="the sessions cannot be read"):
        listed(tmp_path / "file")


# --- the index itself ------------------------------------------------------------------------------------------------


def test_an_index_that_is_deleted_or_damaged_builds_itself_anew(tmp_path: Path) -> None:
    written(tmp_path, IDS[0], asked("Good"))
    listed(tmp_path)
    file = index_file()
    whole_index = file.read_bytes()
    for damage in (b"", b"not a database" * 1_000, whole_index[:4096] + b"\xff" * (len(whole_index) - 4096)):
        file.write_bytes(damage)
        assert ids(tmp_path, "good") == [IDS[0]]
    file.unlink()
    assert ids(tmp_path, "good") == [IDS[0]]


def test_an_index_of_another_layout_builds_itself_anew(tmp_path: Path) -> None:
    written(tmp_path, IDS[0], asked("Good"))
    listed(tmp_path)
    with sqlite3.connect(index_file()) as db:
        db.execute("PRAGMA user_version = 1")
        db.execute("DROP TABLE said")
    db.close()
    assert ids(tmp_path, "good") == [IDS[0]]


@pytest.mark.parametrize("row", ["{", "[]", "{}", '{"agents": 3}', '{"agents": []}'])
def test_an_index_with_a_damaged_row_builds_itself_anew(row: str, tmp_path: Path) -> None:
    written(tmp_path, IDS[0], asked("Good"))
    listed(tmp_path)
    db = sqlite3.connect(index_file())
    with db:
        db.execute("UPDATE session SET digest = ?", (row,))
    db.close()
    assert [each.question for each in listed(tmp_path)] == ["Good"]


def test_where_no_index_can_be_kept_the_logs_are_read_each_time(tmp_path: Path) -> None:
    written(tmp_path / "sessions", IDS[0], asked("Good"))
    paths.cache_dir().parent.mkdir(parents=True)
    paths.cache_dir().touch()
    assert ids(tmp_path / "sessions", "good") == [IDS[0]]


def test_an_index_that_another_process_holds_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("massgen.sessions.index.PATIENCE", 0.01)
    listed(tmp_path)
    written(tmp_path, IDS[0], asked("Good"))
    file = index_file()
    db = sqlite3.connect(file, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    assert ids(tmp_path, "good") == [IDS[0]]
    db.execute("COMMIT")
    assert db.execute("SELECT count(*) FROM session").fetchone() == (0,)
    db.close()


def test_those_who_look_at_once_all_see_the_same(tmp_path: Path) -> None:
    for session in IDS:
        written(tmp_path, session, whole(1).facts)
    together = threading.Barrier(4)

    def look() -> int:
        together.wait(5)
        return found(tmp_path, "capital")[1]

    with ThreadPoolExecutor(4) as pool:
        assert {each.result() for each in [pool.submit(look) for _ in range(4)]} == {len(IDS)}


def test_a_failure_that_stays_is_told(tmp_path: Path) -> None:
    def fail(index: Index) -> None:
        index.db.execute("no such words")

    with pytest.raises(MassgenError, match=r"the sessions cannot be indexed: .*syntax error"):
        consult(tmp_path, fail)


# --- search ----------------------------------------------------------------------------------------------------------


def test_a_search_finds_questions_answers_and_reasons(tmp_path: Path) -> None:
    written(tmp_path, IDS[0], whole(2).facts)
    written(tmp_path, IDS[1], asked("Something else"))
    for words, kinds in (
        ("capital why", ["question"]),
        ("rivals", ["answer", "answer", "final answer"]),
        ("names compromise", ["vote", "vote"]),
    ):
        ((one,), count) = found(tmp_path, words)
        assert (one.session.id, one.count, count) == (IDS[0], len(kinds), 1)
        assert [each.kind for each in one.texts] == kinds[:SHOWN]
    assert found(tmp_path, "rivals")[0][0].texts[0] == Text("answer", "alice", ANSWER)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("belem", "By tram to BELÉM"),
        ("Belém", "by tram to belem"),
        ("STRASSE", "die Straße"),
        ('"tram to"', "By tram to Belem"),
        ("tra*", "By tram"),
        ('"to bel"* by', "By tram to Belem, bel"),
        ("tram-28", "the tram 28"),
        ("東京", "私は東京に住む"),
        ("10²", "it is 10²"),
        ("ca\u0301fe", "Cáfe"),
        ("AND", "this and that"),
        ('NEAR("x', "x near"),
    ],
)
def test_a_text_has_the_words(words: str, text: str, tmp_path: Path) -> None:
    written(tmp_path, IDS[0], asked(text))
    assert ids(tmp_path, words) == [IDS[0]]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ('"to tram"', "By tram to Belem"),
        ("tra", "By tram"),
        ("tram bus", "By tram"),
        ("京東", "東京"),
        ("body", "Question"),
    ],
)
def test_a_text_has_the_words_not(words: str, text: str, tmp_path: Path) -> None:
    written(tmp_path, IDS[0], asked(text))
    assert ids(tmp_path, words) == []


def test_what_holds_no_word_or_too_many_is_no_search(tmp_path: Path) -> None:
    for words, count in (('"" - *', "no"), ("a " * 101, "101")):
        with pytest.raises(UsageError, match=f"there are {count} words to search for"):
            found(tmp_path, words)


def test_of_a_long_text_the_part_around_the_words_is_shown(tmp_path: Path) -> None:
    written(tmp_path, IDS[0], asked("Much ado. " * 50 + "The\ncafe\u0301 in Lisbon" + " and so on" * 50))
    for words in ('"café in lisbon"', '"café in lis"* and'):
        ((one,), _) = found(tmp_path, words)
        assert "The cafe\u0301 in Lisbon and so on" in one.texts[0].body
        assert re.fullmatch(r"\.\.\..{100,150}\.\.\.", one.texts[0].body)


def test_where_the_place_is_not_known_the_beginning_is_shown(tmp_path: Path) -> None:
    written(tmp_path, IDS[0], asked("To be sent \u2100 somebody"))  # one sign, which holds two words
    ((one,), _) = found(tmp_path, "a/c")
    assert one.texts[0].body == "To be sent \u2100 somebody"


def test_the_latest_of_many_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    for session in IDS[:4]:
        written(tmp_path, session, asked("The same"))
    latest, count = found(tmp_path, "same", 2)
    assert ([each.session.id for each in latest], count) == ([IDS[3], IDS[2]], 4)


def test_half_surrogates_and_nul_are_no_obstacle(tmp_path: Path) -> None:
    log = written(tmp_path, IDS[0], [])
    fact = json.loads(line(asked("x")[0])) | {"question": "a \ud800 b\0c"}
    log.write_text(f"{HEADER}\n{json.dumps(fact)}\n")
    assert ids(tmp_path, "b c") == [IDS[0]]


WORDS = ("tram", "Tram", "Élan", "elan", "x9", "to", "the", "東", "京")
GLUE = (" ", "-", ", ", "\n", "_", "'")
written_texts = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(GLUE)), min_size=1, max_size=6).map(
    lambda pairs: "".join(word + glue for word, glue in pairs)
)
queries = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=2), min_size=1, max_size=3)


def scanned(text: str, query: list[list[str]]) -> bool:
    """A plain scan: each group's words stand in the text in a row, with nothing but punctuation between them."""

    def plain(part: str) -> str:
        return "".join(each for each in unicodedata.normalize("NFD", part) if not unicodedata.combining(each)).lower()

    spaced = re.sub(r"([東京])", r" \1 ", re.sub(r"[\W_]", " ", plain(text)))
    return all(f" {' '.join(map(plain, group))} " in f" {' '.join(spaced.split())} " for group in query)


@settings(max_examples=12, deadline=None)
@given(st.lists(written_texts, min_size=1, max_size=6), st.lists(queries, min_size=3, max_size=6))
def test_a_search_agrees_with_a_plain_scan(bodies: list[str], all_queries: list[list[list[str]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for session, body in zip(IDS, bodies, strict=False):
            written(root, session, asked(body))
        for query in all_queries:
            words = " ".join(f'"{" ".join(group)}"' for group in query)
            expected = [session for session, body in zip(IDS, bodies, strict=False) if scanned(body, query)]
            assert sorted(ids(root, words)) == expected


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(IDS[:3]), st.sampled_from(["alpha", "beta", ""])), min_size=1, max_size=8))
def test_the_index_is_what_the_logs_are_after_any_change(changes: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        now: dict[str, str] = {}
        for step, (session, word) in enumerate(changes):
            now[session] = word
            log = written(Path(folder), session, asked(word))
            os.utime(log, ns=(step, step))
            if not word:
                log.unlink()
            for each in ("alpha", "beta"):
                assert sorted(ids(Path(folder), each)) == sorted(name for name, has in now.items() if has == each)
