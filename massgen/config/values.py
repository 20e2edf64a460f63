"""The values of a configuration: variables, which are replaced by what they hold, and secrets, which nobody is shown."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from massgen.config import Where
from massgen.config.yaml_tree import Node, of_a_server, secret, short

REDACTED = "[redacted]"
"""What stands in a configuration's source for a key that was written out in it."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_BY_NAME = re.compile(rf"((bearer|basic|token|apikey|bot) )?{_VARIABLE.pattern}", re.IGNORECASE)
"""A secret that is not written out, as a header has it too: `Bearer ${TOKEN}`."""
_TELLING = re.compile(r"KEY|TOKEN|SECRET|PASSWORD")
_SWITCH = re.compile(r"true|false|yes|no|on|off|\d{1,5}", re.IGNORECASE)
"""As a value of a server's variable, nobody's secret."""
_HARMLESS = re.compile(r"[~./].*|[A-Za-z_-]+|[\d.:,-]+|https?://[^@?]*")
"""A variable of a server that is a path, a word, a number or a plain address is no secret. It is not recorded, but it may
stand in what agents and tools say."""
_WITHIN = re.compile(
    r"://[^\s/:@]*:([^\s/@]+)@"
    r"|(?:(?:api|access|auth|secret|private)[_-]?key|_key|[?&]key|token|secret|passw(?:or)?d|pwd|authorization)"
    r"\s*[=:]\s*(?:(?:bearer|basic|token) )?([^\s&]+)",
    re.IGNORECASE,
)
"""The secrets in an address or an argument: a password before the host, a parameter, a variable, a header."""


@dataclass(slots=True)
class Values:
    """The plain data of a tree, as JSON has it, with every `${NAME}` replaced by the variable's value."""

    env: Mapping[str, str]
    secrets: set[str]
    problems: list[tuple[Where, str]] = field(default_factory=list[tuple[Where, str]])
    unset: list[tuple[Where, str]] = field(default_factory=list[tuple[Where, str]])
    """Problems too, but not of a profile that was not chosen: its variables are set where it is."""

    def plain(self, node: Node, path: Where, before: Any = None) -> Any:
        match node.value:
            case dict():
                return {key: self.plain(item, (*path, key)) for key, item in node.mapping.items()}
            case list():
                return [self.plain(item, (*path, place), before) for place, before, item in _items(node)]
            case str() as text:
                return self._expanded(text, path, before)
            case value if _fits_json(value):
                return value
            case value:
                self.problems.append((path, f"{short(value)} is not text, a usual number, true, false or null"))
                return None

    def _expanded(self, text: str, path: Where, before: Any) -> str:
        expanded = _VARIABLE.sub(lambda found: self._variable(found[1], path), text)
        self.secrets.update(_within(expanded, path, before))
        if expanded and secret(path):
            self.secrets.update(_secrets(expanded, path))
        return expanded

    def _variable(self, name: str, path: Where) -> str:
        value = self.env.get(name)
        if value is None:
            self.unset.append((path, f"the variable {name} is not set"))
        elif _TELLING.search(name):
            self.secrets.add(value)
        return value or ""


def _secrets(value: str, path: Where) -> Iterator[str]:
    """What of a secret's `value` is to be taken out of all texts."""
    if not of_a_server(path):
        yield value
    elif _TELLING.search(str(path[-1]).upper()) or not _HARMLESS.fullmatch(value):
        yield value
        yield value.rpartition(" ")[2]  # of `Bearer ...`, a server that complains may repeat the half


def _within(text: str, path: Where, before: Any) -> Iterator[str]:
    """The secrets in `text` if it is an address or an argument; `before` is the argument before it, e.g. `--api-key`."""
    match path:
        case (*_, "url" | "base_url") | (*_, "args", int()):
            found = [match[1] or match[2] for match in _WITHIN.finditer(text)]
            named = isinstance(before, str) and before.startswith("-") and secret((before,))
            yield from (each for each in [*found, *([text] if named else ())] if not _SWITCH.fullmatch(each))
        case _:
            pass


def source(node: Node, path: Where = (), before: Any = None) -> Any:
    """Plain data as it was written, with secrets that were written out replaced."""
    match node.value:
        case dict():
            return {key: source(item, (*path, key)) for key, item in node.mapping.items()}
        case list():
            return [source(item, (*path, place), before) for place, before, item in _items(node)]
        case str() as text if _written_out(text, path, before):
            return REDACTED
        case value:
            return value


def _items(node: Node) -> Iterator[tuple[int, Any, Node]]:
    """The items of a list, each with its place and the value before it."""
    values = [None, *(item.value for item in node.items)]
    return ((place, values[place], item) for place, item in enumerate(node.items))


def _written_out(text: str, path: Where, before: Any) -> bool:
    if secret(path):
        return not (_BY_NAME.fullmatch(text) or _switches(text, path))
    return any(not _BY_NAME.fullmatch(each) for each in _within(text, path, before))


def _switches(text: str, path: Where) -> bool:
    return of_a_server(path) and not _TELLING.search(str(path[-1]).upper()) and bool(_SWITCH.fullmatch(text))


def _fits_json(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case int():
            return abs(value) < 2**63
        case _:
            return value is None
