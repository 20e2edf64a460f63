"""Generated pages that are lists: the templates, the variables of the environment, and the keys of a configuration."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pydantic import TypeAdapter

from massgen import examples
from massgen.backends.providers import PROVIDERS
from massgen.config import Config
from massgen.config import limits as config_limits
from massgen.config import tools as config_tools
from massgen.config.schema import field_texts, schema
from tests.handbook.names import VARIABLES

Rule: TypeAlias = Mapping[str, Any]
"""A part of a JSON Schema."""


def templates() -> list[str]:
    """The blocks of the gallery: every template with what it is for, and the file itself."""
    intro = (
        "These configurations ship with massgen and are run by its tests. Use one as it is, `--config @examples/NAME`, or "
        "`massgen examples copy NAME` and change the copy. `massgen examples list` tells the same as this page."
    )
    rows = [f"| [{name}](#{name.replace('/', '')}) | {examples.header(name).purpose} |" for name in examples.names()]
    return [intro, "\n".join(["| template | purpose |", "|---|---|", *rows]), *map(_template, examples.names())]


def _template(name: str) -> str:
    header = examples.header(name)
    return (
        f"## {name}\n\n{header.purpose}\n\n- **Needs:** {header.needs}\n- **Cost:** {header.cost}\n\n"
        f'```bash\n{header.attempt}\n```\n\n```yaml\n--8<-- "examples/{name}.yaml"\n```'
    )


def variables() -> list[str]:
    """The blocks of the page on the environment."""
    intro = (
        "A configuration takes a variable's value by `${NAME}`. The ones below massgen looks up by itself. They may stand in a "
        "file `.env` in the working directory, too; what is set in the environment goes first. An address of `.env` counts only beside a key of `.env`: "
        "what a folder brings along must not lead your keys elsewhere."
    )
    own = [f"| `{name}` | {meaning} |" for name, meaning in VARIABLES.items()]
    keys = [
        f"| `{row.type}` | {_names(row.key_variables)} | {_names(row.url_variables)} | {_page(row.key_page)} |"
        for row in PROVIDERS.values()
        if row.key_variables or row.url_variables
    ]
    return [
        intro,
        "\n".join(["## massgen's own", "", "| variable | meaning |", "|---|---|", *own]),
        "## Providers\n\nOf several names the first that is set counts; `api_key` and `base_url` in a configuration go before all.",
        "\n".join(["| type | key | address | make a key |", "|---|---|---|---|", *keys]),
    ]


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _page(address: str) -> str:
    return f"[{address.removeprefix('https://').partition('/')[0]}]({address})" if address else ""


def configuration() -> list[str]:
    """The blocks of the reference of a configuration, each section once."""
    intro = (
        "A configuration is a YAML file. A key that is not listed here is an error, told with its line and what was "
        "probably meant. `${NAME}` in a value stands for an environment variable, or one of a `.env` file in the "
        "working directory. Of all keys only `agents`, each agent's `backend`, and its `type` must be there. A section is a "
        "mapping whose keys have a table below; where the type says names, you choose the keys."
    )
    return [intro, *_Reference(Config.model_json_schema()).sections()]


@dataclass(slots=True)
class _Reference:
    """The sections of a schema, as tables."""

    whole: Rule
    places: dict[str, list[str]] = field(default_factory=lambda: {"Config": [""]})
    """Where each section may stand, as in `agents[].backend`: the shortest path first."""
    told: dict[str, str] = field(default_factory=dict[str, str])
    """Row -> the path of the section that has it."""

    def __post_init__(self) -> None:
        todo = [("Config", "")]
        for each in todo:
            for inner, place in self._inside(*each):
                self.places.setdefault(inner, []).append(place)
                todo.append((inner, place))

    def sections(self, name: str = "Config") -> Iterator[str]:
        """The table of a section, then those of the sections that have their first place in it."""
        path, *others = self.places[name]
        rule = self._rule(name)
        also = f" The same stands at {' and '.join(f'`{place}`' for place in others)}." if others else ""
        rows = [*self._rows(name, rule, path), *(_OWN_KEYS if name == "Config" else ())]
        table = "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])
        yield f"## {f'`{path}`' if path else 'The file'}\n\n{rule['description']}{also}\n\n{table}"
        for inner, place in self._inside(name, path):
            if place == self.places[inner][0]:
                yield from self.sections(inner)

    def _inside(self, name: str, path: str) -> Iterator[tuple[str, str]]:
        """The sections that the keys of the one at `path` are or hold, with their places."""
        for key, rule in self._rule(name)["properties"].items():
            for inner, marks in _held(rule):
                yield inner, f"{path}.{key}{marks}".removeprefix(".")

    def _rule(self, name: str) -> Rule:
        return self.whole if name == "Config" else self.whole["$defs"][name]

    def _rows(self, name: str, rule: Rule, path: str) -> Iterator[str]:
        """A row for each key; those that are word for word in an earlier section are one row, which leads there."""
        again: dict[str, list[str]] = {}
        rows: list[str] = []
        for key, each in rule["properties"].items():
            default = "required" if key in rule.get("required", ()) else _default(each)
            row = _row(f"`{key}`", self._kind(each), default, field_texts()[f"{name}.{key}"])
            if (place := self.told.setdefault(row, path)) == path:
                rows.append(row)
            else:
                again.setdefault(place, []).append(f"`{key}`")
        yield from rows
        for place, keys in again.items():
            yield _row(", ".join(keys), "", "", f"As in [`{place}`]({_anchor(place)}).")

    def _kind(self, rule: Rule, *, many: bool = False) -> str:
        """What may be written, in words; `many`: of each of several."""
        s = "s" * many
        match rule:
            case {"$ref": str(ref)}:
                return f"[section{s}]({_anchor(self.places[ref.rpartition('/')[2]][0])})"
            case {"const": value}:
                return f"`{json.dumps(value)}`"
            case {"anyOf": _} | {"enum": _} | {"type": "boolean"}:
                return _either([*self._alternatives(rule)])
            case {"type": "array", "items": {**items}}:
                return f"list{s} of {_span(rule, 'minItems', 'maxItems', '{} ')}{self._kind(items, many=True)}"
            case {"type": "object", "additionalProperties": {**inner}}:
                names = f"{_span(rule, 'minProperties', 'maxProperties', '{} ')}names{_length(rule.get('propertyNames', {}))}"
                return f"mapping{s} of {names} to {self._kind(inner, many=True)}"
            case _:
                return _plain(rule, s)

    def _alternatives(self, rule: Rule) -> Iterator[str]:
        match rule:
            case {"anyOf": [*forms]}:
                for form in forms:
                    yield from self._alternatives(form)
            case {"enum": [*words]}:
                yield from (f"`{word}`" for word in words)
            case {"type": "boolean"}:
                yield from ("`true`", "`false`")
            case _:
                yield self._kind(rule)


def _held(rule: Rule) -> Iterator[tuple[str, str]]:
    """The sections that a value is or holds, each with the marks of what it stands in: `[]` for a list, `.*` for a mapping."""
    match rule:
        case {"$ref": str(ref)}:
            yield ref.rpartition("/")[2], ""
        case {"anyOf": [*forms]}:
            yield from next(filter(None, ([*_held(form)] for form in forms)), ())  # a list of servers says the same
        case {"items": {**inner}}:
            yield from ((name, f"[]{marks}") for name, marks in _held(inner))
        case {"additionalProperties": {**inner}}:
            yield from ((name, f".*{marks}") for name, marks in _held(inner))
        case _:
            pass


_WORDS = {"string": "text", "integer": "whole number", "number": "number", "object": "mapping", "null": "`null`"}
PATTERNS = {
    "^[A-Za-z0-9_.-]*$": "letters, digits, `_`, `.` and `-`",
    r"^(.*/)?\w+(\.\w+)*:\w+$": "`MODULE:FUNCTION` or `FOLDER/MODULE:FUNCTION`",
    r"^(|process|machine|(redis|rediss|unix)://\S+)$": "`process`, `machine` or an address",
    r"^(\d{4}-\d{2}(-\d{2})?)?$": "a day or a month",
}
"""What the patterns of `massgen.config` mean."""
_SECONDS = [TypeAdapter[float](kind).json_schema() for kind in (config_limits.Seconds, config_tools.Seconds)]


def _plain(rule: Rule, s: str) -> str:
    bare = {key: value for key, value in rule.items() if key not in ("default", "title")}
    word = "seconds" if bare in _SECONDS else f"{_WORDS[rule['type']]}{s}"
    above = [f"more than {rule['exclusiveMinimum']:,}"] if "exclusiveMinimum" in rule else []
    limits = [*above, *filter(None, [_span(rule, "minimum", "maximum", "{}")])]
    return (
        f"{word}{_length(rule)}" if rule["type"] == "string" else word + (f" ({', '.join(limits)})" if limits else "")
    )


def _length(rule: Rule) -> str:
    pattern = rule.get("pattern")
    meant = [PATTERNS.get(pattern, f"matching `{pattern}`")] if pattern else []
    said = [*meant, *filter(None, [_span(rule, "minLength", "maxLength", "{} characters")])]
    return f" ({', '.join(said)})" if said and said != ["at least 1 characters"] else ""


def _span(rule: Rule, least: str, most: str, form: str) -> str:
    """The limits of a number, in the words of `form`; empty if there are none."""
    match rule.get(least), rule.get(most):
        case None, None:
            return ""
        case low, None:
            return form.format(f"at least {low:,}")
        case None, high:
            return form.format(f"at most {high:,}")
        case low, high:
            return form.format(f"{low:,} to {high:,}")


def _default(rule: Rule) -> str:
    if "default" not in rule:
        return "as below" if "$ref" in rule else "empty"
    return "empty" if rule["default"] == "" else f"`{json.dumps(rule['default'])}`"


def _either(words: Sequence[str]) -> str:
    last = ", or " if any(" " in re.sub(r"`.*?`", "", word) for word in words) else " or "
    return last.join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _anchor(path: str) -> str:
    return "#" + re.sub(r"[^\w-]", "", path).lower()


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


_OWN_KEYS = [
    _row(f"`{key}`", kind, "none", schema()["properties"][key]["description"])
    for key, kind in {
        "agent": "[section](#agents), as one of `agents`",
        "extends": "text",
        "profiles": "mapping of names to changes",
    }.items()
]
"""Of the file alone: `massgen.config.layers` makes one configuration of them."""
