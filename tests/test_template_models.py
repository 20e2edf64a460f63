"""Models are renamed and retired: those that templates and pages name are in litellm's price list, and not on their way out."""

import datetime
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from massgen import examples
from massgen.backends.providers import PROVIDERS

ROOT = Path(__file__).parents[1]
UNLISTED = {"ollama", "lmstudio", "vllm", "sglang", "local", "chatcompletion", "litellm", "openrouter", "azure_openai"}
"""Types whose models are the user's own, or that the list does not have in full."""


@pytest.fixture(scope="module")
def price_list() -> dict[str, Any]:
    spec = find_spec("litellm")
    assert spec
    assert spec.origin
    return json.loads((Path(spec.origin).parent / "model_prices_and_context_window_backup.json").read_bytes())


def named(node: Any) -> list[tuple[str, str]]:
    """Every (type, model) that stands together anywhere in `node`."""
    match node:
        case {"type": str(kind), "model": str(model)}:
            return [(kind, model)]
        case dict():
            return [each for value in node.values() for each in named(value)]
        case list():
            return [each for value in node for each in named(value)]
        case _:
            return []


SOURCES = {name: examples.path(name).read_text() for name in examples.names()} | {
    path.relative_to(ROOT).as_posix(): body
    for path in sorted((ROOT / "handbook").rglob("*.md"))
    for body in ["\n---\n".join(re.findall(r"^```yaml[^\n]*\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE))]
    if body
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_model_that_is_named_is_sold_and_stays_for_a_while(name: str, price_list: dict[str, Any]) -> None:
    soon = (datetime.date.today() + datetime.timedelta(days=30)).isoformat()
    for kind, model in named([*yaml.safe_load_all(SOURCES[name])]):
        if kind in UNLISTED or "$" in model:
            continue
        prefix = PROVIDERS[kind].litellm_prefix
        row = price_list.get(model) or price_list.get(f"{prefix}{model}")
        assert row, f"{kind} has no model {model}"
        assert row.get("deprecation_date", "9999") > soon, model
