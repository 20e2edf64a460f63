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


@dataclass(slots=True)
class Values:
    """The plain data of a tree, as JSON has it, with every `${NAME}` replaced by the variable's value."""

    env: Mapping[str, str]
    secrets: set[str]
    problems: list[tuple[Where, str]] = field(default_factory=list[tuple[Where, str]])
    unset: list[tuple[Where, str]] = field(default_factory=list[tuple[Where, str]])
    """Problems too, but not of a profile that was not chosen: its variables are set where it is."""

    def plain(self, node: Node, path: Where) -> Any:
        match node.value:
            case dict():
                return {key: self.plain(item, (*path, key)) for key, item in node.mapping.items()}
            case list():
                return [self.plain(item, (*path, place)) for place, item in enumerate(node.items)]
            case str() as text:
                return self._expanded(text, path)
            case value if _fits_json(value):
                return value
            case value:
                self.problems.append((path, f"{short(value)} is not text, a usual number, true, false or null"))
                return None

    def _expanded(self, text: str, path: Where) -> str:
        expanded = _VARIABLE.sub(lambda found: self._variable(found[1], path), text)
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


def source(node: Node, path: Where = ()) -> Any:
    """Plain data as it was written, with secrets that were written out replaced."""
    match node.value:
        case dict():
            return {key: source(item, (*path, key)) for key, item in node.mapping.items()}
        case list():
            return [source(item, (*path, place)) for place, item in enumerate(node.items)]
        case str() as text if secret(path) and not (_BY_NAME.fullmatch(text) or _switches(text, path)):
            return REDACTED
        case value:
            return value


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
