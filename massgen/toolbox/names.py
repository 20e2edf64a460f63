"""What tools are called before models: names that every provider takes, each for one tool."""

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase

MAX_NAME = 64
"""What the strictest providers take: at most so many of A-Z, a-z, 0-9, `_` and `-`."""
_HASH = 8


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


def fits(patterns: Iterable[str], *names: str) -> bool:
    """Whether one of `patterns` (`*` and `?` stand for anything) is, or covers, one of `names`."""
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def unmet(patterns: Sequence[str], names: Iterable[str]) -> list[str]:
    """Those of `patterns` that cover none of `names`: misspelt, probably."""
    every = [*names]
    return [each for each in patterns if not any(fnmatchcase(name, each) for name in every)]
