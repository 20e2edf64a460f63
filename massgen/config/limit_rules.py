"""What rate limits may not say that their types do not show, and how a path stands in their place."""

import difflib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from massgen import builtins

GENERIC = "default"
"""Stands for any provider, and beneath one for any model."""


def limit_conflicts(limits: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Providers and time zones that are none: where, and what is wrong. `limits` may be of any shape."""
    known = (*builtins.TABLE, GENERIC)
    for provider, models in entries(limits).items():
        if provider not in known:
            close = difflib.get_close_matches(provider[:60], known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
            yield (provider,), f"no provider is called {provider[:40]!r}; {hint}"
        for model, entry in entries(models).items():
            match entry:
                case {"day_zone": str(zone)} if not _is_zone(zone):
                    yield (
                        (provider, model, "day_zone"),
                        f"no time zone is called {zone[:40]!r}; e.g. America/Los_Angeles",
                    )
                case _:
                    pass


def entries(value: Any) -> Mapping[str, Any]:
    """`value`, or nothing if it is no mapping."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


@functools.lru_cache
def _is_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # the last: a folder of zones
        return False
    return True


@dataclass(frozen=True)
class OrPath:
    """Annotates what may be `limits`, a path or None. A union would put the names of its members into problems' places."""

    limits: Any

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            lambda given, check: given if given and isinstance(given, str) else check(given),
            handler.generate_schema(self.limits | None),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        inner = handler(cast("Any", schema)["schema"])
        return {"anyOf": [{"type": "string", "minLength": 1}, *inner["anyOf"]]}
