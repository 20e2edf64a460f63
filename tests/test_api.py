"""`massgen` as a package: run, arun, Result."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

import massgen
from massgen.app import check_question, resolve
from massgen.errors import ConfigError, Exit, LogError, UsageError
from massgen.log import read
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


def test_the_package_has_few_public_names() -> None:
    assert massgen.__all__ == ["Result", "arun", "run"]
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        massgen.nope  # noqa: B018
