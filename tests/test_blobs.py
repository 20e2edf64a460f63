"""Large texts stand beside the log: they come back whole, and what is lost or altered is named."""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massgen.errors import Exit, LogError
from massgen.events import Answered, Asked, Member, Recorded, Reprompted, Said, Spent, Stopped
from massgen.log import Log, line, read, redactor
from massgen.log.blobs import LARGE, MAX_FACT, BlobError, Blobs, put_back, taken_out
from massgen.messages import Media, Message, Text, ToolCall, ToolResult
from tests.test_codec import plain
from tests.test_log import in_a_process

GOLDEN = Path(__file__).parent / "golden" / "large" / "events.jsonl"
BIG = "Ünïcode \u2028 \ud83d 🌤\r\n\0" * 6_000
SHORT = Reprompted("a", 1, "short")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session" / "events.jsonl"


def said(text: str) -> Said:
    return Said("a", 1, Message("tool", (Text("short"), ToolResult("call_1", text))))


def kept(path: Path) -> list[Path]:
    folder = path.parent / "blobs"
    return [*folder.iterdir()] if folder.exists() else []


@pytest.mark.parametrize(
    "fact",
    [
        said(BIG),
        Said("a", 1, Message("assistant", (ToolCall("x", "write", BIG),))),
        Asked(BIG, (Member("a", "b", "c"),), (Media("image", "image/png", data="iVBOR" * 30_000),)),
        Asked("q", (), config={"deep": [{"$blob": BIG, "$$blob": 1}, BIG[1:], [BIG]], "$blob": None}),
        Asked("q", (), config={"$blob": "0" * 64, "chars": 3}),
        Answered("a", 1, BIG),
        Reprompted("a", 1, "it ends in $blob"),
    ],
)
def test_a_fact_comes_back_as_it_went_however_large_its_texts(path: Path, fact: Any) -> None:
    with Log(path) as log:
        told = [log.append(SHORT), log.append(fact), log.append(SHORT)]
    assert [each.fact for each in told] == [SHORT, fact, SHORT]
    assert read(path) == told
    with Log(path) as log:
        assert log.facts == told
    assert max(map(len, path.read_bytes().split(b"\n"))) < 1_000


def test_a_text_stands_beside_the_log_from_65537_characters_on(path: Path) -> None:
    with Log(path) as log:
        log.append(said("\\\n" * (LARGE // 2)))
        assert kept(path) == []
        log.append(said("x" * (LARGE + 1)))
    [blob] = kept(path)
    assert blob.read_text() == "x" * (LARGE + 1)
    assert blob.name == hashlib.sha256(blob.read_bytes()).hexdigest()


def test_texts_and_their_folder_are_their_owners_alone(path: Path) -> None:
    old = os.umask(0)
    try:
        with Log(path) as log:
            log.append(said(BIG))
    finally:
        os.umask(old)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path.parent / "blobs", *kept(path))] == [0o700, 0o600]


def test_a_text_is_on_disk_before_the_line_that_needs_it_is_written_and_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[int, bool]] = []
    whole = os.fsync

    def watched(fd: int) -> None:
        synced.append((path.stat().st_size, stat.S_ISDIR(os.fstat(fd).st_mode)))
        whole(fd)

    with Log(path) as log:
        before = path.stat().st_size
        monkeypatch.setattr(os, "fsync", watched)
        log.append(said(BIG))
        assert synced == [(before, True), (before, False), (before, True)], "the new folder, the text, its name"
        log.append(said(BIG))
    assert len(synced) == 3
    assert len(kept(path)) == 1


@pytest.mark.parametrize("there", [b"", b"altered", BIG.encode("utf-8", "surrogatepass") + b"more"])
def test_a_damaged_text_is_written_anew_when_it_is_said_again(path: Path, there: bytes) -> None:
    with Log(path) as log:
        told = log.append(said(BIG))
        kept(path)[0].write_bytes(there)
        log.append(said(BIG))
    assert read(path)[0] == told


def test_what_a_process_that_died_left_of_a_text_is_replaced(path: Path) -> None:
    with Log(path) as log:
        told = log.append(said(BIG))
        kept(path)[0].rename(kept(path)[0].with_suffix(".part"))
        log.append(said(BIG))
    assert len(kept(path)) == 1
    assert read(path)[0] == told


# --- secrets, and what no log takes --------------------------------------------------------------------------------


def test_a_secret_is_in_no_text_and_nobody_is_told_more_than_that(path: Path) -> None:
    secret = 'sk-quo"te-0123456789'
    with Log(path, redact=redactor([secret])) as log:
        told = log.append(said(f"{BIG}{secret}{BIG}"))
    assert told.fact == said(f"{BIG}[redacted]{BIG}")
    assert read(path) == [told]
    assert secret.encode() not in path.read_bytes() + kept(path)[0].read_bytes()


def test_a_text_that_is_short_without_its_secrets_is_read_too(path: Path) -> None:
    with Log(path, redact=redactor(["sk-" + "x" * LARGE])) as log:
        told = log.append(said("sk-" + "x" * LARGE))
    assert told.fact == said("[redacted]")
    assert read(path) == [told]


def test_a_secret_that_is_the_name_of_a_text_stops_the_run_before_anything_is_written(path: Path) -> None:
    secret = hashlib.sha256(BIG.encode("utf-8", "surrogatepass")).hexdigest()[:20]
    with Log(path, redact=redactor([secret])) as log:
        with pytest.raises(LogError, match="a fact cannot be written: without the secrets in it"):
            log.append(said(BIG))
        assert log.append(SHORT).seq == 1
    assert read(path)[0].fact == SHORT
    assert kept(path) == []


def test_a_fact_of_more_characters_than_are_kept_is_refused(path: Path) -> None:
    with Log(path) as log:
        with pytest.raises(
            LogError, match=r"events\.jsonl: a fact has 67,\d+,\d+ characters, more than the 67,108,864"
        ):
            log.append(said("x" * MAX_FACT))
        assert log.append(SHORT).seq == 1
    assert kept(path) == []


@pytest.mark.parametrize(
    ("fact", "why"),
    [
        (Spent("a", 1, "m", 1, 1, float("nan"), 0.5), "not JSON compliant"),
        (Spent("a", 1, "m", 1, 1, None, float("inf")), "not JSON compliant"),
        (Asked("q", (), config={"when": object()}), "not JSON serializable"),
    ],
)
def test_what_is_no_json_is_refused_before_anything_is_written(path: Path, fact: Any, why: str) -> None:
    with Log(path) as log:
        with pytest.raises(LogError, match=rf"events\.jsonl: a fact cannot be written: .*{why}"):
            log.append_all([SHORT, fact])
        assert log.append(SHORT).seq == 1
    assert len(read(path)) == 1


# --- lost and altered ----------------------------------------------------------------------------------------------


def _folder(blob: Path) -> None:
    blob.unlink()
    blob.mkdir()


def _pipe(blob: Path) -> None:
    blob.unlink()
    os.mkfifo(blob)


def _endless(blob: Path) -> None:
    blob.unlink()
    blob.symlink_to("/dev/zero")


LOSSES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "No such file"),
    "altered": (
        lambda blob: blob.write_bytes(blob.read_bytes().replace(b"c", b"C", 1)),
        "is not what was written there",
    ),
    "cut": (lambda blob: os.truncate(blob, 70_000), "is not what was written there"),
    "longer": (lambda blob: blob.write_bytes(blob.read_bytes() + b"x"), "is not what was written there"),
    "a folder": (_folder, "Is a directory"),
    "a pipe": (_pipe, "is not what was written there"),
    "without end": (_endless, "is not what was written there"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_text_that_is_lost_or_altered_is_an_error_where_it_is_looked_at(path: Path, loss: str) -> None:
    with Log(path) as log:
        log.append(SHORT)
        log.append(said(BIG))
    lose, why = LOSSES[loss]
    lose(kept(path)[0])
    facts = read(path)
    assert facts[0].fact == SHORT
    with pytest.raises(
        LogError, match=rf"events\.jsonl:3: a text of this fact cannot be read: blobs/\w{{64}}.*{why}"
    ) as told:
        facts[1]
    assert told.value.exit_code == Exit.USAGE
    with Log(path) as log:
        assert log.append(SHORT).seq == 3


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ('{"$blob":"../../secret","chars":70000}', "there is no blob '../../secret'"),
        ('{"$blob":"/etc/passwd","chars":70000}', "there is no blob '/etc/passwd'"),
        (f'{{"$blob":"{"A" * 64}","chars":70000}}', "there is no blob"),
        (f'{{"$blob":"{"a" * 64}\\n","chars":70000}}', "there is no blob"),
        (f'{{"$blob":"{"a" * 64}","chars":1e9}}', "needs its name and its length"),
        (f'{{"$blob":"{"a" * 64}","chars":{10**12}}}', "there is no blob"),
        (f'{{"$blob":"{"a" * 64}","chars":-1}}', "there is no blob"),
        (f'{{"$blob":"{"a" * 64}","chars":70000,"x":1}}', "has nothing else"),
        (f'{{"$blob":"{"a" * 64}"}}', "needs its name and its length"),
        ('{"$blob":["x"],"chars":70000}', "needs its name and its length"),
    ],
)
def test_what_is_no_name_of_a_text_is_never_opened(path: Path, reference: str, why: str) -> None:
    with Log(path) as log:
        log.append(SHORT)
    (path.parent / "blobs").mkdir()
    (path.parent.parent / "secret").write_text("x" * 70_000)
    with path.open("a") as file:
        file.write(f'{{"seq":2,"at":1.0,"type":"Answered","agent":"a","turn":1,"content":{reference}}}\n')
    with pytest.raises(LogError, match=rf"events\.jsonl:3: a text of this fact cannot be read: .*{why}"):
        read(path)[1]


def test_a_text_that_is_shorter_than_its_line_says_is_not_the_one(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    blobs.keep(BIG)
    [blob] = blobs.folder.iterdir()
    assert blobs.text(blob.name, len(BIG)) == BIG
    with pytest.raises(BlobError, match="is not what was written there"):
        blobs.text(blob.name, len(BIG) + 1)


@settings(max_examples=40, deadline=None)
@given(st.recursive(plain | st.sampled_from(["x" * (LARGE + 1), "é" * (LARGE + 2)]), st.lists) | plain)
def test_whatever_is_taken_out_is_put_back(value: Any) -> None:
    texts: dict[str, str] = {}

    def keep(text: str) -> dict[str, Any]:
        texts[f"{len(text):064}"] = text
        return {"$blob": f"{len(text):064}", "chars": len(text)}

    assert put_back(taken_out({"$blob": value, "$$$blob": [value]}, keep), lambda name, chars: texts[name]) == {
        "$blob": value,
        "$$$blob": [value],
    }


# --- disks that are full -------------------------------------------------------------------------------------------

FULL = """
    import pathlib, resource, signal, sys
    from massgen.errors import LogError
    from massgen.events import Answered, Reprompted
    from massgen.log import Log, read

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = pathlib.Path(sys.argv[1])
    with Log(path) as log:
        log.append(Reprompted("a", 1, "before"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, resource.RLIM_INFINITY))
        log.append(Answered("a", 1, "x" * 69_000))
        try:
            log.append_all([Reprompted("a", 1, "with it"), Answered("a", 1, "y" * 80_000)])
        except LogError as error:
            print(error)
        assert len(read(path)) == 2
        assert len([*(path.parent / "blobs").iterdir()]) == 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        log.append_all([Reprompted("a", 1, "with it"), Answered("a", 1, "y" * 80_000)])
    print([each.seq for each in read(path)], len([*(path.parent / "blobs").iterdir()]))
"""


def test_a_full_disk_takes_no_part_of_a_large_fact(path: Path) -> None:
    run = in_a_process(FULL, path)
    assert run.returncode == 0, run.stderr
    *message, counts = run.stdout.splitlines()
    assert "session/blobs: cannot be written: File too large" in message[0]
    assert counts == "[1, 2, 3, 4] 2"


def test_a_folder_of_texts_that_cannot_be_made_is_an_error_and_nothing_is_written(path: Path) -> None:
    with Log(path) as log:
        (path.parent / "blobs").write_text("mine")
        with pytest.raises(LogError, match=r"(?s)session/blobs: cannot be written: File exists.*MASSGEN_HOME"):
            log.append(said(BIG))
        assert log.append(Stopped("timeout")).seq == 1
    assert (path.parent / "blobs").read_text() == "mine"


# --- for ever ------------------------------------------------------------------------------------------------------


def test_the_golden_log_with_a_large_text_is_readable_for_ever() -> None:
    """Never change those files: sessions like them exist."""
    asked, begun, told, spent = read(GOLDEN)
    assert isinstance(asked.fact, Asked)
    assert asked.fact.config == {"extra_body": {"$blob": "mine", "$$blob": 1}}
    page = "<p>Rayleigh scattering \u2028 Ünïcode 🌤\n</p>" * 2_000
    assert told.fact == Said("alice", begun.seq, Message("tool", (ToolResult("call_1", page), Text("short"))))
    assert isinstance(spent.fact, Spent)
    assert told == Recorded(3, spent.at, told.fact)
    assert len(line(told)) > len(page), "as one line for other programs, it has all of its text"
