from pathlib import Path
from typing import Any

import jsonschema
import pytest

from massgen.config.limits import RateLimit
from massgen.config.loading import load, parse, read_limits
from massgen.config.schema import schema
from massgen.errors import ConfigError

AGENT = {"backend": {"type": "local"}}


def problems(limits: Any) -> list[str]:
    """What is told of a configuration with these `rate_limits`."""
    with pytest.raises(ConfigError) as caught:
        parse({"agents": [AGENT], "rate_limits": limits}, {})
    return [problem.removeprefix("config: rate_limits") for problem in caught.value.problems]


def test_limits_are_read_and_a_value_that_is_left_out_is_none_that_is_set():
    limits = {
        "gemini": {"gemini-2.5-*": {"rpm": 9, "rpd": None, "cost": 0.5}},
        "default": {"default": {"concurrency": 2}},
    }
    read = parse({"agents": [AGENT], "rate_limits": limits}, {}).config.rate_limits
    assert isinstance(read, dict)
    assert read == {
        "gemini": {"gemini-2.5-*": RateLimit(rpm=9, rpd=None, cost=0.5)},
        "default": {"default": RateLimit(concurrency=2)},
    }
    assert read["gemini"]["gemini-2.5-*"].model_fields_set == {"rpm", "rpd", "cost"}


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"rpm": -1}, ".rpm: -1: input should be greater than or equal to 0"),
        ({"rpm": "nine"}, ".rpm: 'nine': input should be a valid number"),
        ({"rpm": True}, ".rpm: True: input should be a valid number"),
        ({"rpm": float("inf")}, ".rpm: inf is not text, a usual number, true, false or null"),
        ({"rpms": 9}, ".rpms: unknown key; did you mean 'rpm'?"),
        ({"qps": 9}, ".qps: unknown key; allowed: rpm, tpm, itpm, otpm, rpd, tpd, concurrency, cost, cost_seconds, "
                     "day_zone, counts, per_second, cooldown_seconds, failed_calls_count, source, checked"),
        ({"cost_seconds": 0}, ".cost_seconds: 0: input should be greater than 0"),
        ({"cooldown_seconds": 601}, ".cooldown_seconds: 601: input should be less than or equal to 600"),
        ({"counts": "output"}, ".counts: 'output' is not allowed; allowed: input, total"),
        ({"day_zone": "Mars/Olympus"}, ".day_zone: no time zone is called 'Mars/Olympus'; e.g. America/Los_Angeles"),
        ({"day_zone": "America"}, ".day_zone: no time zone is called 'America'; e.g. America/Los_Angeles"),
        ({"day_zone": "../etc"}, ".day_zone: no time zone is called '../etc'; e.g. America/Los_Angeles"),
        ({"checked": "May"}, r".checked: 'May': string should match pattern '^(\d{4}-\d{2}(-\d{2})?)?$'"),
        (9, ": 9: input should be a valid dictionary or instance of RateLimit"),
    ],
)  # fmt: skip
def test_a_limit_that_is_none_is_told_with_its_place_and_value(entry: Any, told: str):
    assert problems({"gemini": {"default": entry}}) == [f".gemini.default{told}"]


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"gemni": {}}, ".gemni: no provider is called 'gemni'; did you mean 'gemini'?"),
        ({"gemini": 9}, ".gemini: 9: input should be a valid dictionary"),
        ([], ": a list: input should be a valid dictionary"),
        ("", ": '': input should be a valid dictionary"),
        (9, ": 9: input should be a valid dictionary"),
    ],
)
def test_what_is_no_table_of_limits_is_told(limits: Any, told: str):
    assert problems(limits) == [told]


def test_a_provider_like_none_is_told_with_all():
    (told,) = problems({"acme": {}})
    assert told.startswith(".acme: no provider is called 'acme'; there are: local, chatcompletion, openai, ")
    assert told.endswith(", litellm, default")


@pytest.mark.parametrize("value", [None, True, False])
def test_the_switch_is_for_the_team_and_for_each_agent(value: bool | None):
    config = parse({"agents": [{**AGENT, "enable_rate_limit": value}], "enable_rate_limit": value}, {}).config
    assert (config.enable_rate_limit, config.agents[0].enable_rate_limit) == (value, value)


# --- a file of limits ------------------------------------------------------------------------------------------------


def written(folder: Path, **files: str) -> Path:
    """Files by their names without ending, and the path of `team`."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / "team.yaml"


def told(path: Path, profile: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, {}, profile=profile)
    return [problem.replace(f"{path.parent}/", "") for problem in caught.value.problems]


TEAM = "agents: [{backend: {type: local}}]\n"


def test_a_file_is_sought_from_where_it_is_named(tmp_path: Path):
    (tmp_path / "base").mkdir()
    written(tmp_path / "base", team=f"{TEAM}rate_limits: limits.yaml\n", limits="groq: {default: {rpm: 5}}\n")
    path = written(tmp_path, team="extends: base/team.yaml\n")
    loaded = load(path, {})
    assert loaded.limits_file == tmp_path / "base" / "limits.yaml"
    assert read_limits(tmp_path / "base" / "limits.yaml") == {"groq": {"default": RateLimit(rpm=5)}}
    assert loaded.source["rate_limits"] == loaded.config.rate_limits == "limits.yaml"


def test_without_a_file_there_is_none(tmp_path: Path):
    assert load(written(tmp_path, team=TEAM), {}).limits_file is None


def test_the_path_of_a_file_may_be_in_a_variable(tmp_path: Path):
    path = written(tmp_path, team=f"{TEAM}rate_limits: ${{LIMITS}}.yaml\n", mine="")
    assert load(path, {"LIMITS": "mine"}).limits_file == tmp_path / "mine.yaml"
    assert read_limits(tmp_path / "mine.yaml") == {}


def test_all_that_is_wrong_in_a_file_is_told_with_its_lines_whatever_else_is(tmp_path: Path):
    limits = "gemni:\n  default: {rpm: -5}\ngroq:\n  default:\n    rpm: 30\n    rpm: .nan\n    tpm: ${TPM}\n"
    path = written(tmp_path, team=f"{TEAM}rate_limits: limits.yaml\nroles: {{a: b}}\n", limits=limits)
    assert told(path) == [
        "limits.yaml:1:1 gemni: no provider is called 'gemni'; did you mean 'gemini'?",
        "limits.yaml:2:13 gemni.default.rpm: -5: input should be greater than or equal to 0",
        "limits.yaml:6:5 groq.default.rpm: this key is here twice",
        "limits.yaml:7:5 groq.default.tpm: the variable TPM is not set",
    ]


def test_a_profile_that_is_not_chosen_has_its_file_checked_too(tmp_path: Path):
    path = written(
        tmp_path,
        team=f"{TEAM}rate_limits: good.yaml\nprofiles:\n  free: {{rate_limits: bad.yaml}}\n  paid: {{rate_limits: gone.yaml}}\n",
        good="{}",
        bad="groq: {default: {rpn: 1}}",
    )
    assert told(path) == [
        "team.yaml:5:10 profiles.paid.rate_limits: gone.yaml: cannot be read: No such file or directory",
        "bad.yaml:1:18 groq.default.rpn: unknown key; did you mean 'rpm'?",
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("- 1", "limits.yaml:1:1 a list: input should be a valid dictionary"),
        ("just words", "limits.yaml:1:1 'just words': input should be a valid dictionary"),
        ("groq: {}\n---\ngroq: {}\n", "limits.yaml:2:1 not YAML: but found another document"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str, what: str):
    path = written(tmp_path, limits=text).with_name("limits.yaml")
    with pytest.raises(ConfigError) as caught:
        read_limits(path)
    (message,) = caught.value.problems
    assert message.replace(f"{tmp_path}/", "") == what


def test_of_very_many_problems_a_file_tells_a_bounded_number(tmp_path: Path):
    path = written(tmp_path, limits="groq:\n" + "".join(f"  m{n}: {{rpn: 1}}\n" for n in range(900)))
    with pytest.raises(ConfigError) as caught:
        read_limits(path.with_name("limits.yaml"))
    assert len(caught.value.problems) <= 201


@pytest.mark.parametrize(
    ("limits", "fits"),
    [
        ("limits.yaml", True),
        (None, True),
        ({"gemini": {"default": {"rpm": 9, "rpd": None}}}, True),
        ({"gemini": {"default": {"rpm": -9}}}, False),
        ({"gemini": {"default": {"rpmm": 9}}}, False),
        ("", False),
    ],
)
def test_editors_are_told_the_same(limits: Any, fits: bool):
    validator: Any = jsonschema.Draft202012Validator(schema())
    assert validator.is_valid({"agents": [AGENT], "rate_limits": limits}) == fits
