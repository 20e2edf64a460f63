"""The table of providers, held against the configuration's names and against litellm."""

import json
import os
import subprocess
import sys
from typing import get_args

import pytest

from massgen.backends.chat_completions import ChatCompletions, HttpPool
from massgen.backends.providers import (
    PROVIDERS,
    KeyMissing,
    Provider,
    key_name,
    litellm_row,
    resolve_base_url,
    resolve_key,
)
from massgen.config import BackendType
from massgen.errors import ConfigError

DIRECT = [row for row in PROVIDERS.values() if row.wire == "chat_completions"]
SERVICES = [row for row in PROVIDERS.values() if row.key_variables]


def test_every_type_of_the_configuration_has_its_row() -> None:
    assert tuple(PROVIDERS) == tuple(row.type for row in PROVIDERS.values())
    assert set(PROVIDERS) == set(get_args(BackendType))


@pytest.mark.parametrize("row", PROVIDERS.values(), ids=lambda row: row.type)
def test_every_row_says_what_its_wire_needs(row: Provider) -> None:
    assert row.title
    assert bool(row.key_variables) == bool(row.key_page)
    if row.wire == "chat_completions":
        assert bool(row.base_url) != row.needs_base_url
    if row.wire == "gateway":
        assert row.litellm_prefix.endswith("/") or row.type == "litellm"


@pytest.mark.parametrize("row", [row for row in DIRECT if row.base_url], ids=lambda row: row.type)
async def test_every_address_can_be_called_and_keys_travel_only_over_tls(row: Provider) -> None:
    async with HttpPool() as pool:
        ChatCompletions(pool, base_url=row.base_url)
    assert row.base_url.startswith("https://" if row.key_variables else "http://localhost:")


@pytest.mark.timeout(60)
def test_addresses_and_keys_are_those_of_litellm() -> None:
    rows = [row for row in SERVICES if row.wire == "chat_completions" and row.type not in ("openai", "openrouter")]
    asked = [(f"{row.litellm_prefix}some-model", row.key_variables[0]) for row in rows]
    code = (
        "import json, os, sys, litellm\n"
        "def ask(model, variable):\n"
        "    os.environ[variable] = 'key-of-' + variable\n"
        "    return litellm.get_llm_provider(model)[2:]\n"
        "print(json.dumps([ask(*each) for each in json.loads(sys.argv[1])]))"
    )
    clean = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_API_BASE"))}
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(asked)],
        env={**clean, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"},
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(done.stdout.splitlines()[-1])
    assert answers == [[f"key-of-{row.key_variables[0]}", row.base_url] for row in rows]


@pytest.mark.parametrize("row", SERVICES, ids=lambda row: row.type)
def test_a_missing_key_is_one_problem_that_names_the_variable_and_the_page(row: Provider) -> None:
    with pytest.raises(KeyMissing) as raised:
        resolve_key(row, None, {})
    assert raised.value.problems == (str(raised.value),)
    assert all(name in str(raised.value) for name in (row.type, *row.key_variables, row.key_page))


def test_a_key_given_goes_before_the_variables_and_those_in_their_order() -> None:
    gemini = PROVIDERS["gemini"]
    assert resolve_key(gemini, "mine", {"GEMINI_API_KEY": "a"}) == "mine"
    assert resolve_key(gemini, None, {"GOOGLE_API_KEY": "b", "GEMINI_API_KEY": "a\n"}) == "a"
    assert resolve_key(gemini, " ", {"GOOGLE_API_KEY": "b", "GEMINI_API_KEY": ""}) == "b"


def test_the_variable_that_a_key_came_from_is_known() -> None:
    gemini = PROVIDERS["gemini"]
    assert key_name(gemini, "mine", {"GEMINI_API_KEY": "a"}) == ""
    assert key_name(gemini, None, {"GOOGLE_API_KEY": "b", "GEMINI_API_KEY": " "}) == "GOOGLE_API_KEY"
    assert key_name(PROVIDERS["ollama"], None, {}) == ""


def test_the_users_own_servers_need_no_key_and_take_one() -> None:
    for name in ("local", "ollama", "vllm", "sglang", "lmstudio", "chatcompletion", "litellm"):
        assert resolve_key(PROVIDERS[name], None, {"OPENAI_API_KEY": "not for you"}) is None
        assert resolve_key(PROVIDERS[name], "mine", {}) == "mine"


@pytest.mark.parametrize(
    ("name", "given", "environ", "place"),
    [
        ("openai", "", {}, "https://api.openai.com/v1"),
        ("openai", "http://x/v1", {}, "http://x/v1"),
        ("claude", "", {}, ""),
        ("ollama", "", {"OLLAMA_API_BASE": "http://box:11434/"}, "http://box:11434/v1"),
        ("ollama", "http://x", {"OLLAMA_API_BASE": "http://box:11434"}, "http://x"),
        ("lmstudio", "", {"LM_STUDIO_API_BASE": "http://box:1234/v1"}, "http://box:1234/v1"),
        ("vllm", "", {"HOSTED_VLLM_API_BASE": ""}, "http://localhost:8000/v1"),
        ("azure_openai", "", {"AZURE_OPENAI_ENDPOINT": "https://me.azure.com"}, "https://me.azure.com"),
    ],
)
def test_an_address_is_given_or_in_a_variable_or_usual(
    name: BackendType, given: str, environ: dict[str, str], place: str
) -> None:
    assert resolve_base_url(PROVIDERS[name], given, environ) == place


def test_an_address_that_nobody_gave_is_a_problem() -> None:
    with pytest.raises(ConfigError, match=r"chatcompletion.*`base_url`$"):
        resolve_base_url(PROVIDERS["chatcompletion"], "", {})
    with pytest.raises(ConfigError, match="AZURE_OPENAI_ENDPOINT"):
        resolve_base_url(PROVIDERS["azure_openai"], "", {})


@pytest.mark.parametrize(
    ("model", "variable"),
    [("mistral/mistral-large", "MISTRAL_API_KEY"), ("github-copilot/gpt", "GITHUB_COPILOT_API_KEY")],
)
def test_litellms_key_is_looked_for_where_the_models_provider_has_it_and_may_be_missing(
    model: str, variable: str
) -> None:
    row = litellm_row(model)
    assert resolve_key(row, None, {variable: "a"}) == "a"
    assert key_name(row, None, {variable: "a"}) == variable
    assert resolve_key(row, None, {"OPENAI_API_KEY": "not for you"}) is None
