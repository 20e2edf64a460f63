import os
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from massgen.allowances import NUMBERS, Allowances, Price, Seat, limited, price, seat, shipped, switched
from massgen.backends.providers import PROVIDERS
from massgen.config import BackendConfig
from massgen.config.limits import RateLimit, RateLimits
from massgen.config.loading import Loaded, parse
from massgen.discovery import price_list
from massgen.errors import ConfigError
from massgen.limiter.quotas import Limits, Profile


def limits(table: RateLimits, provider: str, model: str) -> Limits:
    profile = Allowances(table)(provider, model)
    assert profile
    return profile.limits


def loaded(*agents: dict[str, Any], **others: Any) -> Loaded:
    team = [{"backend": {"type": "gemini", "model": "gemini-2.5-flash"}, **agent} for agent in agents or ({},)]
    return parse({"agents": team, **others}, {})


# --- massgen's own table ---------------------------------------------------------------------------------------------

DEFAULTS = Allowances()


@pytest.mark.parametrize(
    ("model", "rpm", "tpm", "rpd", "cooldown"),
    [
        ("gemini-2.5-flash", 9, 249_999, 249, 3),
        ("gemini-flash-latest", 9, 249_999, 249, 3),
        ("gemini-2.5-flash-lite", 14, 249_999, 999, 3),
        ("gemini-2.5-flash-lite-preview-09-2025", 14, 249_999, 999, 3),
        ("gemini-flash-lite-latest", 14, 249_999, 999, 3),
        ("gemini-2.5-pro", 2, 124_999, 49, 10),
        ("gemini-pro-latest", 2, 124_999, 49, 10),
    ],
)
def test_geminis_free_tier_is_kept_to_and_flash_lite_is_not_flash(
    model: str, rpm: int, tpm: int, rpd: int, cooldown: float
):
    profile = DEFAULTS("gemini", model)
    assert profile
    own = Limits(rpm=rpm, tpm=tpm, rpd=rpd, counts="input", day_zone="America/Los_Angeles")
    assert (profile.limits, profile.cooldown, profile.pacing) == (own, cooldown, False)


@pytest.mark.parametrize(
    ("provider", "model", "paced"),
    [("openai", "gpt-6-luna", True), ("claude", "claude-haiku-5-5", True), ("grok", "grok-4.3", True),
     ("grok", "grok-4.6", True), ("azure_openai", "mine", True), ("groq", "openai/gpt-oss-120b", False),
     ("openrouter", "deepseek/some:free", False)],
)  # fmt: skip
def test_other_providers_have_a_limit_of_requests(provider: str, model: str, paced: bool):
    profile = DEFAULTS(provider, model)
    assert profile
    assert profile.limits.rpm
    assert (profile.pacing, profile.dialect) == (paced, provider)


@pytest.mark.parametrize(
    ("provider", "model"), [("zai", "glm-5.3-flash"), ("chatcompletion", "m"), ("openrouter", "m")]
)
def test_of_any_other_provider_no_number_is_known_but_replies_are_heeded(provider: str, model: str):
    assert DEFAULTS(provider, model) == Profile(dialect=provider)


@pytest.mark.parametrize("provider", ["local", "ollama", "lmstudio", "vllm", "sglang"])
def test_ones_own_servers_have_no_limits_unless_one_says_so(provider: str):
    assert DEFAULTS(provider, "m") is None
    assert Allowances({"default": {"default": RateLimit(rpm=1)}})(provider, "m") is None
    assert limits({provider: {"default": RateLimit(concurrency=1)}}, provider, "m").concurrency == 1


def test_every_number_of_the_table_has_its_source_and_its_day():
    for provider, models in shipped().items():
        for model, entry in models.items():
            if any(getattr(entry, name) is not None for name in NUMBERS):
                assert urlsplit(entry.source).scheme == "https", (provider, model)
                assert "2025-01" <= entry.checked <= date.today().isoformat(), (provider, model)
    assert {"gemini", "openai", "claude", "grok", "groq", "azure_openai", "default"} <= shipped().keys()


# --- what goes before what -------------------------------------------------------------------------------------------


def test_the_exact_name_goes_before_the_longest_pattern_and_that_before_default():
    table = {
        "zai": {
            "glm-*": RateLimit(rpm=1),
            "glm-5.*-flash": RateLimit(rpm=2),
            "glm-5.3-flash": RateLimit(rpm=3),
            "default": RateLimit(rpm=4),
        }
    }
    found = [
        limits(table, "zai", model).rpm for model in ("glm-5.3-flash", "glm-5.4-flash", "glm-6", "other", "default")
    ]
    assert found == [3, 2, 1, 4, 4]


def test_a_pattern_in_brackets_is_its_own_exact_name_too():
    assert limits({}, "grok", "grok-4.[567]*") == limits({}, "grok", "grok-4.7") != limits({}, "grok", "grok-4.3")


def test_the_users_values_go_before_massgens_each_for_itself():
    table = {"gemini": {"default": RateLimit(rpm=1000, rpd=None)}}
    profile = Allowances(table, where="team.yaml")("gemini", "gemini-2.5-flash")
    assert profile == Profile(
        limits=Limits(rpm=1000, tpm=249_999, counts="input", day_zone="America/Los_Angeles"),
        source="team.yaml",
        cooldown=3,
        own=frozenset({"rpm", "rpd"}),
        dialect="gemini",
    )


def test_a_source_that_the_user_gives_is_kept_and_one_that_is_not_concerned_stays():
    own = RateLimit(rpm=5, source="my console", checked="2026-11-20", failed_calls_count=False, per_second=True)
    profile = Allowances({"groq": {"default": own}})("groq", "m")
    assert profile == Profile(
        limits=Limits(rpm=5),
        own=frozenset({"rpm"}),
        source="my console",
        checked="2026-11-20",
        failed_calls_count=False,
        pacing=True,
        dialect="groq",
    )
    slower = Allowances({"groq": {"default": RateLimit(cooldown_seconds=7)}})("groq", "m")
    assert slower
    assert (slower.source, slower.cooldown) == (shipped()["groq"]["default"].source, 7)


def test_what_is_said_of_any_provider_goes_after_what_is_known_of_one():
    table = {"default": {"default": RateLimit(rpm=60), "glm-*": RateLimit(rpm=30)}}
    assert limits(table, "gemini", "gemini-2.5-flash").rpm == 9
    assert limits(table, "zai", "glm-5").rpm == 30
    assert limits(table, "moonshot", "kimi").rpm == 60


def test_zero_is_kept_for_it_means_no_quota():
    assert limits({"gemini": {"gemini-2.5-pro": RateLimit(rpm=0)}}, "gemini", "gemini-2.5-pro").rpm == 0


def test_where_each_part_is_from_is_known():
    found = Allowances({"gemini": {"default": RateLimit(rpm=1)}}, where="team.yaml").find("gemini", "gemini-2.5-flash")
    assert found
    assert [(row.where, row.provider, row.pattern) for row in found.rows] == [
        ("team.yaml", "gemini", "default"),
        ("massgen", "gemini", "gemini-2.5-flash"),
    ]


def test_the_same_question_has_the_same_answer_so_that_stores_see_no_change():
    allowances = Allowances({})
    assert allowances("gemini", "gemini-2.5-flash") is allowances("gemini", "gemini-2.5-flash")


def test_a_model_at_an_address_of_ones_own_is_not_the_providers():
    there = {"type": "openai", "model": "m", "base_url": "http://localhost:1/v1"}
    azure = {"type": "azure_openai", "model": "mine", "base_url": "https://mine.openai.azure.com"}
    allowances = Allowances.of(loaded({"backend": there}, {"backend": azure}))
    assert allowances("openai", "m") == Profile(dialect="openai")
    assert allowances("openai", "other") == DEFAULTS("openai", "other")
    assert allowances("azure_openai", "mine") == DEFAULTS("azure_openai", "mine")
    own = Allowances.of(loaded({"backend": there}, rate_limits={"openai": {"default": {"rpm": 3}}}))
    assert own("openai", "m") == Profile(
        limits=Limits(rpm=3), source="the configuration", own=frozenset({"rpm"}), dialect="openai"
    )


# --- a file that changes while it is used ----------------------------------------------------------------------------


class Watched:
    """A file of limits in use; `rpm` asks as a call does."""

    def __init__(self, folder: Path, text: str) -> None:
        self.path, self.told, self._age = folder / "limits.yaml", list[str](), 0
        self.write(text)
        self.allowances = Allowances(self.path, where=str(self.path), tell=self.told.append)

    def write(self, text: str) -> None:
        self.path.write_text(text)
        self._age += 1
        os.utime(self.path, ns=(self._age, self._age))

    @property
    def rpm(self) -> float | None:
        profile = self.allowances("groq", "m")
        return profile.limits.rpm if profile else None


def test_a_change_applies_at_the_next_call_and_is_told(tmp_path: Path):
    watched = Watched(tmp_path, "groq: {default: {rpm: 5}}")
    assert (watched.rpm, watched.rpm, watched.told) == (5, 5, [])
    watched.write("groq: {default: {rpm: 6}}")
    assert (watched.rpm, watched.rpm) == (6, 6)
    assert watched.told == [f"{watched.path}: changed; its rate limits apply from now on"]


def test_a_file_that_breaks_leaves_the_limits_as_they_were_and_is_told_once(tmp_path: Path):
    watched = Watched(tmp_path, "groq: {default: {rpm: 5}}")
    watched.write("groq:\n  default: {rpm: many}\n")
    assert (watched.rpm, watched.rpm) == (5, 5)
    assert watched.told == [
        f"{watched.path}:2:13 groq.default.rpm: 'many': input should be a valid number\n  The rate limits stay as they were."
    ]
    watched.write("groq: {default: {rpm: 7}}")
    assert (watched.rpm, len(watched.told)) == (7, 2)


def test_a_file_that_vanishes_leaves_them_too_until_it_is_back(tmp_path: Path):
    watched = Watched(tmp_path, "groq: {default: {rpm: 5}}")
    watched.path.unlink()
    assert (watched.rpm, watched.rpm) == (5, 5)
    assert watched.told == [
        f"{watched.path}: cannot be read: No such file or directory\n  The rate limits stay as they were."
    ]
    watched.write("groq: {default: {rpm: 8}}")
    assert (watched.rpm, len(watched.told)) == (8, 2)


def test_a_file_that_is_broken_from_the_first_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="No such file"):
        Allowances(tmp_path / "none.yaml")


def test_a_configurations_file_is_the_one_that_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("gemini: {default: {rpm: 33}}")
    allowance = Allowances.of(loaded(rate_limits="mine.yaml")).find("gemini", "gemini-2.5-flash")
    assert allowance
    assert (allowance.profile.limits.rpm, allowance.rows[0].where) == (33, "mine.yaml")


# --- whose quota it is -----------------------------------------------------------------------------------------------


def at(kind: str, model: str = "m", env: dict[str, str] | None = None, **others: Any) -> Seat:
    return seat(BackendConfig.model_validate({"type": kind, "model": model, **others}), env or {})


def test_who_has_the_same_key_shares_a_quota_and_the_key_is_not_told():
    env = {"GEMINI_API_KEY": "secret-key"}
    by_variable, by_config = at("gemini", env=env), at("gemini", api_key=" secret-key ")
    assert by_variable == by_config != at("gemini", api_key="another")
    assert by_variable == at("litellm", "gemini/m", env)
    assert by_variable.key == f"gemini/m#{by_variable.scope}"
    assert "secret" not in by_variable.key
    assert len(by_variable.scope) == 16


def test_without_a_key_and_an_address_the_quota_has_no_scope():
    assert at("local", "") == Seat("local", "")
    assert at("local", "").key == "local/"


def test_an_address_of_ones_own_is_another_quota():
    assert at("openai", base_url="http://a/v1") != at("openai", base_url="http://b/v1") != at("openai")
    assert at("azure_openai", env={"AZURE_OPENAI_ENDPOINT": "https://a"}) == at("azure_openai", base_url="https://a")


def test_litellms_names_are_those_of_the_provider_where_massgen_has_it():
    assert at("litellm", "anthropic/claude-x") == Seat("claude", "claude-x")
    assert at("litellm", "bedrock/claude-x") == Seat("litellm", "bedrock/claude-x")
    assert at("litellm", "m") == Seat("litellm", "m")
    named = at("litellm", "mistral/large", {"MISTRAL_API_KEY": "k"})
    assert (named.model, bool(named.scope)) == ("mistral/large", True)


# --- switches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("team", "agent", "on", "why"),
    [
        (None, None, True, "limits are known"),
        (False, None, False, "`enable_rate_limit`"),
        (True, None, True, "`enable_rate_limit`"),
        (True, False, False, "the agent's `enable_rate_limit`"),
        (False, True, True, "the agent's `enable_rate_limit`"),
    ],
)
def test_the_agents_switch_beats_the_teams_and_that_what_is_known(
    team: bool | None, agent: bool | None, on: bool, why: str
):
    config = loaded({"enable_rate_limit": agent}, enable_rate_limit=team).config
    allowance = DEFAULTS.find("gemini", "gemini-2.5-flash")
    assert limited(config, config.agents[0], allowance) == (on, why)


def test_where_nothing_is_known_there_is_nothing_to_keep_to():
    config = loaded({"enable_rate_limit": True}).config
    assert limited(config, config.agents[0], None) == (False, "no limits are known")
    assert limited(loaded().config, loaded().config.agents[0], DEFAULTS.find("zai", "m")) == (
        True,
        "replies may tell limits",
    )


@pytest.mark.parametrize("on", [True, False])
def test_the_command_line_beats_every_switch(on: bool):
    told = switched(loaded({"enable_rate_limit": not on}, {}, enable_rate_limit=not on), on)
    allowance = DEFAULTS.find("gemini", "gemini-2.5-flash")
    assert [limited(told.config, agent, allowance)[0] for agent in told.config.agents] == [on, on]
    assert told.source["enable_rate_limit"] == on
    assert all("enable_rate_limit" not in agent for agent in told.source["agents"])
    assert parse(told.source, {}).config == told.config


# --- prices ----------------------------------------------------------------------------------------------------------


def test_a_call_costs_what_the_price_list_says():
    listed = {each.name: each for each in price_list(PROVIDERS["gemini"], date.min)}["gemini-flash-latest"]
    assert listed.input_price
    assert listed.output_price
    assert price("gemini", "gemini-flash-latest") == Price(listed.input_price / 1e6, listed.output_price / 1e6)
    assert Price(3e-7, 2.5e-6).of(1_000_000, 100_000) == pytest.approx(0.55)


@pytest.mark.parametrize(("provider", "model"), [("gemini", "no-such-model"), ("local", ""), ("acme", "m")])
def test_a_model_that_the_list_has_not_has_no_price(provider: str, model: str):
    assert price(provider, model) is None


def test_every_provider_of_the_table_is_one():
    assert shipped().keys() - {"default"} <= {str(kind) for kind in PROVIDERS}
