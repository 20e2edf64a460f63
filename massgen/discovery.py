"""What there is to think with: keys, local servers and the embedded model found here; the models of each provider."""

import difflib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from functools import cache
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from types import MappingProxyType
from typing import Any, cast
from urllib.parse import urlsplit

from massgen.backends.providers import PROVIDERS, Provider, key_name, resolve_base_url
from massgen.config import BackendType
from massgen.errors import MassgenError, UsageError

MAX_LISTING = 1_000_000
"""Bytes of a server's list of models; the longest known ones have half of that."""
MAX_NAME = 200
"""Characters of a model's name, as the configuration has it; a longer or unprintable one is none."""
ANSWER_SECONDS = 0.5
"""A server on this machine answers within that, or is not asked to help."""
_PRICES = "model_prices_and_context_window_backup.json"

DEFAULT_MODELS: Mapping[BackendType, str] = MappingProxyType(
    {
        "openai": "gpt-6-luna",
        "claude": "claude-haiku-5-5",
        "gemini": "gemini-flash-latest",
        "openrouter": "openai/gpt-6-luna",
        "groq": "openai/gpt-oss-120b",
        "together": "openai/gpt-oss-120b",
        "fireworks": "accounts/fireworks/models/glm-5p3-flash",
        "cerebras": "gpt-oss-120b",
        "moonshot": "kimi-k2.6",
        "zai": "glm-5.3-flash",
        "nebius": "openai/gpt-oss-120b",
        "grok": "grok-4.3",
    }
)
"""A cheap model of each provider that can use tools; checked on 2026-11-21 against litellm's price list (openrouter: against
its templates). The others have none of their own: a deployment, a bot or a loaded model is somebody's choice."""


@dataclass(frozen=True, slots=True)
class Found:
    """Something to think with: `how` it was found, for people; the `models` a server lists; never a key."""

    provider: Provider
    how: str
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """A model in litellm's price list: tokens, US dollars for a million of them, and `source`, the provider's page.

    None: not known.
    """

    name: str
    context: int | None
    longest_reply: int | None
    input_price: float | None
    output_price: float | None
    ends: str | None
    """The day (YYYY-MM-DD) from which its provider no longer serves it."""
    source: str | None


def named(kind: str) -> Provider:
    """The provider of the type `kind`. Raises `UsageError` with the nearest types."""
    known = {str(row.type): row for row in PROVIDERS.values()}
    if kind in known:
        return known[kind]
    close = difflib.get_close_matches(kind.lower(), known, 2)
    hint = f"did you mean {' or '.join(close)}?" if close else f"There are: {', '.join(known)}."
    raise UsageError(f"no provider is called {kind!r}", fix=hint)


def found(env: Mapping[str, str]) -> list[Found]:
    """Providers whose key is in `env`, local servers that answer, and the embedded model if its runtime is installed."""
    keyed = [
        Found(row, f"the variable {name} is set") for row in PROVIDERS.values() if (name := key_name(row, None, env))
    ]
    embedded = [Found(PROVIDERS["local"], "no key, no server")] if find_spec("xllamacpp") else []
    return [*keyed, *_servers(env), *embedded]


def _servers(env: Mapping[str, str]) -> list[Found]:
    """Those that answer, asked all at once. A thread whose server dribbles is left behind: it ends with the process."""
    answers: dict[BackendType, Found] = {}

    def ask(row: Provider) -> None:
        try:
            url, models = served(row, env, ANSWER_SECONDS)
        except MassgenError:
            return
        answers[row.type] = Found(row, f"at {url}", models)

    rows = [row for row in PROVIDERS.values() if row.lists_models]
    threads = [Thread(target=ask, args=(row,), daemon=True) for row in rows]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 3 * ANSWER_SECONDS  # `localhost` may be two addresses
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    return [answers[row.type] for row in rows if row.type in answers]


def served(provider: Provider, env: Mapping[str, str], seconds: float) -> tuple[str, tuple[str, ...]]:
    """Where the local server is, and the models it lists. Raises `MassgenError` if it does not answer as one does."""
    url = next(iter(provider.url_variables), "")
    try:
        url = resolve_base_url(provider, "", env)
        return url, tuple(_listing(url, seconds))
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        place = f" or set {provider.url_variables[0]}" if provider.url_variables else ""
        why = getattr(error, "strerror", None) or error
        raise MassgenError(
            f"{provider.title} does not answer ({why})", where=url, fix=f"Start it{place}, then ask again."
        ) from None


def _listing(base_url: str, seconds: float) -> Iterator[str]:
    url = urlsplit(base_url)
    connect = HTTPSConnection if url.scheme == "https" else HTTPConnection
    with closing(connect(url.hostname or "", url.port, timeout=seconds)) as connection:
        connection.request("GET", f"{url.path.rstrip('/')}/models")
        with connection.getresponse() as response:
            body = response.read(MAX_LISTING)
    if response.status != HTTPStatus.OK:
        raise ValueError(f"status {response.status}")
    match json.loads(body):
        case {"data": [*listed]}:
            for each in listed:
                match each:
                    case {"id": str(name)} if name.isprintable() and 0 < len(name) <= MAX_NAME:
                        yield name
                    case _:
                        pass
        case _:
            raise ValueError("it lists no models")


def price_list_name() -> str:
    """The price list's name and edition."""
    return f"litellm {version('litellm')} price list"


def price_list(provider: Provider, today: date) -> list[Model]:
    """The chat models of `provider` that litellm's price list has and that are not gone `today`, by name.

    Of the type `litellm`: those of all providers. litellm itself, which takes seconds to import, is not."""
    prefix = provider.litellm_prefix
    rows = {name: row for name, row in _prices().items() if _priced(row) and not name.startswith("ft:")}
    if prefix:
        own = {name: row for name, row in rows.items() if row.get("litellm_provider") == prefix.rstrip("/")}
        # Beside them stand classes of models, such as together-ai-4.1b-8b; some providers' names have no prefix at all.
        rows = {name: row for name, row in own.items() if name.startswith(prefix)} or own
    models = [_model(name.removeprefix(prefix), row) for name, row in rows.items()]
    return sorted(
        (each for each in models if not each.ends or each.ends > today.isoformat()), key=lambda each: each.name
    )


@cache
def _prices() -> dict[str, dict[str, Any]]:
    """Its three megabytes are read as data: 40 ms."""
    spec = find_spec("litellm")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise MassgenError("litellm is not installed, and with it the price list", fix="pip install litellm")
    return cast("dict[str, dict[str, Any]]", json.loads((Path(folders[0]) / _PRICES).read_text(encoding="utf-8")))


def _priced(row: Mapping[str, Any]) -> bool:
    return row.get("mode") == "chat" and "input_cost_per_token" in row


def _model(name: str, row: Mapping[str, Any]) -> Model:
    source = row.get("source")
    return Model(
        name,
        row.get("max_input_tokens"),
        row.get("max_output_tokens"),
        _million(row["input_cost_per_token"]),
        _million(row.get("output_cost_per_token")),
        row.get("deprecation_date"),
        source if source and source.startswith("http") else None,
    )


def _million(price: float | None) -> float | None:
    """The price of a million tokens; rounded, for the list has binary fractions."""
    return None if price is None else round(price * 1e6, 6)


def missing_key(provider: Provider, env: Mapping[str, str]) -> str:
    """The variable that is to hold the key of `provider`; empty if none is needed, or it is set."""
    return "" if key_name(provider, None, env) or not provider.key_variables else provider.key_variables[0]
