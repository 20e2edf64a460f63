"""The facts in a log's file, each decoded when it is looked at: of a million, a run that goes on needs a few.

Opening a log looks at every line but reads none: that it begins as a fact does with the number that is its place's, that it
ends as one, that its bytes are text. A line of another shape is read at once. So what stands in the place of a line is found
when the log is opened; damage within one that still looks right is found when that fact is looked at, and not before.
"""

import codecs
import json
import math
import operator
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Never, cast, get_args, overload

from massgen.errors import LogError
from massgen.events import Fact, Recorded
from massgen.log.blobs import MARK, BlobError, Blobs, put_back
from massgen.log.codec import decode

FORMAT = 1
LATEST = 2.5e11
"""Seconds since 1970: in the year 9892. No calendar here goes beyond 9999."""
BLOBS = "blobs"
"""The folder of the large texts, beside the log."""

_CODES = {kind.__name__.encode(): ord("A") + number for number, kind in enumerate(get_args(Fact))}
_LINE = re.compile(
    rb'(?m)^\{"seq":([1-9]\d{0,17}),"at":(?:0|[1-9]\d*)(?:\.\d+)?,("more":true,)?"type":"(\w+)"[,}][^\n]*+(?<=\})\n'
)
"""A line as the log's writer makes them."""
_MARK = MARK.encode()
_CHUNK = 1 << 18
"""Bytes that are looked at together."""


class Facts(Sequence[Recorded]):
    """Facts as they stand in a file. Those that are taken out are decoded for the occasion: who goes over all of them more
    than once makes a list of them. Taking one raises `LogError` for a line, or a text beside the log, that is damaged."""

    def __init__(self, data: bytes, path: Path, starts: "array[int]", kinds: bytes) -> None:
        self.path = path
        self._data, self._starts, self._kinds = data, starts, kinds
        self._text = Blobs(path.parent / BLOBS).text

    @property
    def size(self) -> int:
        """Bytes of the file until the end of the last of them."""
        return self._starts[-1]

    @property
    def torn(self) -> int:
        """Bytes that stood behind that: the beginning of what was never acknowledged."""
        return len(self._data) - self.size

    def of(self, *kinds: type[Fact], start: int = 0, stop: int | None = None) -> Iterator[Recorded]:
        """Those of the classes `kinds`, of all that stand from the index `start` to before `stop`; no other is decoded."""
        wanted = re.compile(b"[%s]" % re.escape(_codes(kinds)) if kinds else b"(?!)")
        places = range(len(self))[start:stop]
        return (self[found.start()] for found in wanted.finditer(self._kinds, places.start, places.stop))

    def last(self, *kinds: type[Fact]) -> int:
        """The index of the last fact of the classes `kinds`; -1 if there is none."""
        return max((self._kinds.rfind(code) for code in _codes(kinds)), default=-1)

    @overload
    def __getitem__(self, index: int) -> Recorded: ...
    @overload
    def __getitem__(self, index: slice) -> list[Recorded]: ...
    def __getitem__(self, index: int | slice) -> Recorded | list[Recorded]:
        if isinstance(index, slice):
            return [self[each] for each in range(len(self))[index]]
        place = range(len(self))[index]
        raw = self._data[self._starts[place] : self._starts[place + 1] - 1]
        recorded, _ = parsed(raw, place + 1, self.path, self._text)
        if _code(recorded) != self._kinds[place]:
            _damaged(self.path, place + 1, "it has two types")
        return recorded

    def __len__(self) -> int:
        return len(self._kinds)

    def __iter__(self) -> Iterator[Recorded]:
        return (self[place] for place in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Facts, list)):
            return NotImplemented
        others = cast("Sequence[object]", other)
        return len(self) == len(others) and all(map(operator.eq, self, others))

    def __hash__(self) -> int:
        return len(self)

    def __repr__(self) -> str:
        return f"<{len(self):,} facts in {self.path}>"


def read(path: Path) -> Facts:
    """The facts in the log at `path`, without opening it for writing; a torn end is left out."""
    return scanned(content(path), path)


def content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LogError(f"cannot be read: {error.strerror or error}", where=str(path)) from None


def scanned(data: bytes, path: Path) -> Facts:
    """The facts in `data`, the content of the log at `path`. Raises `LogError` for a line that is none."""
    end, at = data.rfind(b"\n") + 1, data.find(b"\n") + 1
    _check_header(data[: max(0, at - 1)], path)
    starts, kinds = array("Q", (at,)), bytearray()
    while at < end:
        until = data.index(b"\n", min(at + _CHUNK, end - 1)) + 1
        if known := _at_once(data, at, until, len(kinds) + 1):
            kinds += known
            starts.extend([at := at + len(each) + 1 for each in data[at : until - 1].split(b"\n")])
        while at < until:
            try:
                kind, _, after = _seen(data, at, len(kinds) + 1, path)
            except LogError:
                # what is no text may have swallowed the end before it, and is told first
                _check_text(data, data.index(b"\n", at) + 1, path)
                raise
            kinds.append(kind)
            starts.append(at := after)
    _check_text(data, end, path)
    whole = len(kinds)
    while whole and _seen(data, starts[whole - 1], whole, path)[1]:
        whole -= 1
    return Facts(data, path, starts[: whole + 1], bytes(kinds[:whole]))


def _at_once(data: bytes, at: int, until: int, number: int) -> bytes:
    """The classes of the facts from `at` until `until`, fact `number` first; nothing if a line is not as the writer's are.
    What a million lines cost is spent here: less than half of what looking at them one by one takes."""
    found = _LINE.findall(data, at, until)
    kinds = bytes([_CODES.get(kind, 0) for _, _, kind in found])
    seqs = [int(seq) for seq, _, _ in found]
    whole = len(found) == data.count(b"\n", at, until) and seqs == [*range(number, number + len(found))]
    return kinds if whole and 0 not in kinds else b""


def _seen(data: bytes, at: int, number: int, path: Path) -> tuple[int, bool, int]:
    """The class of the fact that stands at `at`, whether another belongs to it, and where the next one stands."""
    line = _LINE.match(data, at)
    if line and int(line[1]) == number and (kind := _CODES.get(line[3])):
        return kind, line[2] is not None, line.end()
    end = data.index(b"\n", at)
    recorded, more = parsed(data[at:end], number, path, Blobs(path.parent / BLOBS).text)
    return _code(recorded), more, end + 1


def parsed(raw: bytes, number: int, path: Path, text: Callable[[str, int], str]) -> tuple[Recorded, bool]:
    """The fact in the line `raw`, and whether another belongs to it. Raises `LogError` if it is not a whole fact, or not
    fact `number`; `text` has its large texts."""
    try:
        fields = _JSON.decode(raw.decode())
        if _MARK in raw:
            fields = put_back(fields, text)
        seq, at, more = fields.pop("seq"), fields.pop("at"), fields.pop("more", False)
        if type(seq) is not int or seq != number:
            raise ValueError(f"fact {seq!r} stands where fact {number} belongs")
        return Recorded(seq, _time(at), decode(Fact, fields)), decode(bool, more)
    except BlobError as error:
        raise LogError(
            f"a text of this fact cannot be read: {error}",
            where=f"{path}:{number + 1}",
            fix="Nothing was changed. Restore that file from a copy.",
        ) from None
    except (ValueError, KeyError, AttributeError, TypeError, OverflowError, RecursionError) as error:
        _damaged(path, number, str(error))


def _time(value: object) -> float:
    if not 0 <= (at := decode(float, value)) < LATEST:
        raise ValueError(f"{at} s is no time since 1970")
    return at


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        _refuse(text)
    return number


def _refuse(text: str) -> Never:
    raise ValueError(f"{text[:20]} is no number")


_JSON = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse)


def _check_header(raw: bytes, path: Path) -> None:
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        header = None
    match header:
        case {"massgen": "session log", "format": int(version)} if version == FORMAT:
            return
        case {"massgen": "session log", "format": version}:
            raise LogError(
                f"format {version!r} is not one this version reads (it reads {FORMAT})",
                where=f"{path}:1",
                fix="Open it with the massgen that wrote it, or a newer one.",
            )
        case _:
            raise LogError("not a session log: the header line is missing or damaged", where=f"{path}:1")


def _check_text(data: bytes, end: int, path: Path) -> None:
    """That all lines are text: what a crashed machine leaves in a file mostly is not."""
    if (nul := data.find(b"\0", 0, end)) >= 0:
        _damaged(path, data.count(b"\n", 0, nul), "there are NUL bytes in it")
    decoder, view = codecs.getincrementaldecoder("utf-8")(), memoryview(data)
    for at in range(0, end, _CHUNK):
        begun = len(decoder.getstate()[0])  # bytes of a character that the chunk before ended in
        try:
            decoder.decode(view[at : min(at + _CHUNK, end)])
        except UnicodeDecodeError as error:
            place = at - begun + error.start
            _damaged(path, data.count(b"\n", 0, place), f"byte {data[place]:#04x} in it is not UTF-8")


def _damaged(path: Path, number: int, why: str) -> Never:
    raise LogError(
        f"this line is damaged: {why[:200]}",
        where=f"{path}:{number + 1}",
        fix="Nothing was changed. Restore the file from a copy, or cut it before this line to continue from there.",
    ) from None


def _code(recorded: Recorded) -> int:
    return _CODES[type(recorded.fact).__name__.encode()]


def _codes(kinds: Iterable[type[Fact]]) -> bytes:
    return bytes(_CODES[kind.__name__.encode()] for kind in kinds)
