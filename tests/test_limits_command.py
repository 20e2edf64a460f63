import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from massgen import paths
from massgen.allowances import Allowances, seat, shipped
from massgen.cli import command
from massgen.config import BackendConfig
from massgen.errors import ConfigError, MassgenError, UsageError
from massgen.limiter import Limiter
from massgen.limiter.quotas import Weights
from massgen.limiter.stores.sqlite import Sqlite
from tests.command import massgen, write_config
from tests.providers import Simulator, Team

Output = pytest.CaptureFixture[str]
FLASH = {"type": "gemini", "model": "gemini-2.5-flash", "api_key": "k"}


def limits(*arguments: str) -> None:
    command("limits").main([*arguments], "massgen limits", standalone_mode=False, help_option_names=["-h", "--help"])


def told(capsys: Output, *arguments: str) -> str:
    limits(*arguments)
    return capsys.readouterr().out


def data(capsys: Output, *arguments: str) -> dict[str, Any]:
    return json.loads(told(capsys, *arguments, "--json"))


def team(*backends: dict[str, Any], **sections: Any) -> str:
    """A file of agents `a1`, `a2`, ... with these backends."""
    agents = [{"id": f"a{place}", "backend": backend} for place, backend in enumerate(backends, 1)]
    Path("team.yaml").write_text(yaml.safe_dump({"agents": agents, **sections}, sort_keys=False))
    return "team.yaml"


# --- show ------------------------------------------------------------------------------------------------------------


def test_without_a_file_the_whole_table_is_shown(capsys: Output) -> None:
    entries = told(capsys, "show").removesuffix("\n").split("\n\n")
    assert len(entries) == sum(map(len, shipped().values()))
    assert entries[0] == (
        "gemini gemini-2.5-flash\n  requests a minute: 9\n  input tokens a minute: 249,999\n"
        "  requests a day (from midnight in America/Los_Angeles): 249\n  agents start 3 s apart\n"
        "  from `gemini`, `gemini-2.5-flash` in massgen's own table (as of 2025-11): "
        "https://github.com/musistudio/claude-code-router/issues/969"
    )


def test_the_table_is_for_programs_too(capsys: Output) -> None:
    rows = data(capsys, "show")
    assert {provider: [*models] for provider, models in rows.items()} == {
        provider: [*models] for provider, models in shipped().items()
    }
    pro = rows["gemini"]["gemini-*pro*"]
    assert (pro["rpm"], pro["tpm"], pro["rpd"], pro["otpm"]) == (2, 124_999, 49, None)
    assert pro["checked"] == "2025-11"


def test_of_a_file_each_model_is_shown_once_with_what_applies_and_why(capsys: Output) -> None:
    file = team(
        FLASH,
        {"type": "litellm", "model": "gemini/gemini-2.5-flash", "api_key": "k"},
        {"type": "local"},
        {"type": "zai", "model": "glm-5.3-flash"},
        rate_limits={"gemini": {"default": {"rpm": 100, "rpd": 0}}},
    )
    assert told(capsys, "show", file) == (
        "gemini gemini-2.5-flash\n  requests a minute: 100\n  input tokens a minute: 249,999\n"
        "  requests a day (from midnight in America/Los_Angeles): no quota\n  agents start 3 s apart\n"
        "  from `gemini`, `default` in team.yaml\n"
        "  from `gemini`, `gemini-2.5-flash` in massgen's own table (as of 2025-11): "
        "https://github.com/musistudio/claude-code-router/issues/969\n"
        "  a1: on, limits are known\n  a2: on, limits are known\n\n"
        "local\n  no limits are known\n  a3: off, no limits are known\n\n"
        "zai glm-5.3-flash\n  no numbers are known; what replies say of limits is kept to\n"
        "  from `default`, `default` in massgen's own table\n  a4: on, replies may tell limits\n"
    )


def test_of_a_file_programs_are_told_the_same(capsys: Output) -> None:
    file = team(FLASH, {"type": "local"}, enable_rate_limit=False)
    rows = data(capsys, "show", file)
    flash = rows["gemini"]["gemini-2.5-flash"]
    assert flash["from"] == [{"where": "massgen", "provider": "gemini", "pattern": "gemini-2.5-flash"}]
    assert flash["agents"] == {"a1": {"limited": False, "why": "`enable_rate_limit`"}}
    assert (flash["rpm"], flash["counts"], flash["cooldown_seconds"]) == (9, "input", 3)
    assert (rows["local"][""]["rpm"], rows["local"][""]["from"]) == (None, [])


def test_pacing_and_dollars_are_told_in_words(capsys: Output) -> None:
    own = {"cost": 2.5, "cost_seconds": 600}
    file = team({"type": "openai", "model": "gpt-4.1", "api_key": "k"}, rate_limits={"openai": {"default": own}})
    text = told(capsys, "show", file)
    assert "dollars in 600 s: 2.5\n" in text
    assert "calls go out evenly" in text
    assert "cannot be kept to" not in text


def test_a_limit_in_dollars_of_a_model_without_a_price_is_said_to_be_of_no_use(capsys: Output) -> None:
    file = team({**FLASH, "model": "no-such-model"}, rate_limits={"gemini": {"default": {"cost": 1}}})
    assert "the limit in dollars cannot be kept to: the price list has no price of this model" in told(
        capsys, "show", file
    )


def test_two_accounts_with_one_model_are_two_entries(capsys: Output) -> None:
    names = [*data(capsys, "show", team(FLASH, {**FLASH, "api_key": "other"}))["gemini"]]
    assert names[0] == "gemini-2.5-flash"
    assert names[1].startswith("gemini-2.5-flash#")
    assert "other" not in names[1]


@pytest.mark.parametrize("what", ["show", "status"])
def test_a_file_that_is_no_configuration_is_refused(what: str) -> None:
    with pytest.raises(UsageError, match=r"no-such\.yaml: cannot be read"):
        limits(what, "no-such.yaml")
    text = "agents:\n- backend: {type: local}\nrate_limits:\n  gemini:\n   default:\n    rpm: -1\n"
    Path("team.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"team\.yaml:6:5 rate_limits\.gemini\.default\.rpm: -1: "):
        limits(what, "team.yaml")


def test_a_profile_can_be_chosen(capsys: Output) -> None:
    file = team(FLASH, profiles={"paid": {"rate_limits": {"gemini": {"default": {"rpm": 2000}}}}})
    assert data(capsys, "show", file, "--profile-name", "paid")["gemini"]["gemini-2.5-flash"]["rpm"] == 2000


# --- status ----------------------------------------------------------------------------------------------------------


async def used(*calls: Weights) -> None:
    """As if another process had made these calls."""
    place = seat(BackendConfig.model_validate(FLASH), {})
    limiter = Limiter(Allowances(), store=Sqlite())
    for call in calls:
        async with limiter.slot(place.provider, place.model, estimate=call, scope=place.scope) as slot:
            slot.finish(call)
    await limiter.aclose()


def test_what_other_processes_use_is_shown(capsys: Output) -> None:
    asyncio.run(used(Weights(1000, 10), Weights(234, 10)))
    file = team(FLASH, {"type": "local"})
    assert told(capsys, "status", file) == (
        "gemini gemini-2.5-flash\n  requests a minute: 2 of 9\n  input tokens a minute: 1,234 of 249,999\n"
        "  requests a day (from midnight in America/Los_Angeles): 2 of 249\n"
    )
    assert data(capsys, "status", file) == {
        "gemini": {
            "gemini-2.5-flash": {
                "rpm": {"used": 2, "limit": 9},
                "tpm": {"used": 1234, "limit": 249_999},
                "rpd": {"used": 2, "limit": 249},
            }
        }
    }


def test_another_account_has_used_nothing(capsys: Output) -> None:
    asyncio.run(used(Weights(1000, 10)))
    assert "requests a minute: 0 of 9" in told(capsys, "status", team({**FLASH, "api_key": "other"}))


def test_whoever_looks_changes_nothing(capsys: Output) -> None:
    asyncio.run(used(Weights(1, 1)))
    file = paths.data_dir() / "quotas.db"
    before = file.read_bytes()
    limits("status", team(FLASH))
    assert file.read_bytes() == before
    assert "rpm" not in capsys.readouterr().err


def test_without_a_store_nothing_is_used_and_none_is_made(capsys: Output) -> None:
    assert told(capsys, "status", team(FLASH)) == "gemini gemini-2.5-flash\n  nothing is used by other processes\n"
    assert data(capsys, "status", "team.yaml") == {"gemini": {"gemini-2.5-flash": {}}}
    assert not (paths.data_dir() / "quotas.db").exists()


def test_where_no_limits_are_known_that_is_said(capsys: Output) -> None:
    assert told(capsys, "status") == "No limits are known.\n"
    assert data(capsys, "status") == {}


def test_a_store_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    paths.data_dir().mkdir(parents=True)
    (paths.data_dir() / "quotas.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(MassgenError) as caught:
        limits("status", team(FLASH))
    assert str(caught.value) == (
        f"{paths.data_dir() / 'quotas.db'}: cannot be read: file is not a database\n  Try again; if it stays so, delete it."
    )


# --- the switch ------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("flag", "recorded"), [("--rate-limit", True), ("--no-rate-limit", False)])
async def test_the_switch_of_a_question_is_recorded_with_it(flag: str, recorded: bool, tmp_path: Path) -> None:
    async with Simulator(Team(final="Paris.")) as simulator:
        config = write_config(tmp_path / "team.yaml", simulator.base_url, 1, enable_rate_limit=not recorded)
        ran = await massgen("--config", str(config), flag, "--quiet", "What is the capital of France?")
    assert ran.out == "Paris.\n"
    (log,) = (tmp_path / "home").glob("data/sessions/*/events.jsonl")
    assert json.loads(log.read_text().splitlines()[1])["config"]["enable_rate_limit"] is recorded
