"""Finds every code fence of a page, at any indent, with its attributes and its place. What the scanner misses, nobody checks."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_OPENING = re.compile(r"^(?P<indent>[ \t>]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`\n]*)$")


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block: `start` and `end` are the places of its body in the page's text, `line` that of its first line."""

    page: Path
    line: int
    language: str
    attributes: Mapping[str, str]
    body: str
    start: int
    end: int
    indent: str

    @property
    def title(self) -> str:
        return self.attributes.get("title", "")

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """A drift: where, of which class, what, and the command or edit that mends it."""

    where: str
    kind: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}: {self.what}\n  {self.fix}"


def fences(page: Path) -> list[Fence]:
    """All fences of `page`, in order. One that is not closed reaches to the end."""
    return [*_scan(page, page.read_text("utf-8"))]


def _scan(page: Path, text: str) -> Iterator[Fence]:
    lines, number = text.splitlines(keepends=True), 0
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line))
    while number < len(lines):
        opening = _OPENING.match(lines[number].rstrip("\r\n"))
        number += 1
        if not opening:
            continue
        first = number
        closing = re.compile(rf"^[ \t>]*{re.escape(opening['fence'][0])}{{{len(opening['fence'])},}}[ \t]*$")
        while number < len(lines) and not closing.match(lines[number].rstrip("\r\n")):
            number += 1
        body = "".join(line.removeprefix(opening["indent"]) for line in lines[first:number])
        language, attributes = _info(opening["info"])
        place = (offsets[first], offsets[number])
        yield Fence(page, first, language, attributes, body, *place, opening["indent"])
        number += 1


def _info(info: str) -> tuple[str, Mapping[str, str]]:
    """The language and the attributes of a fence: `yaml title="x"` or `{ .yaml title="x" }`."""
    try:
        words = shlex.split(info.strip().removeprefix("{").removesuffix("}"))
    except ValueError:
        words = info.split()
    attributes = dict(word.split("=", 1) for word in words if "=" in word)
    language = next((word.removeprefix(".") for word in words if "=" not in word), "")
    return language, attributes


def prose(text: str) -> str:
    """`text` with the bodies of its fences blanked: lines stay where they are."""
    kept: list[str] = []
    closing: re.Pattern[str] | None = None
    for line in text.splitlines():
        if closing:
            closing = None if closing.match(line) else closing
            kept.append("")
        elif opening := _OPENING.match(line):
            closing = re.compile(rf"^[ \t>]*{re.escape(opening['fence'][0])}{{{len(opening['fence'])},}}[ \t]*$")
            kept.append("")
        else:
            kept.append(line)
    return "\n".join(kept)
