"""`massgen --continue`, end to end: conversations go on, interrupted runs are finished, nothing is paid for twice."""

import json
import os
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import yaml

import massgen as package
from massgen import sessions
from massgen.errors import ConfigError, Exit, UsageError
from massgen.events import Answered, Asked, Resumed, Said
from massgen.log import Log, read
from massgen.sessions import LOG_NAME
from tests.command import Ran, ended, massgen, started, write_config
from tests.providers import Simulator, Team, hang, say
from tests.providers.policy import Call, Reply

pytestmark = pytest.mark.timeout(30)
QUESTION = "What is the capital of France?"


@pytest.fixture
async def team() -> AsyncGenerator[Simulator]:
    async with Simulator(Team(final="Paris.")) as simulator:
        yield simulator


@pytest.fixture
def config(team: Simulator, tmp_path: Path) -> str:
    return str(write_config(tmp_path / "team.yaml", team.base_url, agents=2))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "home/data/sessions"


def only_session(root: Path) -> Path:
    (session,) = root.iterdir()
    return session


def kinds(session: Path) -> list[str]:
    return [type(each.fact).__name__ for each in read(session / LOG_NAME)]


async def killed(config: str, simulator: Simulator, calls: int) -> None:
    """A run that is killed when it has made so many calls."""
    async with started("--config", config, QUESTION) as process:
        await simulator.until(lambda: len(simulator.calls) == calls)
        process.kill()
        await ended(process)


def hangs_in_the_vote(calls: list[Call]) -> Any:
    """Answers at once; who is to vote hangs, until it is told otherwise."""
    team = Team(final="Paris.")

    def policy(call: Call) -> Reply:
        calls.append(call)
        return hang() if "vote" in call.tools and len(calls) <= 4 else team(call)

    return policy


# --- the next question ---------------------------------------------------------------------------------------------


async def test_the_next_question_goes_to_the_same_team_with_what_was_said(
    config: str, team: Simulator, root: Path
) -> None:
    await massgen("--config", config, QUESTION)
    ran = await massgen("--continue", "And of Italy?")
    assert (ran.code, ran.out) == (Exit.ANSWER, "Paris.\n")
    session = only_session(root)
    assert f"massgen: session {session.name}, 1 question, the last " in ran.err
    assert f"> {QUESTION}\n  Paris." in ran.err
    call = team.calls[-1].call
    assert call
    told = [(each["role"], each["content"]) for each in call.messages[1:3]]
    assert told == [("user", QUESTION), ("assistant", "Paris.")]
    assert kinds(session).count("Asked") == 2


async def test_the_latest_session_of_this_folder_goes_on_else_the_latest_of_all(
    config: str, root: Path, tmp_path: Path
) -> None:
    here, there, elsewhere = (tmp_path / name for name in ("here", "there", "elsewhere"))
    for folder in (here, there, elsewhere):
        folder.mkdir()
    await massgen("--config", config, "Here?", cwd=here)
    first = only_session(root)
    await massgen("--config", config, "There?", cwd=there)
    assert f"session {first.name}," in (await massgen("--continue", "On?  Now?", cwd=here)).err
    ran = await massgen("--continue", "And now?", cwd=elsewhere)
    assert f"session {first.name}, the latest of all" in ran.err, "the one that was active last, not the one begun last"


@pytest.mark.parametrize("by", ["id", "prefix", "name", "name with spaces", "folder", "log", "equals"])
async def test_a_session_is_named_by_id_prefix_name_or_path(config: str, root: Path, by: str) -> None:
    await massgen("--config", config, QUESTION, "--quiet")
    session = only_session(root)
    name = {"name": "capitals", "name with spaces": "all capitals"}.get(by, "")
    if name:
        (session / sessions.NAME).write_text(name)
    given = {"prefix": session.name[:12], "folder": str(session), "log": str(session / LOG_NAME)}.get(
        by, name or session.name
    )
    arguments = [f"--continue={given}"] if by == "equals" else ["--continue", given]
    ran = await massgen(*arguments, "And of Italy?")
    assert ran.code == Exit.ANSWER
    assert kinds(session).count("Asked") == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("capitls", "there is no session 'capitls'"),
        ("20200101", "there is no session '20200101'"),
        ("../x", "/x: there is no session"),
        ("~/x", "/x: there is no session"),
        ("~nobody-is-called-this", "there is no session '~nobody-is-called-this'"),
        ("~nobody-is-called-this/x", "~nobody-is-called-this/x: there is no session"),
    ],
)
async def test_a_session_that_is_not_there_is_refused_before_anything_is_spent(
    config: str, team: Simulator, given: str, words: str
) -> None:
    await massgen("--config", config, QUESTION)
    before = len(team.calls)
    for arguments in ([given], [given, "And of Italy?"]):
        ran = await massgen("--continue", *arguments)
        assert ran.code == Exit.USAGE
        assert words in ran.err
    assert len(team.calls) == before


async def test_without_any_session_there_is_nothing_to_go_on_with(team: Simulator) -> None:
    ran = await massgen("--continue", "And of Italy?")
    assert (ran.code, team.calls) == (Exit.USAGE, [])
    assert "there is no session yet" in ran.err


async def test_where_the_last_question_is_answered_a_next_one_is_needed(config: str, team: Simulator) -> None:
    await massgen("--config", config, QUESTION)
    before = len(team.calls)
    ran = await massgen("--continue")
    assert (ran.code, len(team.calls)) == (Exit.USAGE, before)
    assert "the last question of the session is answered" in ran.err


async def test_sessions_are_kept_where_one_says(config: str, tmp_path: Path, root: Path) -> None:
    folder = tmp_path / "mine"
    await massgen("--config", config, "--session-dir", str(folder), QUESTION)
    assert not root.exists()
    ran = await massgen("--session-dir", str(folder), "--continue", "And of Italy?")
    assert ran.code == Exit.ANSWER
    assert kinds(only_session(folder)).count("Asked") == 2


async def test_a_tilde_that_no_shell_replaced_is_the_home_folder(config: str, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path / "person")}
    await massgen("--config", config, "--session-dir=~/mine", QUESTION, env=home)
    session = only_session(tmp_path / "person" / "mine")
    ran = await massgen(f"--continue=~/mine/{session.name}", "And of Italy?", env=home)
    assert ran.code == Exit.ANSWER
    assert kinds(session).count("Asked") == 2


async def test_the_next_question_may_be_read_from_stdin(config: str, root: Path) -> None:
    await massgen("--config", config, QUESTION)
    for number, arguments in enumerate([["--continue", "-"], ["--continue"]], 2):
        assert (await massgen(*arguments, stdin=b"And of Italy?")).code == Exit.ANSWER
        assert kinds(only_session(root)).count("Asked") == number


# --- finishing first -----------------------------------------------------------------------------------------------


async def test_a_killed_run_is_finished_first_and_no_recorded_call_is_made_again(tmp_path: Path, root: Path) -> None:
    calls: list[Call] = []
    async with Simulator(hangs_in_the_vote(calls)) as simulator:
        config = str(write_config(tmp_path / "team.yaml", simulator.base_url, agents=2))
        await killed(config, simulator, 4)
        session = only_session(root)
        log = (session / LOG_NAME).read_bytes()
        ran = await massgen("--continue", "And of Italy?")
    assert (ran.code, ran.out) == (Exit.ANSWER, "Paris.\n")
    assert (
        "is finished first: 2 answers, 2 model calls that will not be made again; at work: m1 (decide), m2 (decide)"
        in ran.err
    )
    assert "massgen: the question before is answered now:\nParis.\n" in ran.err
    assert (session / LOG_NAME).read_bytes().startswith(log)
    assert sum(set(call.tools) == {"new_answer"} for call in calls) == 4, "2 of each question"
    assert [kind for kind in kinds(session) if kind in ("Asked", "Resumed", "Stopped")] == [
        "Asked", "Resumed", "Stopped", "Asked", "Stopped",
    ]  # fmt: skip


async def test_a_line_that_was_cut_off_is_told_with_its_place_and_kept(config: str, root: Path) -> None:
    await massgen("--config", config, QUESTION)
    log = only_session(root) / LOG_NAME
    data = log.read_bytes()
    log.write_bytes(data[:-7])
    ran = await massgen("--continue")
    torn, lines = data[:-7].rpartition(b"\n")[2], data.count(b"\n")
    assert ran.code == Exit.ANSWER
    told = f"{log}:{lines}: this line was cut off; what there is of it is kept in events.torn"
    assert f"massgen: {told}\n" in ran.err
    assert log.with_suffix(".torn").read_bytes() == torn
    assert "cut off" not in (await massgen("--continue", "And of Italy?")).err, "once"


async def test_a_killed_run_can_be_finished_alone(tmp_path: Path, root: Path) -> None:
    async with Simulator(hangs_in_the_vote([])) as simulator:
        config = str(write_config(tmp_path / "team.yaml", simulator.base_url, agents=2))
        await killed(config, simulator, 4)
        ran = await massgen("--continue", "--json")
    assert ran.code == Exit.ANSWER
    facts = [json.loads(line) for line in ran.out.splitlines()]
    assert [fact["seq"] for fact in facts] == [*range(1, len(facts) + 1)], "all of the run, also what was there before"
    assert facts[-1]["type"] == "Stopped"


async def test_ctrl_c_says_how_to_go_on_and_going_on_does(tmp_path: Path, root: Path) -> None:
    async with Simulator(hangs_in_the_vote([])) as simulator:
        config = str(write_config(tmp_path / "team.yaml", simulator.base_url, agents=2))
        async with started("--config", config, QUESTION) as process:
            await simulator.until(lambda: len(simulator.calls) == 4)
            process.send_signal(signal.SIGINT)
            interrupted = await ended(process)
        session = only_session(root)
        assert interrupted.code == Exit.INTERRUPTED
        assert f"massgen: interrupted; to go on: massgen --continue {session.name}\n" in interrupted.err
        ran = await massgen("--continue", session.name)
    assert (ran.code, ran.out) == (Exit.ANSWER, "Paris.\n")


async def test_a_run_that_fails_again_does_not_spend_on_the_next_question(tmp_path: Path) -> None:
    async with Simulator(lambda call: hang()) as simulator:
        config = str(write_config(tmp_path / "team.yaml", simulator.base_url, agents=1))
        await killed(config, simulator, 1)
        ran = await massgen("--continue", "--timeout", "0.4", "And of Italy?")
        assert (ran.code, ran.out) == (Exit.NO_ANSWER, "")
        assert len(simulator.calls) == 2


async def test_an_answer_that_is_finished_in_part_is_told_to_be_so(tmp_path: Path) -> None:
    calls, answers = list[Call](), Team(final="Paris.")

    def policy(call: Call) -> Reply:
        calls.append(call)
        return hang() if "vote" in call.tools and len(calls) <= 6 else answers(call)

    async with Simulator(policy) as simulator:
        config = str(write_config(tmp_path / "team.yaml", simulator.base_url, agents=2))
        await killed(config, simulator, 4)
        ran = await massgen("--continue", "--timeout", "2", "And of Italy?")
    assert (ran.code, ran.out) == (Exit.ANSWER, "Paris.\n"), ran.err
    before, _, _ = ran.err.partition("massgen: the question before is answered now:")
    assert "massgen: time ran out" in before


async def test_a_second_process_stops_with_a_clear_message(config: str, root: Path) -> None:
    await massgen("--config", config, QUESTION)
    with Log(only_session(root) / LOG_NAME):
        ran = await massgen("--continue", "And of Italy?")
    assert ran.code == Exit.USAGE
    assert "another process is writing this session" in ran.err


# --- with which configuration --------------------------------------------------------------------------------------


async def asked_and_changed(config: str, *arguments: str, **how: Any) -> Ran:
    await massgen("--config", config, QUESTION)
    return await massgen("--continue", *arguments, "And of Italy?", **how)


async def test_another_configuration_is_shown_by_its_differences(config: str, team: Simulator, tmp_path: Path) -> None:
    other = yaml.safe_load(Path(config).read_text())
    other["agents"][1]["id"] = "new"
    other["agents"][0]["backend"]["model"] = "m9"
    other["orchestrator"] = {"max_new_answers_per_agent": 1}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    ran = await asked_and_changed(config, "--config", str(tmp_path / "other.yaml"))
    assert ran.code == Exit.ANSWER
    for told in (
        "m2 (chatcompletion m2) is not in this team: it takes no part; its answers stay",
        "new (chatcompletion m2) is new: it is told the conversation so far",
        "m1: chatcompletion m1 -> chatcompletion m9",
        "orchestrator.max_new_answers_per_agent: not set -> 1",
    ):
        assert f"  {told}\n" in ran.err


async def test_the_same_configuration_has_no_differences(config: str) -> None:
    assert "differently" not in (await asked_and_changed(config, "--config", config)).err


async def test_another_profile_is_one_of_the_sessions_own_file(config: str, root: Path) -> None:
    file = Path(config)
    file.write_text(file.read_text() + "profiles:\n  brief:\n    orchestrator: {max_new_answers_per_agent: 1}\n")
    ran = await asked_and_changed(config, "--profile-name", "brief")
    assert ran.code == Exit.ANSWER, ran.err
    assert "  orchestrator.max_new_answers_per_agent: not set -> 1\n" in ran.err
    log = (only_session(root) / LOG_NAME).read_bytes()
    ran = await massgen("--continue", "--profile-name", "long", "And of Spain?")
    assert ran.code == Exit.USAGE
    assert "team.yaml: no profile is called 'long'" in ran.err
    assert "its own configuration" not in ran.err
    assert (only_session(root) / LOG_NAME).read_bytes() == log


async def test_a_team_that_would_lose_what_is_open_is_refused_and_nothing_is_changed(
    tmp_path: Path, root: Path
) -> None:
    async with Simulator(hangs_in_the_vote([])) as simulator:
        config = write_config(tmp_path / "team.yaml", simulator.base_url, agents=2)
        await killed(str(config), simulator, 4)
        log = (only_session(root) / LOG_NAME).read_bytes()
        other = str(write_config(tmp_path / "other.yaml", simulator.base_url, agents=1))
        ran = await massgen("--continue", "--config", other, "And of Italy?")
        with pytest.raises(UsageError, match="would lose a part of it: m2 was at work on its turn"):
            await package.arun("And of Italy?", other, session="")
    assert ran.code == Exit.USAGE
    assert "m2 was at work on its turn (decide), which nobody in this team can take up" in ran.err
    assert (only_session(root) / LOG_NAME).read_bytes() == log


async def test_a_key_that_is_missing_now_is_named_and_nothing_is_changed(
    team: Simulator, tmp_path: Path, root: Path
) -> None:
    config = write_config(tmp_path / "team.yaml", team.base_url, agents=1)
    config.write_text(config.read_text().replace("type: chatcompletion", "type: openai\n    api_key: ${MINE}"))
    await massgen("--config", str(config), QUESTION, env={"MINE": "sk-0123456789"})
    log = (only_session(root) / LOG_NAME).read_bytes()
    ran = await massgen("--continue", "And of Italy?")
    assert ran.code == Exit.USAGE
    assert "the variable MINE is not set" in ran.err
    assert (
        "cannot go on with its own configuration; it is as it was. Mend that, or name another team: --config FILE"
        in ran.err
    )
    assert (only_session(root) / LOG_NAME).read_bytes() == log


async def test_a_key_that_was_written_out_must_be_given_again(team: Simulator, tmp_path: Path) -> None:
    config = write_config(tmp_path / "team.yaml", team.base_url, agents=1)
    config.write_text(config.read_text().replace("type: chatcompletion", "type: openai\n    api_key: sk-0123456789"))
    ran = await asked_and_changed(str(config))
    assert ran.code == Exit.USAGE
    assert "m1: its key was written out in the configuration and is not recorded; name the file again" in ran.err
    assert (await massgen("--continue", "--config", str(config), "And of Italy?")).code == Exit.ANSWER


# --- from Python ---------------------------------------------------------------------------------------------------


async def test_a_conversation_in_python(config: str, root: Path) -> None:
    first = await package.arun(QUESTION, config)
    second = await package.arun("And of Italy?", session=first.session)
    assert (second.answer, second.session) == ("Paris.", first.session)
    facts = read(first.session / LOG_NAME)
    asked = [each.fact for each in facts if isinstance(each.fact, Asked)]
    assert [each.question for each in asked] == [QUESTION, "And of Italy?"]
    assert asked[0].folder == os.getcwd()
    assert asked[0].template == config
    assert asked[0].config == asked[1].config


async def test_an_unfinished_run_is_finished_from_python(config: str, team: Simulator, root: Path) -> None:
    first = await package.arun(QUESTION, config)
    path = first.session / LOG_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: next(n for n, raw in enumerate(lines) if b'"Spent"' in raw) + 1]))
    before = len(team.calls)
    finished = await package.arun(session=first.session)
    assert finished.answer == "Paris."
    assert len(team.calls) - before == 4, "5 calls without the recorded one"
    facts = [each.fact for each in read(path)]
    assert sum(isinstance(fact, Said) for fact in facts) == 5
    assert any(isinstance(fact, Resumed) for fact in facts)
    assert sum(isinstance(fact, Answered) for fact in facts) == 2
    with pytest.raises(UsageError, match="the question is empty"):
        await package.arun(session=first.session)


async def test_a_session_without_a_configuration_asks_for_one(tmp_path: Path) -> None:
    from massgen.continuing import recorded
    from massgen.state import State

    with pytest.raises(ConfigError, match="does not say by which configuration"):
        recorded(State(), "here")


async def test_the_answer_that_is_finished_first_cannot_steer_the_terminal(tmp_path: Path) -> None:
    def policy(call: Call) -> Reply:
        return hang() if len(simulator.calls) == 1 else say("Paris.\x1b]0;owned\x07")

    async with Simulator(policy) as simulator:
        config = str(write_config(tmp_path / "team.yaml", simulator.base_url, agents=1))
        await killed(config, simulator, 1)
        ran = await massgen("--continue", "And of Italy?")
    assert "the question before is answered now:\nParis." in ran.err
    assert "\x1b" not in ran.err


async def test_an_answer_of_an_earlier_model_cannot_steer_the_terminal(tmp_path: Path) -> None:
    async with Simulator(lambda call: say("Paris.\x1b]0;owned\x07")) as simulator:
        config = str(write_config(tmp_path / "team.yaml", simulator.base_url, agents=1))
        ran = await asked_and_changed(config)
    assert ran.code == Exit.ANSWER
    assert "\x1b" not in ran.err
