"""`massgen` as a package: run, arun, Result."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

import massgen
from massgen.app import check_question, its_own, resolve, timed
from massgen.config.loading import Loaded
from massgen.errors import ConfigError, Exit, LogError, UsageError
from massgen.events import Asked, Recorded
from massgen.log import read
from massgen.state import State, fold
from tests.providers import Simulator, Team, fault


@pytest.fixture
async def simulator() -> AsyncGenerator[Simulator]:
    async with Simulator(Team(final="Paris.")) as running:
        yield running


def team(base_url: str, **sections: Any) -> dict[str, Any]:
    backend = {"type": "chatcompletion", "base_url": base_url}
    return {"agents": [{"id": name, "backend": {**backend, "model": name}} for name in ("ada", "bob")], **sections}


async def test_arun_gives_the_answer_and_what_it_took(simulator: Simulator, tmp_path: Path) -> None:
    result = await massgen.arun("Where?", team(simulator.base_url), session_dir=tmp_path / "sessions")
    assert (result.answer, result.exit_code, result.why) == ("Paris.", Exit.ANSWER, "answered")
    assert result.winner in ("ada", "bob")
    assert (result.calls, result.input_tokens, result.output_tokens, result.cost) == (5, 35, 25, None)
    assert result.session.parent == tmp_path / "sessions"
    assert [(member.id, member.model) for member in result.agents] == [("ada", "ada"), ("bob", "bob")]
    assert result.votes[result.winner] == max(result.votes.values())
    assert sum(result.votes.values()) == 2
    assert 0 < result.seconds < 10
    assert read(result.session / "events.jsonl")[0].fact.question == "Where?"


async def test_agents_that_fail_are_a_result_not_an_error(tmp_path: Path) -> None:
    async with Simulator(lambda _: fault(status=403)) as simulator:
        result = await massgen.arun("Where?", team(simulator.base_url), session_dir=tmp_path)
    assert (result.answer, result.winner, result.exit_code) == ("", "", Exit.NO_ANSWER)
    assert result.failures.keys() == {"ada", "bob"}


def test_run_is_arun_for_code_without_a_loop() -> None:
    with pytest.raises(ConfigError, match="agents"):
        massgen.run("Where?", {"agents": []})


async def test_run_inside_a_loop_says_what_to_use() -> None:
    with pytest.raises(UsageError, match=r"await massgen\.arun"):
        massgen.run("Where?", {"agents": []})


def test_a_configuration_may_be_a_file_a_mapping_a_template_or_already_loaded(tmp_path: Path) -> None:
    loaded = resolve(team("http://localhost:1/v1"))
    assert resolve(loaded) is loaded
    assert resolve("@examples/quickstart").config == resolve(None).config
    with pytest.raises(ConfigError, match="cannot be read"):
        resolve(tmp_path / "none.yaml")


def models(loaded: Loaded) -> list[str]:
    return [agent.backend.model for agent in loaded.config.agents]


def test_a_profile_is_one_of_the_file_the_mapping_or_the_users_own_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev = {"agents": [{"id": name, "backend": {"model": "cheap"}} for name in ("ada", "bob")]}
    given = team("http://localhost:1/v1", profiles={"dev": dev})
    assert models(resolve(given)) == ["ada", "bob"]
    assert models(resolve(given, "dev")) == ["cheap", "cheap"]
    own = tmp_path / "home/config/config.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(json.dumps(given))
    assert models(resolve(own, "dev")) == models(resolve(None, "dev")) == ["cheap", "cheap"]
    monkeypatch.setenv("MASSGEN_PROFILE", "dev")
    assert models(resolve(None)) == ["cheap", "cheap"]
    with pytest.raises(ConfigError, match="dev"):
        resolve(None, "deb")


def test_a_session_goes_on_with_its_own_configuration_or_a_profile_of_its_file(tmp_path: Path) -> None:
    dev = {"agents": [{"id": name, "backend": {"model": "cheap"}} for name in ("ada", "bob")]}
    file = tmp_path / "team.yaml"
    file.write_text(json.dumps(team("http://localhost:1/v1", profiles={"dev": dev})))
    asked = Asked("Why?", (), config=resolve(file).source, template=str(file))
    state = fold([Recorded(1, 0.0, asked)])
    assert models(its_own(state, "here")) == ["ada", "bob"]
    assert models(its_own(state, "here", "dev")) == ["cheap", "cheap"]
    assert its_own(State(), "here").config == resolve(None).config


def test_the_users_own_configuration_is_read_even_where_it_is_broken(tmp_path: Path) -> None:
    own = tmp_path / "home/config/config.yaml"
    own.parent.mkdir(parents=True)
    own.symlink_to(tmp_path / "gone.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        resolve(None)


def test_less_time_holds_for_the_run_and_every_turn_but_not_for_who_goes_on() -> None:
    given = team("http://localhost:1/v1", timeout_settings={"turn_timeout_seconds": 20})
    for seconds, turn in ((5.0, 5.0), (60.0, 20.0)):
        limited = timed(resolve(given), seconds)
        limits = {"orchestrator_timeout_seconds": seconds, "turn_timeout_seconds": turn}
        assert limited.config.timeout_settings.model_dump() == limits
        assert limited.source["timeout_settings"] == {"turn_timeout_seconds": 20}


@pytest.mark.parametrize("question", ["", " \n", "a\0b", "\udcff?", "x" * 1_000_001])
def test_what_cannot_be_a_question_is_refused(question: str) -> None:
    with pytest.raises(UsageError, match="the question"):
        check_question(question)


async def test_a_session_folder_that_cannot_be_made_is_told(simulator: Simulator, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="cannot be made: Not a directory"):
        await massgen.arun("Where?", team(simulator.base_url), session_dir=tmp_path / "file" / "sessions")


async def test_a_sink_that_breaks_is_noted_and_the_run_goes_on(simulator: Simulator, tmp_path: Path) -> None:
    class Broken:
        def fact(self, recorded: object) -> None:
            raise RuntimeError("no more")

        def delta(self, agent: str, chunk: object) -> None:
            raise AssertionError

    result = await massgen.arun("Where?", team(simulator.base_url), session_dir=tmp_path, sinks=[Broken()])
    assert result.answer == "Paris."
    assert result.notes == ("Broken was dropped: RuntimeError: no more",)


async def test_what_follows_a_run_may_be_made_for_its_session(simulator: Simulator, tmp_path: Path) -> None:
    seen: list[Any] = []

    class Follower:
        def fact(self, recorded: Recorded) -> None:
            seen.append(recorded.fact)

        def delta(self, agent: str, chunk: object) -> None:
            pass

    def followers(session: Path) -> list[Follower]:
        seen.append(session)
        return [Follower()]

    result = await massgen.arun("Where?", team(simulator.base_url), session_dir=tmp_path, sinks=followers)
    assert seen[0] == result.session
    assert seen[1:] == [recorded.fact for recorded in read(result.session / "events.jsonl")]


async def test_a_context_file_that_is_missing_costs_nothing(simulator: Simulator, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        await massgen.arun("Where?", team(simulator.base_url), context=["none.txt"], session_dir=tmp_path)
    assert simulator.calls == []
    assert [*tmp_path.iterdir()] == []


def test_the_package_has_few_public_names() -> None:
    assert massgen.__all__ == ["Result", "arun", "run"]
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        massgen.nope  # noqa: B018
