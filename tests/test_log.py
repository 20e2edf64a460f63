"""The append-only log: what is acknowledged stays, what is torn is set aside, what is damaged is named."""

import contextlib
import errno
import json
import os
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest

from massgen.errors import Exit, LogError
from massgen.events import Asked, Chosen, Fact, Member, Recorded, Reprompted, Said, Stopped, TurnBegan
from massgen.file_lock import hold
from massgen.log import Log, line, read, redactor
from massgen.messages import Message, Text
from massgen.sessions import running

GOLDEN = Path(__file__).parent / "golden" / "format-1.jsonl"
ASKED = Asked("Why is the sky blue?", (Member("a", "scripted", "m"),))
TALK = Said("a", 2, Message("assistant", (Text("Ünïcode \u2028 two\nlines \x85 \u2029"),)))
HEADER = b'{"massgen": "session log", "format": 1}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session" / "events.jsonl"


def write(path: Path, *facts: Fact) -> list[Recorded]:
    with Log(path, clock=lambda: 1_790_000_000.1234) as log:
        return [log.append(fact) for fact in facts]


def in_a_process(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


# --- what is written -----------------------------------------------------------------------------------------------


def test_what_was_recorded_is_read_and_continued(path: Path) -> None:
    first = write(path, ASKED, TurnBegan("a", "solo"))
    second = write(path, TALK)
    assert [recorded.seq for recorded in (*first, *second)] == [1, 2, 3]
    assert read(path) == [*first, *second]
    assert first[0].at == 1_790_000_000.123
    with Log(path) as log:
        assert log.facts == [*first, *second]


def test_a_fact_is_one_line_whatever_its_text_holds(path: Path) -> None:
    write(path, TALK, Reprompted("a", 1, "a\r\nb\0c"))
    assert path.read_bytes().count(b"\n") == 3
    assert [recorded.fact for recorded in read(path)] == [TALK, Reprompted("a", 1, "a\r\nb\0c")]


def test_half_a_character_is_kept_as_json_writes_it(path: Path) -> None:
    write(path, Reprompted("a", 1, "\ud800!"))
    assert b"\\ud800!" in path.read_bytes()
    assert read(path)[0].fact == Reprompted("a", 1, "\ud800!")


def test_a_log_and_what_is_set_aside_from_it_are_their_owners_alone(path: Path) -> None:
    old = os.umask(0)
    try:
        write(path, ASKED)
        with path.open("ab") as file:
            file.write(b"torn")
        write(path)
    finally:
        os.umask(old)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_milestones_are_brought_to_disk_and_nothing_else_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    moved: set[str] = set()
    for recorded in read(GOLDEN):
        synced.clear()
        with Log(path.with_name(f"{recorded.seq}.jsonl")) as log:
            log.append(recorded.fact)
        moved |= {type(recorded.fact).__name__} if synced else set()
    assert moved == {"Asked", "Answered", "Voted", "Chosen", "Presented", "Stopped"}


def test_a_slow_disk_holds_nobody_up_and_what_waits_for_it_is_served_together(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, gate, sizes = threading.Event(), threading.Event(), list[int]()

    def slow(fd: int) -> None:
        sizes.append(os.fstat(fd).st_size)
        began.set()
        assert gate.wait(5)

    monkeypatch.setattr(os, "fdatasync", slow)
    with Log(path) as log:
        log.append(ASKED)
        assert began.wait(5)
        for _ in range(50):
            log.append(ASKED)
        assert len(sizes) == 1
        gate.set()
    assert len(sizes) == 2
    assert sizes[-1] == path.stat().st_size


@pytest.mark.parametrize(
    ("there", "synced"),
    [
        ("home/data/sessions/one", ["two", "sessions"]),
        ("home/data/limits", ["two", "sessions", "data"]),
        ("home/own", ["two", "sessions", "data", "home"]),
    ],
)
def test_a_new_session_is_brought_to_disk_with_its_name_and_those_of_new_folders(
    there: str, synced: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "home" / "data" / "sessions" / "two" / "events.jsonl"
    for folder in (tmp_path / there, path.parent):
        folder.mkdir(parents=True)
    names = {folder.stat().st_ino: folder.name for folder in path.parents}
    told: list[str] = []

    def synced_now(fd: int) -> None:
        told.append(names[os.fstat(fd).st_ino])

    monkeypatch.setattr(os, "fsync", synced_now)
    with Log(path) as log:
        log.append(ASKED)
        log.settle()
        assert told == synced
        log.append(ASKED)
    with Log(path) as log:
        log.append(ASKED)
    assert told == synced, "once: then it is there"


@pytest.mark.parametrize(("barred", "highest"), [("home", "data"), ("no folder", "")])
def test_names_are_brought_to_disk_as_far_up_as_folders_may_be_ours(
    barred: str, highest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were they all empty but for the next one: not beyond one that may not be written, nor the root."""
    path = tmp_path / "home" / "data" / "events.jsonl"
    path.parent.mkdir(parents=True)
    names = {folder.stat().st_ino: folder.name for folder in path.parents}
    told: list[str] = []

    def accessible(folder: Path, mode: int) -> bool:
        return folder.name != barred

    def alone(folder: Path) -> list[str]:
        return ["the next one"]

    def synced_now(fd: int) -> None:
        told.append(names[os.fstat(fd).st_ino])

    for name, instead in {"access": accessible, "listdir": alone, "fsync": synced_now}.items():
        monkeypatch.setattr(os, name, instead)
    with Log(path) as log:
        log.append(ASKED)
    assert (told[0], told[-1]) == ("data", highest)


def test_a_file_system_that_brings_no_folders_to_disk_is_no_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.fsync

    def share(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        whole(fd)

    monkeypatch.setattr(os, "fsync", share)
    large = Reprompted("a", 1, "x" * 100_000)
    with Log(path) as log:
        written = [log.append(ASKED), log.append(large)]
    assert read(path) == written


def test_a_name_that_does_not_reach_the_disk_stops_the_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with on_the_brink(monkeypatch, "fsync"):
        log = Log(path)
        log.append(ASKED)
        with pytest.raises(LogError, match=r"events\.jsonl: cannot be written: Input/output error"):
            log.close()


def test_what_is_torn_is_on_disk_before_it_leaves_the_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, ASKED)
    with path.open("ab") as file:
        file.write(b"torn")
    ends: list[bytes] = []

    def synced(fd: int) -> None:
        ends.append(path.read_bytes()[-4:])

    monkeypatch.setattr(os, "fsync", synced)
    with Log(path):
        assert ends == [b"torn"]


def test_facts_that_belong_together_go_in_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, sizes = os.write, list[int]()

    def counted(fd: int, data: bytes) -> int:
        sizes.append(whole(fd, data))
        return sizes[-1]

    with Log(path) as log:
        monkeypatch.setattr(os, "write", counted)
        assert log.append_all([]) == []
        written = log.append_all([ASKED, TALK, TALK])
        assert len([size for size in sizes if size]) == 1
        written += [log.append(TALK)]
    assert [each.seq for each in written] == [1, 2, 3, 4]
    assert len({each.at for each in written[:3]}) == 1
    assert read(path) == written


def test_a_log_may_be_closed_twice(path: Path) -> None:
    log = Log(path)
    log.close()
    log.close()


def test_a_write_taken_in_pieces_is_completed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: whole(fd, data[:7]))
    written = write(path, ASKED, TALK)
    assert read(path) == written


# --- secrets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["sk-0123456789", 'quo"te\\secret', "pässwörd-ü", "tab\tsecret\n"])
def test_a_secret_is_not_written_whatever_its_characters(path: Path, secret: str) -> None:
    with Log(path, redact=redactor([secret, secret[:9]])) as log:
        told = log.append(Reprompted("a", 1, f"the key {secret} was refused"))
    assert read(path) == [told], "nobody is told more than the log"
    assert told.fact == Reprompted("a", 1, "the key [redacted] was refused")


def test_a_secret_that_is_a_word_of_the_format_stops_the_run_before_the_log_is_damaged(path: Path) -> None:
    with Log(path, redact=redactor(["Reprompted"])) as log:
        with pytest.raises(LogError, match="unknown type"):
            log.append(Reprompted("a", 1, "why"))
        assert log.append(ASKED).seq == 1
    assert len(read(path)) == 1


def test_a_secret_is_taken_out_of_text_that_is_not_json() -> None:
    assert redactor(['quo"te-secret'])('key: quo"te-secret') == "key: [redacted]"


def test_a_word_too_short_to_be_a_key_is_not_taken_for_one() -> None:
    assert redactor(["", "none"])("none of it") == "none of it"


# --- torn and damaged ----------------------------------------------------------------------------------------------


def test_a_log_cut_at_every_byte_keeps_its_whole_lines_and_sets_the_torn_one_aside(path: Path) -> None:
    written = write(path, ASKED, TurnBegan("a", "solo"), TALK, Chosen(3, {3: 1}, "consensus"), Stopped("answered"))
    data = path.read_bytes()
    aside = path.with_suffix(".torn")
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        aside.unlink(missing_ok=True)
        whole, torn = data[: data[:cut].rfind(b"\n") + 1], data[data[:cut].rfind(b"\n") + 1 : cut]
        with Log(path) as log:
            assert log.facts == written[: max(0, whole.count(b"\n") - 1)]
            assert (aside.read_bytes() if aside.exists() else b"") == torn
            assert path.read_bytes() == (whole or HEADER)
        assert read(path) == log.facts


def test_torn_lines_are_collected_not_overwritten(path: Path) -> None:
    for torn in (b"one", b"two"):
        write(path)
        with path.open("ab") as file:
            file.write(torn)
    write(path)
    assert path.with_suffix(".torn").read_bytes() == b"onetwo"


def test_reading_leaves_a_torn_line_where_it_is(path: Path) -> None:
    written = write(path, ASKED)
    with path.open("ab") as file:
        file.write(b'{"seq":2')
    assert read(path) == written
    assert path.read_bytes().endswith(b'{"seq":2')


def test_a_block_of_nuls_at_the_end_as_a_crashed_machine_leaves_it_is_torn(path: Path) -> None:
    written = write(path, ASKED)
    with path.open("ab") as file:
        file.write(b"\0" * 4096)
    with Log(path) as log:
        assert log.facts == written


DAMAGE = {
    "nuls": b"\0" * 40,
    "not json": b'{"seq": 2, "at"',
    "not utf-8": b'{"seq":2,"at":1,"type":"Stopped","why":"\xff"}',
    "a list": b"[1, 2]",
    "a number": b"7",
    "a text": b'"text"',
    "null": b"null",
    "empty": b"",
    "no seq": b'{"at":1,"type":"Stopped","why":"timeout"}',
    "out of order": b'{"seq":3,"at":1,"type":"Stopped","why":"timeout"}',
    "seq is true": b'{"seq":true,"at":1,"type":"Stopped","why":"timeout"}',
    "unknown fact": b'{"seq":2,"at":1,"type":"Sang"}',
    "nuls within": b'{"seq":2,"at":1,"type":"Stopped","why":"time\0\0\0\0"}',
    "half a character": b'{"seq":2,"at":1,"type":"Stopped","why":"time\xc3"}',
    "more than its own": b'{"seq":2,"at":1,"type":"Stopped","why":"timeout"}{"seq":3}x',
    "not a number": b'{"seq":2,"at":NaN,"type":"Stopped","why":"timeout"}',
    "without end": b'{"seq":2,"at":1e999,"type":"Stopped","why":"timeout"}',
    "beyond every number": b'{"seq":2,"at":' + b"1" * 400 + b'e0,"type":"Stopped","why":"timeout"}',
    "brackets": b"[" * 100_000,
}
HIDDEN = {
    "unknown why": b'{"seq":2,"at":1,"type":"Stopped","why":"bored"}',
    "cut and closed": b'{"seq":2,"at":1,"type":"Stopped","why":}',
    "two in one": b'{"seq":2,"at":1,"type":"Stopped","why":"timeout"}{"seq":3,"at":1,"type":"Stopped"}',
    "two types": b'{"seq":2,"at":1,"type":"Stopped","type":"VotingOpened","why":"all answered"}',
    "two numbers": b'{"seq":2,"at":1,"type":"Stopped","why":"timeout","seq":3}',
    "a line end": b'{"seq":2,"at":1,"type":"Stopped","why":"time\x0bout"}',
    "not a number within": b'{"seq":2,"at":1,"type":"Asked","question":"","roster":[],"config":{"x":[NaN]}}',
    "without end within": b'{"seq":2,"at":1,"type":"Asked","question":"","roster":[],"config":{"x":-1e999}}',
    "a time beyond every number": b'{"seq":2,"at":' + b"1" * 400 + b',"type":"Stopped","why":"timeout"}',
}
"""Damage within a line that looks as it should: it is found when the fact is looked at."""


def damaged(path: Path, line_: bytes) -> bytes:
    """Puts `line_` in the place of the second fact of three, and a torn one behind them."""
    write(path, ASKED, TurnBegan("a", "solo"), TALK)
    lines = path.read_bytes().split(b"\n")
    lines[2] = line_
    path.write_bytes(b"\n".join(lines) + b"torn")
    return path.read_bytes()


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_in_the_middle_is_an_error_with_file_and_line_and_nothing_is_changed(path: Path, damage: str) -> None:
    before = damaged(path, DAMAGE[damage])
    for look in (read, Log):
        with pytest.raises(LogError, match=r"events\.jsonl:3: this line is damaged") as error:
            look(path)
        assert len(str(error.value)) < 700
        assert error.value.exit_code == Exit.USAGE
    assert path.read_bytes() == before
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize("damage", HIDDEN)
def test_damage_within_a_fact_is_an_error_for_whoever_looks_at_it_and_for_nobody_else(path: Path, damage: str) -> None:
    before = damaged(path, HIDDEN[damage])
    facts = read(path)
    assert [facts[0].fact, facts[-1].fact, *(each.fact for each in facts.of(Asked, start=2))] == [ASKED, TALK]
    for look in (lambda: facts[1], lambda: [*facts], lambda: facts[:2], lambda: facts == read(path)):
        with pytest.raises(LogError, match=r"events\.jsonl:3: this line is damaged") as error:
            look()
        assert len(str(error.value)) < 700
    assert path.read_bytes() == before
    with Log(path) as log:
        added = log.append(ASKED)
    assert path.read_bytes().startswith(before.removesuffix(b"torn"))
    assert read(path)[3] == added


@pytest.mark.parametrize("block", [b"\0" * 40, b"\xff" * 40])
def test_a_block_that_swallowed_the_end_of_a_line_is_told_with_the_line_it_begins_in(path: Path, block: bytes) -> None:
    write(path, *[ASKED] * 5)
    data = path.read_bytes()
    second = data.index(b'{"seq":2')
    end = data.index(b"\n", second)
    path.write_bytes(data[: end - 20] + block + data[end + 20 :])
    with pytest.raises(LogError, match=r"events\.jsonl:3: this line is damaged: (there are NUL bytes|byte 0xff) in it"):
        read(path)


@pytest.mark.parametrize(
    "header", [b"", b"{}", b"[]", b"# notes", b"\xff\xfe", b"[" * 100_000, b'{"massgen": "other"}']
)
def test_a_file_that_is_no_log_is_not_touched(path: Path, header: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(header + b"\nmine\ntoo")
    for look in (read, Log):
        with pytest.raises(LogError, match="not a session log"):
            look(path)
    assert path.read_bytes() == header + b"\nmine\ntoo"


@pytest.mark.parametrize("version", ["2", "0", '"1"', "null"])
def test_a_log_of_another_format_says_so(path: Path, version: str) -> None:
    path.parent.mkdir()
    path.write_text(f'{{"massgen": "session log", "format": {version}}}\n')
    with pytest.raises(LogError, match=r"(?s)jsonl:1: format .* is not one this version reads \(it reads 1\).*newer"):
        Log(path)


def test_the_golden_logs_of_format_1_are_readable_for_ever() -> None:
    """Never change those files: sessions like them exist. What is new gets a golden log of its own."""
    golden = sorted(GOLDEN.parent.glob("format-1*.jsonl"))
    assert {type(recorded.fact) for path in golden for recorded in read(path)} == {*get_args(Fact)}
    for path in golden:
        lines = [json.loads(raw) for raw in path.read_bytes().split(b"\n")[1:-1]]
        assert [json.loads(line(recorded)) for recorded in read(path)] == lines


# --- files that cannot be had --------------------------------------------------------------------------------------


def test_a_second_writer_is_refused_and_the_first_goes_on(path: Path) -> None:
    with Log(path) as log:
        with pytest.raises(LogError, match="another process is writing this session"):
            Log(path)
        other = in_a_process("import sys, pathlib, massgen.log as log; log.Log(pathlib.Path(sys.argv[1]))", path)
        assert "another process is writing this session" in other.stderr
        log.append(ASKED)
    assert len(read(path)) == 1
    write(path, TALK)


def test_a_writer_waits_for_whoever_only_asks_whether_the_session_runs(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, ASKED)
    asking = path.open("rb")
    assert hold(asking.fileno(), shared=True)

    def nap(seconds: float) -> None:
        asking.close()

    monkeypatch.setattr(time, "sleep", nap)
    write(path, TALK)
    assert asking.closed
    assert len(read(path)) == 2


def test_a_writer_waits_a_tenth_of_a_second_and_no_longer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    clock = iter(range(10**6))
    monkeypatch.setattr(time, "sleep", naps.append)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock) / 100)
    with Log(path), pytest.raises(LogError, match="another process is writing this session"):
        Log(path)
    assert 5 < len(naps) <= 10


def test_a_file_system_without_locks_is_told_as_that(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def share(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", share)
    with pytest.raises(LogError, match=r"(?s)events\.jsonl: cannot be locked: No locks available.*MASSGEN_HOME"):
        Log(path)
    assert not running(path.parent)


def test_all_who_only_ask_may_ask_at_once(path: Path) -> None:
    write(path, ASKED)
    with path.open("rb") as one, path.open("rb") as other:
        assert hold(one.fileno(), shared=True)
        assert hold(other.fileno(), shared=True)
        assert not running(path.parent)
        assert not hold(other.fileno())
    with Log(path):
        assert running(path.parent)


def test_a_log_that_is_not_there_cannot_be_read(path: Path) -> None:
    with pytest.raises(LogError, match=r"events\.jsonl: cannot be read: No such file"):
        read(path)


def test_a_folder_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="cannot be written: Is a directory"):
        Log(tmp_path)


def test_a_folder_that_cannot_be_made_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match=r"(?s)cannot be written.*MASSGEN_HOME"):
        Log(tmp_path / "file" / "events.jsonl")


def test_a_torn_line_that_cannot_be_set_aside_stays(path: Path) -> None:
    write(path, ASKED)
    with path.open("ab") as file:
        file.write(b"torn")
    path.with_suffix(".torn").mkdir()
    with pytest.raises(LogError, match="cannot be written: Is a directory"):
        Log(path)
    assert path.read_bytes().endswith(b"torn")


FULL = """
    import pathlib, resource, signal, sys
    from massgen.errors import LogError
    from massgen.events import Reprompted
    from massgen.log import Log, read

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))
    path = pathlib.Path(sys.argv[1])
    with Log(path) as log:
        for number in range(100):
            try:
                log.append(Reprompted("a", 1, str(number)))
            except LogError as error:
                print(error)
                break
        assert [recorded.fact.why for recorded in read(path)] == [str(n) for n in range(number)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert log.append(Reprompted("a", 1, "space again")).seq == number + 1
    assert path.read_bytes().endswith(b"\\n")
    print(number, len(read(path)))
"""


def test_a_full_disk_takes_no_part_of_a_fact(path: Path) -> None:
    """The system takes as many bytes as fit, then refuses: what it took of the last fact is taken back."""
    run = in_a_process(FULL, path)
    assert run.returncode == 0, run.stderr
    *message, counts = run.stdout.splitlines()
    assert "events.jsonl: cannot be written: File too large" in message[0]
    assert counts == "5 6"


def test_a_fact_that_cannot_even_be_taken_back_is_no_part_of_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, left = os.write, [5]

    def brimming(fd: int, data: bytes) -> int:
        if not left:
            raise OSError(28, "No space left on device")
        return whole(fd, data[: left.pop()])

    with Log(path) as log:
        written = [log.append(ASKED)]
        with monkeypatch.context() as patch, on_the_brink(patch, "ftruncate"):
            patch.setattr(os, "write", brimming)
            with pytest.raises(LogError, match=r"events\.jsonl: cannot be written: No space left on device"):
                log.append(TALK)
            with pytest.raises(LogError, match=r"events\.jsonl: cannot be written: Input/output error"):
                log.append(TALK)
        written.append(log.append(TALK))
    assert read(path) == written


@contextlib.contextmanager
def on_the_brink(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[None]:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        yield


@pytest.mark.parametrize("then", [lambda log: log.append(ASKED), lambda log: log.close()])
def test_a_milestone_that_does_not_reach_the_disk_stops_the_run(
    path: Path, monkeypatch: pytest.MonkeyPatch, then: Callable[[Log], object]
) -> None:
    tried = threading.Event()

    def fail(fd: int) -> None:
        tried.set()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    log = Log(path)
    log.append(ASKED)
    assert tried.wait(5)
    with pytest.raises(LogError, match=r"events\.jsonl: cannot be written: Input/output error"):
        _until_it_fails(then, log)
    with contextlib.suppress(LogError):
        log.close()


def _until_it_fails(then: Callable[[Log], object], log: Log) -> None:
    """The thread that met the error has yet to say so."""
    for _ in range(10_000):
        then(log)
