"""What each provider offers beyond chat: which settings it has, and what they are called in its requests. Pure data."""

from collections.abc import Iterator, Mapping
from typing import Any


def unsupported(kind: str, backend: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The settings in `backend` that a provider of type `kind` has not: where, and why with those that have."""
    yield from ()
