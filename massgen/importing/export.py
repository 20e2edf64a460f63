"""A session that was exported as JSON, read back: questions, answers, votes, final answers and times.

What the export leaves out stays left out: files that went with questions, model calls and their costs, settings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast, get_args

from massgen.events import Member
from massgen.importing.files import Source
from massgen.importing.layouts import name, time_of
from massgen.importing.turns import UNKNOWN, Act, Cast, End, Given, Turn, Why

MARK = b'"facts_version"'
"""In the first bytes of such a file."""


def exported(source: Source) -> list[Turn]:
    """The conversation in the file that `source` is."""
    found = source.data(source.root)
    return [
        _Exported(source, each).turn for each in _objects(found.get("turns")) if isinstance(each.get("question"), str)
    ]


def _objects(value: object) -> list[dict[str, Any]]:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", each) for each in items if isinstance(each, dict)]


@dataclass(frozen=True, slots=True)
class _Exported:
    source: Source
    told: dict[str, Any]

    @property
    def turn(self) -> Turn:
        told, at = self.told, self.at
        finals = [each for each in _objects(told.get("finals")) if each.get("sent_back") is None]
        final = _text(told.get("answer"))
        if told.get("media"):
            self.source.note(self.source.root, "files that went with a question are not in an export; left out")
        if told.get("tool_calls") or told.get("plans"):
            self.source.note(self.source.root, "plans and uses of tools are left out")
        team = {name(each.get("id")): each for each in _objects(told.get("team"))}
        return Turn(
            question=told["question"],
            at=at,
            team=tuple(_member(agent, each) for agent, each in team.items()),
            acts=self._acts(at),
            winner=name(finals[-1].get("author") if finals else told.get("winner")),
            final=final if final.strip() else "",
            ended=at + max(0.0, _number(told.get("seconds"))),
            why=told["why"] if told.get("why") in get_args(Why) else "consensus",
            end=told["stopped"] if told.get("stopped") in get_args(End) else "interrupted",
        )

    @property
    def at(self) -> float:
        return time_of(self.told.get("asked_at")) or self.source.changed(self.source.root)

    def _acts(self, at: float) -> tuple[Act, ...]:
        """Of the last attempt, for what came before was sent back."""
        answers = _objects(self.told.get("answers"))
        last = max((_number(each.get("attempt")) for each in answers), default=1.0)
        kept = [each for each in answers if _number(each.get("attempt")) == last]
        if len(kept) < len(answers):
            self.source.note(self.source.root, "answers that were sent back are left out")
        given = [Given(name(each.get("author")), _after(at, each), _text(each.get("text"))) for each in kept]
        numbers = {
            number: int(_number(each.get("revision"))) for each in kept if isinstance(number := each.get("id"), int)
        }
        return tuple(sorted((*given, *self._votes(at, numbers)), key=lambda act: (act.at, isinstance(act, Cast))))

    def _votes(self, at: float, numbers: dict[int, int]) -> Iterator[Cast]:
        for each in _objects(self.told.get("votes")):
            answer = each.get("answer")
            if isinstance(answer, int) and answer in numbers:
                voter, author = name(each.get("voter")), name(each.get("author"))
                yield Cast(voter, _after(at, each), author, numbers[answer], _text(each.get("reason")))


def _member(agent: str, told: dict[str, Any]) -> Member:
    return Member(agent, _text(told.get("backend")) or UNKNOWN, _text(told.get("model")))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e9 else 0.0


def _after(at: float, told: dict[str, Any]) -> float:
    return at + _number(told.get("at"))
