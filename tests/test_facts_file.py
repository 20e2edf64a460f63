"""A log's facts, decoded when they are looked at: the same as all of them at once, by less work."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massgen.errors import LogError
from massgen.events import Answered, Asked, Chosen, Fact, Presented, Recorded, Reprompted, Said, Stopped, TurnBegan
from massgen.log import FORMAT, Log, line
from massgen.log.blobs import put_back
from massgen.log.codec import decode
from massgen.log.facts_file import Facts, read
from tests.facts import answering, troubled, whole
from tests.test_codec import facts as any_fact

GOLDEN = sorted((Path(__file__).parent / "golden").rglob("*.jsonl"))
HEADER = json.dumps({"massgen": "session log", "format": FORMAT})


def eager(path: Path) -> list[Recorded]:
    """Every line parsed at once, by other means; for logs without large texts, but with keys that read `$blob`."""
    made: list[Recorded] = []
    for raw in path.read_bytes().split(b"\n")[1:-1]:
        fields: dict[str, Any] = put_back(json.loads(raw), lambda name, chars: name)
        seq, at, _ = fields.pop("seq"), fields.pop("at"), fields.pop("more", None)
        made.append(Recorded(seq, float(at), decode(Fact, fields)))
    return made


def of_lines(path: Path, lines: Sequence[str | bytes]) -> Facts:
    written = [each.encode() if isinstance(each, str) else each for each in (HEADER, *lines)]
    path.write_bytes(b"".join(each + b"\n" for each in written))
    return read(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
def facts(path: Path) -> Facts:
    return of_lines(path, [line(each) for each in whole(3).facts])


def agree(facts: Facts, expected: Sequence[Recorded]) -> None:
    """However they are looked at."""
    assert facts == expected
    assert [*expected] == facts
    assert [facts[place] for place in range(-len(expected), len(expected))] == [*expected, *expected]
    assert [*reversed(facts)] == [*reversed(expected)]
    for kind in get_args(Fact):
        places = [place for place, each in enumerate(expected) if isinstance(each.fact, kind)]
        assert [*facts.of(kind)] == [expected[place] for place in places]
        assert facts.last(kind) == (places[-1] if places else -1)


@pytest.mark.parametrize(
    "golden", [each for each in GOLDEN if each.parent.name == "golden"], ids=lambda path: path.stem
)
def test_golden_logs_are_the_same_however_they_are_looked_at(golden: Path) -> None:
    agree(read(golden), eager(golden))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(any_fact, max_size=3), max_size=6))
def test_any_log_is_the_same_however_it_is_looked_at(batches: list[list[Fact]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        with Log(path, clock=lambda: 1_790_000_000.25) as log:
            written = [each for batch in batches for each in log.append_all(batch)]
        assert [each.fact for each in written] == [fact for batch in batches for fact in batch]
        assert eager(path) == written
        agree(read(path), written)
        with Log(path) as log:
            agree(log.facts, written)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_rubbish_in_the_place_of_any_line_is_found_when_the_log_is_opened(data: st.DataObject) -> None:
    """Unless it is the last, and has no end: that is torn."""
    lines = [HEADER, *map(line, troubled().facts)]
    place = data.draw(st.integers(1, len(lines) - 1))
    rubbish = data.draw(st.binary().filter(lambda rubbish: b"\n" not in rubbish))
    raw = [each.encode() for each in lines]
    raw[place] = rubbish
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        path.write_bytes(b"\n".join(raw) + b"\n")
        with pytest.raises(LogError, match=rf"events\.jsonl:{place + 1}: this line is damaged"):
            read(path)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_block_of_nuls_anywhere_is_found_when_the_log_is_opened(data: st.DataObject) -> None:
    raw = bytearray("\n".join([HEADER, *map(line, whole(2).facts), ""]).encode())
    place = data.draw(st.integers(0, len(raw) - 2))
    raw[place : place + 512] = bytes(len(raw[place : place + 512]))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        path.write_bytes(raw + b"\n")
        with pytest.raises(LogError, match=r"events\.jsonl:\d+: (this line is damaged|not a session log)"):
            read(path)


def test_bytes_that_are_no_text_are_found_with_their_line_however_far_in(path: Path) -> None:
    lines = [line(Recorded(seq, 1.0, Reprompted("a", 1, "é" * 300_000))).encode() for seq in range(1, 6)]
    assert len(of_lines(path, lines)) == 5
    for broken in (b"\xff", b"\xc3", b"\xed\xa0\x80"):
        spoilt = [*lines[:3], lines[3].replace("é".encode(), broken, 1), lines[4]]
        with pytest.raises(LogError, match=r"events\.jsonl:5: this line is damaged: byte 0x\w\w in it is not UTF-8"):
            of_lines(path, spoilt)


def test_only_what_is_asked_for_is_decoded(path: Path, facts: Facts) -> None:
    damaged = [line(each).replace('"turn"', '"trun"') if isinstance(each.fact, Said) else line(each) for each in facts]
    kinds = (Asked, Answered, Chosen, Presented, Stopped)
    assert [*of_lines(path, damaged).of(*kinds)] == [each for each in facts if isinstance(each.fact, kinds)]


def test_facts_of_some_classes_come_in_their_order_from_a_range(facts: Facts) -> None:
    kinds, everyone = (TurnBegan, Answered), [*facts]
    for start, stop in ((0, None), (3, None), (0, 7), (3, 7), (-9, -2), (7, 3), (0, 10**9)):
        expected = [each for each in everyone[start:stop] if isinstance(each.fact, kinds)]
        assert [*facts.of(*kinds, start=start, stop=stop)] == expected
    assert [*facts.of()] == []
    assert facts.last() == -1
    assert facts.last(Asked, Answered) == facts.last(Answered) > facts.last(Asked) == 0


def test_they_are_a_sequence_like_a_list(facts: Facts, path: Path) -> None:
    everyone = whole(3).facts
    assert facts[2:9:3] == everyone[2:9:3]
    assert facts[-1] in facts
    assert facts.index(everyone[4]) == 4
    assert facts != everyone[:-1]
    assert facts != [*everyone[:-1], replaced(everyone[-1])]
    assert facts != "facts"
    assert {facts, read(path)} == {facts}
    assert repr(facts) == f"<{len(everyone)} facts in {path}>"
    for place in (len(everyone), -len(everyone) - 1):
        with pytest.raises(IndexError):
            facts[place]


def replaced(recorded: Recorded) -> Recorded:
    return Recorded(recorded.seq, recorded.at, Reprompted("a", 1, "other"))


def test_lines_of_another_shape_that_hold_the_same_are_read(path: Path) -> None:
    """Written by hand, or by another tool."""
    dice, everyone, lines = random.Random(3), answering(3).facts, list[str]()
    for each in everyone:
        fields = [*json.loads(line(each)).items()]
        dice.shuffle(fields)
        lines.append(dice.choice(["", " ", "\t"]) + json.dumps(dict(fields)) + dice.choice(["", " ", "\r"]))
    agree(of_lines(path, lines), everyone)


def test_a_time_is_one_that_a_calendar_has(path: Path) -> None:
    times = (0.0, 1e-9, 3.0, 249_999_999_999.5)
    lines = [line(Recorded(seq, at, Reprompted("a", 1, "x"))) for seq, at in enumerate(times, 1)]
    assert [each.at for each in of_lines(path, lines)] == [*times]
    for at in (-1.5, 2.5e11, 1e300):
        with pytest.raises(LogError, match=r"events\.jsonl:2: this line is damaged: .* s is no time since 1970"):
            _ = of_lines(path, [line(Recorded(1, at, Reprompted("a", 1, "x")))])[0]


# --- facts that belong together ------------------------------------------------------------------------------------


def test_of_facts_that_belong_together_a_log_cut_at_any_byte_has_all_or_none(path: Path) -> None:
    groups: list[list[Fact]] = [
        [each.fact for each in whole(2).facts[start : start + size]] for start, size in ((0, 1), (1, 3), (4, 2), (6, 1))
    ]
    sizes, kept = [len(HEADER) + 1], [0]
    with Log(path) as log:
        for group in groups:
            log.append_all(group)
            sizes.append(path.stat().st_size)
            kept.append(kept[-1] + len(group))
    data, everyone = path.read_bytes(), [*read(path)]
    for cut in range(sizes[0], len(data)):
        path.write_bytes(data[:cut])
        whole_groups = max(place for place, size in enumerate(sizes) if size <= cut)
        assert read(path) == everyone[: kept[whole_groups]]
        if cut % 9 == 0 or cut in sizes:  # opening it for writing takes longer
            with Log(path) as log:
                assert log.facts == everyone[: kept[whole_groups]]
            assert path.read_bytes() == data[: sizes[whole_groups]]


@pytest.mark.parametrize("shape", ['{"seq":1,"at":1.0,"more":true,', '{"more": true, "seq":1,"at":1.0,'])
def test_facts_whose_others_were_never_written_do_not_count(path: Path, shape: str) -> None:
    first = line(Recorded(1, 1.0, Reprompted("a", 1, "x"))).replace('{"seq":1,"at":1.0,', shape)
    second = line(Recorded(2, 1.0, Reprompted("a", 1, "y")))
    assert len(of_lines(path, [first])) == 0
    assert len(of_lines(path, [first, second])) == 2


def test_whether_more_belongs_to_a_fact_is_true_or_false(path: Path) -> None:
    with pytest.raises(LogError, match="expected bool, found 7"):
        of_lines(path, ['{"seq":1,"at":1.0,"more":7,"type":"Stopped","why":"timeout"}'])
