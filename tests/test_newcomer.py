"""A newcomer's first minutes, on a real terminal: from `massgen init` to an answer, with a keyboard that waits for prompts."""

import asyncio
import fcntl
import os
import stat
import termios
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from massgen.config.loading import load
from massgen.errors import Exit
from tests.command import SECONDS, started
from tests.providers import Simulator, Team
from tests.test_terminal import Window, window

pytestmark = pytest.mark.timeout(60)
NO_SERVERS = dict.fromkeys(("OLLAMA_API_BASE", "LM_STUDIO_API_BASE", "HOSTED_VLLM_API_BASE"), "http://127.0.0.1:9")
"""Whatever runs on this machine is not found."""


@dataclass
class Keyboard:
    """Types into a window, and knows what has come on its screen since it last looked."""

    shown: Window
    program: asyncio.subprocess.Process
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    looked: int = 0

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.shown.fd)
        loop.add_reader(self.shown.fd, self._read)

    def _read(self) -> None:
        self.shown.read()
        self.changed.set()

    @property
    def _new(self) -> str:
        return self.shown.raw[self.looked :].decode(errors="replace").replace("\a", "")

    async def sees(self, words: str) -> str:
        """Wait until `words` come, and return all that came with them."""
        async with asyncio.timeout(SECONDS):
            while words not in (new := self._new):
                assert not self.shown.closed.is_set(), f"{words!r} is not in {new!r}"
                self.changed.clear()
                await self.changed.wait()
        self.looked = len(self.shown.raw)
        return new

    def types(self, keys: str) -> None:
        os.write(self.shown.fd, keys.encode())

    async def interrupts(self) -> None:
        """Ctrl-C; once more if nobody hears it: CPython's `input` misses a signal in the moment before it waits."""
        while not self.shown.closed.is_set():
            self.types("\x03")
            with suppress(TimeoutError):
                await asyncio.wait_for(self.shown.closed.wait(), 2)

    async def ends(self) -> tuple[int, str]:
        """The exit code of the program, and what came last."""
        async with asyncio.timeout(SECONDS):
            await self.shown.closed.wait()
            return await self.program.wait(), self._new


@asynccontextmanager
async def keyboard(*arguments: str, env: dict[str, str] | None = None, **how: object) -> AsyncGenerator[Keyboard]:
    """A person at a terminal in which the command has been called."""
    async with window() as (shown, theirs):
        ends = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        session = {"start_new_session": True, "preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)}
        environment = {"TERM": "xterm-256color", **NO_SERVERS, **(env or {})}
        async with started(*arguments, env=environment, **ends, **session, **how) as program:
            os.close(theirs)
            yield Keyboard(shown, program)


def found_at(text: str, title: str) -> str:
    """The number under which `title` is offered."""
    (line,) = [line for line in text.splitlines() if title in line]
    return line.split()[0]


async def test_from_the_first_command_to_the_first_answer(tmp_path: Path) -> None:
    async with Simulator(Team(final="It is Paris."), models=("small", "large")) as simulator:
        env = {"OLLAMA_API_BASE": simulator.base_url.removesuffix("/v1")}
        async with keyboard("init", env=env) as person:
            text = await person.sees("Think with (a number, or any provider's type) [1]:")
            assert "massgen writes a configuration: a team of agents" in text
            assert f"Ollama - at {simulator.base_url}, 2 models" in text
            person.types(f"{found_at(text, 'Ollama')}\r")
            assert "Ollama lists: small, large" in await person.sees("Model [small]:")
            person.types("large\r")
            await person.sees("How many agents, 1 to 5 [3]:")
            person.types("\r")
            written = tmp_path / "home" / "config" / "config.yaml"
            await person.sees("config.yaml]:")
            assert not written.exists()
            person.types("\r")
            await person.sees("First question (-: none) [What is the capital of France?]:")
            person.types("\r")
            await person.sees("massgen: wrote ")
            code, last = await person.ends()
        assert code == Exit.ANSWER
        assert last.rstrip().endswith("It is Paris.")
        assert "ada" in last
        assert [call.call.model for call in simulator.calls if call.call] == ["large"] * 7

        again = load(written, env).config
        assert [*again.named_agents] == ["ada", "bob", "cy"]
        assert {(agent.backend.type, agent.backend.model) for agent in again.agents} == {("ollama", "large")}

        async with keyboard("What is the capital of France?", env=env) as person:
            code, last = await person.ends()
        assert (code, last.rstrip().splitlines()[-1].strip()) == (Exit.ANSWER, "It is Paris.")


async def test_who_has_a_key_but_no_server_is_offered_its_provider_and_can_ask_nothing_yet(tmp_path: Path) -> None:
    async with keyboard("init", env={"OPENAI_API_KEY": "sk-very-secret-0123456789"}) as person:
        text = await person.sees("[1]:")
        assert found_at(text, "OpenAI - the variable OPENAI_API_KEY is set") == "1"
        for reply in ("\r", "\r", "1\r", "team.yaml\r"):
            person.types(reply)
            await person.sees("]:")
        person.types("-\r")
        code, last = await person.ends()
    assert code == Exit.ANSWER
    assert 'then ask: massgen --config team.yaml "What is the capital of France?"' in last
    assert "api_key: ${OPENAI_API_KEY}" in (tmp_path / "team.yaml").read_text()
    assert "sk-very-secret" not in (tmp_path / "team.yaml").read_text() + person.shown.raw.decode()
    assert stat.S_ISREG((tmp_path / "team.yaml").stat().st_mode)


async def test_replies_that_cannot_be_are_asked_for_again(tmp_path: Path) -> None:
    async with keyboard("init", "--output", "team.yaml") as person:
        await person.sees("Think with")
        person.types("opnai\r")
        assert "did you mean openai?" in await person.sees("Think with")
        person.types("poe\r")
        await person.sees("Model:")
        person.types(" \r")
        assert "a backend of type poe needs a model" in await person.sees("Model:")
        person.types("Some-Bot\r")
        await person.sees("[3]:")
        person.types("6\r")
        assert "'6' is not a number from 1 to 5" in await person.sees("[3]:")
        person.types("2\r")
        code, last = await person.ends()
    assert code == Exit.ANSWER
    assert "set POE_API_KEY before you ask, in the environment or in a file .env" in last
    assert "https://poe.com/api_key" in last.replace("\r\n", "")
    assert (tmp_path / "team.yaml").exists()


async def test_any_server_is_reached_by_its_address(tmp_path: Path) -> None:
    async with Simulator(Team(final="It is Paris.")) as simulator:
        async with keyboard("init", "--backend", "chatcompletion", "--output", "team.yaml") as person:
            await person.sees("Address (http://HOST:PORT/v1):")
            person.types(f"{simulator.base_url}\r")
            for prompt, reply in (("Model:", "simulated"), ("[3]:", "1"), ("First question", "What is it?")):
                await person.sees(prompt)
                person.types(f"{reply}\r")
            code, last = await person.ends()
        assert (code, len(simulator.calls)) == (Exit.ANSWER, 1)
    assert last.rstrip().endswith("It is Paris.")


@pytest.mark.parametrize("prompts", range(1, 6))
async def test_ctrl_c_at_any_prompt_ends_it_and_leaves_nothing(tmp_path: Path, prompts: int) -> None:
    async with keyboard("init", env={"OPENAI_API_KEY": "sk-0123456789"}) as person:
        for _ in range(prompts - 1):
            await person.sees("]:")
            person.types("\r")
        await person.sees("]:")
        await person.interrupts()
        code, last = await person.ends()
    assert code == Exit.INTERRUPTED
    assert "massgen: interrupted" in last
    assert "Traceback" not in last
    assert [*tmp_path.rglob("*.yaml")] == []


async def test_the_end_of_input_is_told_with_the_flags_that_need_none(tmp_path: Path) -> None:
    async with keyboard("init") as person:
        await person.sees("Think with")
        person.types("\x04")
        code, last = await person.ends()
    assert code == Exit.USAGE
    assert "the input ended, and nothing is written" in last
    assert "--backend" in last
    assert [*tmp_path.rglob("*.yaml")] == []


async def test_what_is_there_is_replaced_only_after_a_yes(tmp_path: Path) -> None:
    (tmp_path / "team.yaml").write_text("mine")
    options = ("init", "--backend", "openai", "--model", "m", "--agents", "1", "--output", "team.yaml")
    async with keyboard(*options) as person:
        await person.sees("team.yaml is there already. Replace it? [y/N]:")
        person.types("n\r")
        await person.sees("Write to:")
        person.types("other.yaml\r")
        assert (await person.ends())[0] == Exit.ANSWER
    assert (tmp_path / "team.yaml").read_text() == "mine"
    assert (tmp_path / "other.yaml").exists()

    async with keyboard(*options) as person:
        await person.sees("[y/N]:")
        person.types("y\r")
        assert (await person.ends())[0] == Exit.ANSWER
    assert "model: m\n" in (tmp_path / "team.yaml").read_text()
