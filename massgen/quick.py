"""A configuration without a file: what `--model`, `--backend`, `--base-url` and `--system-message` stand for. Pure."""

import re
from collections.abc import Sequence
from typing import Any, get_args

from massgen.config import BackendType
from massgen.errors import UsageError
from massgen.models import catalogue

TYPES: tuple[str, ...] = tuple(kind for kind in get_args(BackendType) if kind != "replay")

_FAMILIES = (
    (re.compile(r"gpt-(?!oss)|chatgpt-|o\d+(-|$)"), "openai"),  # gpt-oss: weights that many serve, and not OpenAI
    (re.compile(r"claude-"), "claude"),
    (re.compile(r"gemini-"), "gemini"),
    (re.compile(r"grok-"), "grok"),
)
"""How the names of models begin that one provider alone is known for."""


def quick(
    models: Sequence[str] = (), backend: str = "", base_url: str = "", system_message: str = ""
) -> dict[str, Any]:
    """The configuration of a team with one agent for each of `models`, as `massgen.config.loading.parse` takes it.

    Raises `UsageError` where it is not clear which provider is meant."""
    if not (models or backend or base_url):
        raise UsageError(
            "--system-message is for a team without a file, and no model is named",
            fix="Add --model NAME; for the embedded model: --backend local",
        )
    own = {"system_message": system_message} if system_message else {}
    return {"agents": [{"backend": _backend(model, backend, base_url), **own} for model in models or [""]]}


def _backend(model: str, backend: str, base_url: str) -> dict[str, str]:
    # An address alone is any server's: no provider's key is sent there, and a name may hold slashes as it likes.
    kind, name = (backend or "chatcompletion", model) if backend or base_url else _meant(model)
    settings = {"type": kind, "model": name, "base_url": base_url}
    return {key: value for key, value in settings.items() if value}


def _meant(model: str) -> tuple[str, str]:
    """The provider's type and its name for `model`: `TYPE/NAME`, a family's name, or one of the embedded catalogue."""
    kind, _, name = model.partition("/")
    if name and kind in TYPES:
        return kind, name
    if any(entry.name == model for entry in catalogue()):
        return "local", model
    for family, provider in _FAMILIES:
        if family.match(model):
            return provider, model
    raise UsageError(
        f"the name {model[:80]!r} does not say who serves this model",
        fix=f"Add --backend TYPE, or write it as TYPE/{model[:80]}. Types: {', '.join(TYPES)}",
    )
