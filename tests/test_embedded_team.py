"""A team on the real embedded model, from the command: no key, no server, no configuration."""

from pathlib import Path

import pytest

from massgen.errors import Exit
from tests.command import COLD, left_running, massgen, started
from tests.test_command import facts

pytestmark = [pytest.mark.local_model, pytest.mark.timeout(120)]
QUESTION = "What is the capital of France?"


async def test_a_team_of_three_answers_without_a_key_or_a_configuration(model: Path, tmp_path: Path) -> None:
    ran = await massgen(QUESTION, env={"MASSGEN_LOCAL_MODEL": str(model)}, seconds=100, program=COLD)
    assert ran.code == Exit.ANSWER
    assert "Paris" in ran.out
    assert "a small embedded model answers" in ran.err
    kinds = [fact["type"] for fact in facts(tmp_path / "home")]
    assert (kinds.count("Answered"), kinds.count("Voted"), kinds[-2:]) == (3, 3, ["Presented", "Stopped"])


async def test_ctrl_c_ends_the_models_process_too(model: Path) -> None:
    env = {"MASSGEN_LOCAL_MODEL": str(model)}
    async with started("--config", "@examples/quickstart", "Tell a very long story.", env=env) as process:
        assert process.stderr
        await process.stderr.readuntil(b"asked ada, bob, cy")
        process.send_signal(2)
        assert await process.wait() == Exit.INTERRUPTED
    assert left_running(process.pid) == []


@pytest.mark.parametrize(
    ("content", "told"), [(None, "no-such.gguf"), (b"", "GGUF"), (b"GGUF" + bytes(5000), "cannot be loaded")]
)
async def test_a_model_file_that_is_none_is_told_before_anything_is_asked(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    file = tmp_path / "no-such.gguf"
    if content is not None:
        file.write_bytes(content)
    ran = await massgen(QUESTION, env={"MASSGEN_LOCAL_MODEL": str(file)}, seconds=60)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert told in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "home" / "data").exists()


async def test_a_pulled_model_is_found_and_its_path_is_printed(model: Path) -> None:
    env = {"MASSGEN_HOME": str(model.parent.parent.parent)}
    ran = await massgen("models", "pull", "smollm2-135m", env=env)
    assert Path(ran.out.strip()).is_file()
    assert (await massgen("models", "path", "smollm2-135m", env=env)).out == ran.out
    assert "smollm2-135m" in (await massgen("models", "list", env=env)).out
