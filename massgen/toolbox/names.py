"""What tools and their arguments are called before models: names that every provider takes, each for one of them."""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

MAX_NAME = 64
"""What the strictest providers take: at most so many of A-Z, a-z, 0-9, `_` and `-`."""
_HASH = 8
_ARGUMENT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What Anthropic takes."""


def of_server(server: str, tool: str, taken: Collection[str] = ()) -> str:
    """The name of a server's tool: `mcp__SERVER__TOOL`, as far as that is short, plain and not `taken`."""
    return unlike(f"mcp__{server}__{tool}", f"{server}\n{tool}", taken)


def unlike(wanted: str, identity: str, taken: Collection[str] = ()) -> str:
    """`wanted`, or where that will not do, its beginning and a hash of `identity`: the same in every run."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", wanted)
    if plain == wanted and len(plain) <= MAX_NAME and plain not in taken:
        return plain
    name = f"{plain[: MAX_NAME - _HASH - 1]}_{hashlib.sha256(identity.encode()).hexdigest()[:_HASH]}"
    return unlike(wanted, f"{identity}\n", taken) if name in taken else name


def arguments(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """`schema` with names of arguments that every provider takes, and what the tool itself calls those that have another."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    odd = {key: unlike(key, key, properties) for key in properties if not _ARGUMENT.fullmatch(key)}
    if not odd:
        return schema, {}
    plain = {odd.get(key, key): each for key, each in properties.items()}
    required = [odd.get(key, key) for key in schema.get("required", [])]
    return {**schema, "properties": plain, "required": required}, {name: key for key, name in odd.items()}


def fits(patterns: Iterable[str], *names: str) -> bool:
    """Whether one of `patterns` (`*` and `?` stand for anything) is, or covers, one of `names`."""
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def unmet(patterns: Sequence[str], names: Iterable[str]) -> list[str]:
    """Those of `patterns` that cover none of `names`: misspelt, probably."""
    every = [*names]
    return [each for each in patterns if not any(fnmatchcase(name, each) for name in every)]
