"""The real embedded model (SmolLM2 135M, fetched once into $MASSGEN_TEST_MODELS or the user's cache)."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from massgen.acts import Final, NewAnswer, Vote
from massgen.agents import Task, Turn
from massgen.agents.small import SmallAgent
from massgen.backends import Request, Scorer
from massgen.backends.chat_completions import HttpPool
from massgen.backends.local import Local
from massgen.backends.local_server import LocalServer
from massgen.errors import BackendError, LocalModelError
from massgen.events import Fact, Purpose, Said, Spent
from massgen.messages import Chunk, Finish, Reply, TextDelta, Usage, system, user
from massgen.prompts import COMPACT_SYSTEM
from massgen.testing import check_backend
from tests.conftest import SMALLEST
from tests.test_local_server import has_ended

pytestmark = [pytest.mark.local_model, pytest.mark.timeout(120)]

NAME = SMALLEST
STORY = Request([user("Tell me a long story of a fox.")])
FRANCE = Request([system(COMPACT_SYSTEM), user("What is the capital of France?")])
LONG = {"max_tokens": 3000, "extra_body": {"ignore_eos": True}}


@asynccontextmanager
async def serving(model: Path, **settings: Any) -> AsyncIterator[LocalServer]:
    server = LocalServer(model, **settings)
    try:
        yield server
    finally:
        await server.aclose()


@pytest_asyncio.fixture
async def local(model: Path) -> AsyncGenerator[Local]:
    async with serving(model) as server, HttpPool() as pool:
        yield Local(server, pool, NAME, seed=1)


async def ask(local: Local, request: Request) -> tuple[str, list[Chunk]]:
    reply, chunks = Reply(), [chunk async for chunk in local.stream(request)]
    for chunk in chunks:
        reply.add(chunk)
    return reply.message.text, chunks


def with_options(local: Local, **options: Any) -> Local:
    return Local(local.server, local.pool, local.model, local.seed, options)


async def first_chunk(local: Local) -> AsyncGenerator[Chunk]:
    """A long reply of which one chunk has come."""
    chunks = with_options(local, **LONG).stream(STORY)
    async for chunk in chunks:
        if isinstance(chunk, TextDelta):
            break
    return chunks


async def test_it_answers_in_chunks_and_costs_nothing(local: Local) -> None:
    text, chunks = await ask(with_options(local, temperature=0), FRANCE)
    assert "Paris" in text
    usage, finish = chunks[-2:]
    assert isinstance(usage, Usage)
    assert usage.input_tokens > 5
    assert usage.output_tokens > 3
    assert usage.cost == 0
    assert finish == Finish("stop")
    assert len(chunks) > 4


async def test_it_meets_the_contract_of_a_backend(local: Local) -> None:
    assert isinstance(local, Scorer)
    await check_backend(local)


async def test_the_seed_decides_the_reply(local: Local) -> None:
    one, other = (Local(local.server, local.pool, NAME, seed, {"max_tokens": 30}) for seed in (1, 2))
    first, again = await ask(one, STORY), await ask(one, STORY)
    assert first == again
    assert (await ask(other, STORY))[0] != first[0]


async def test_a_reply_is_as_long_as_the_options_say(local: Local) -> None:
    _, chunks = await ask(with_options(local, max_tokens=5, temperature=None), STORY)
    assert chunks[-1] == Finish("length")
    assert isinstance(chunks[-2], Usage)
    assert chunks[-2].output_tokens == 5


async def test_a_schema_is_followed(local: Local) -> None:
    schema = {
        "type": "object",
        "properties": {"reason": {"type": "string", "maxLength": 30}, "agent_id": {"enum": ["agent1", "agent2"]}},
        "required": ["reason", "agent_id"],
        "additionalProperties": False,
    }
    text, _ = await ask(local, Request([user("Which is better?")], schema=schema))
    assert json.loads(text)["agent_id"] in ("agent1", "agent2")


@pytest.mark.parametrize(
    ("question", "right", "wrong"),
    [
        ("What is the capital of France?", "The capital of France is Paris.", "The capital of France is Rome."),
        ("What is the capital of Japan?", "Tokyo", "Madrid"),
        ("What colour is the sky?", "The sky is blue.", "The sky is a kind of potato."),
    ],
)
async def test_the_right_answer_scores_higher(local: Local, question: str, right: str, wrong: str) -> None:
    low, high = await local.score(question, [wrong, right])
    assert low < high < 0


async def test_any_text_can_be_scored(local: Local) -> None:
    texts = ['"quotes" \\ and\nlines\r\n\t', "日本 😀 \ud800", "\x00\x07\x1b\x7f", "root ::= [a-z]*", "long " * 500]
    scores = await local.score('A "question"\n', texts)
    assert all(-50 < score < 0 for score in scores)
    assert await local.score("Why?", [""]) == [float("-inf")]


async def test_a_question_beyond_the_context_is_refused_for_good(local: Local) -> None:
    long = "hello world " * 5000
    with pytest.raises(BackendError, match="exceeds the available context size") as raised:
        await ask(local, Request([user(long)]))
    assert not raised.value.transient
    with pytest.raises(BackendError, match="exceeds the available context size") as raised:
        await local.score(long, ["a"])
    assert not raised.value.transient


async def test_cancelling_a_call_frees_its_slot_at_once(local: Local) -> None:
    chunks = await first_chunk(local)
    await chunks.aclose()
    began = time.monotonic()
    await ask(with_options(local, max_tokens=1), STORY)
    assert time.monotonic() - began < 5  # the whole story would take longer than this test may


async def test_a_process_that_dies_is_restarted_once(local: Local) -> None:
    for _ in range(2):
        chunks = await first_chunk(local)
        pid = local.server.pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(BackendError, match="the local model was ended by SIGKILL") as raised:
            _ = [chunk async for chunk in chunks]
        assert raised.value.transient
    with pytest.raises(BackendError, match="died twice") as raised:
        await ask(local, STORY)
    assert not raised.value.transient


async def test_a_process_that_dies_while_it_scores_is_a_passing_error(local: Local) -> None:
    await local.server.base_url()
    pid = local.server.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    scoring = asyncio.create_task(local.score("Why?", ["Because."]))
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(BackendError, match="the local model was ended by SIGKILL") as raised:
        await scoring
    assert raised.value.transient
    assert await local.score("Why?", ["Because."])


@pytest.mark.parametrize("damage", ["missing", "truncated", "not a model"])
async def test_a_file_that_is_no_model_is_said(model: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "model.gguf"
    if damage == "truncated":
        path.write_bytes(model.read_bytes()[:1_000_000])
    elif damage == "not a model":
        path.write_text("GGUF, but not really")
    async with serving(path) as server:
        with pytest.raises(LocalModelError, match=r"model.gguf: .*the model file cannot be loaded.*\n.*models pull"):
            await server.base_url()


PARENT = """
import asyncio, sys
from pathlib import Path
from massgen.backends import Request
from massgen.backends.chat_completions import HttpPool
from massgen.backends.local import Local
from massgen.backends.local_server import LocalServer
from massgen.messages import user

async def main():
    server = LocalServer(Path(sys.argv[1]))
    try:
        async with HttpPool() as pool:
            local = Local(server, pool, "m", options={"max_tokens": 3000, "extra_body": {"ignore_eos": True}})
            async for _ in local.stream(Request([user("Tell me a long story.")])):
                print(server.pid, flush=True)
    finally:
        await server.aclose()

asyncio.run(main())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_however_the_parent_ends_nothing_is_left_running(model: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-c", PARENT, str(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert os.getpgid(child) != parent.pid
        os.killpg(parent.pid, how)
        assert has_ended(child)
        parent.communicate()
    assert parent.returncode == -how


async def test_three_agents_share_the_model_and_come_to_a_verdict(model: Path) -> None:
    facts: list[Fact] = []

    def turn(agent: str, purpose: Purpose, answers: dict[str, str]) -> Turn:
        task = Task("What is the capital of France?")
        return Turn(
            7,
            agent,
            purpose,
            task,
            answers,
            True,
            lambda *said: facts.extend(said),
            lambda _: None,
            lambda: None,
            lambda _: None,
        )

    async with serving(model, slots=3) as server, HttpPool() as pool:
        agents = [
            SmallAgent(f"a{n}", Local(server, pool, NAME, seed=n, options={"max_tokens": 40})) for n in range(1, 4)
        ]
        acts = await asyncio.gather(*(agent.turn(turn(agent.id, "answer", {})) for agent in agents))
        answers = {f"agent{n}": act.content for n, act in enumerate(acts, 1) if isinstance(act, NewAnswer)}
        assert len(answers) == 3
        ballot = {"agent1": "The capital of France is Rome.", "agent2": "The capital of France is Paris."}
        votes = await asyncio.gather(*(agent.turn(turn(agent.id, "decide", ballot)) for agent in agents))
        assert {vote.label for vote in votes if isinstance(vote, Vote)} == {"agent2"}
        final = await agents[0].turn(turn("a1", "present", answers))
        assert isinstance(final, Final)
        assert final.content
    assert sum(isinstance(fact, Said) for fact in facts) == 4
    assert all(fact.cost == 0 for fact in facts if isinstance(fact, Spent))
