"""The command, end to end: a process of its own against a loopback provider over real sockets."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from massgen.errors import Exit
from tests.command import COLD, Ran, ended, left_running, massgen, started, write_config
from tests.providers import Simulator, Team, call, fault, hang, say
from tests.providers.policy import Call, Policy, Reply

pytestmark = pytest.mark.timeout(30)
QUESTION = "What is the capital of France?"


@pytest.fixture
async def team() -> AsyncGenerator[Simulator]:
    async with Simulator(Team(final="Paris.")) as simulator:
        yield simulator


@pytest.fixture
def config(team: Simulator, tmp_path: Path) -> str:
    return str(write_config(tmp_path / "team.yaml", team.base_url))


async def asked(policy: Policy, tmp_path: Path, *arguments: str, agents: int = 3, **sections: object) -> Ran:
    """What the command makes of a question to a team that follows `policy`."""
    async with Simulator(policy) as simulator:
        config = write_config(tmp_path / "team.yaml", simulator.base_url, agents, **sections)
        return await massgen("--config", str(config), *arguments, QUESTION)


def only(hopeless: str, reply: Reply, others: Policy) -> Policy:
    """`others`, but the model `hopeless` always gives `reply`."""
    return lambda asked: reply if asked.model == hopeless else others(asked)


def facts(home: Path) -> list[dict[str, object]]:
    (log,) = home.glob("data/sessions/*/events.jsonl")
    return [json.loads(line) for line in log.read_text().splitlines()[1:]]


async def test_the_final_answer_alone_goes_to_stdout(config: str) -> None:
    ran = await massgen("--config", config, QUESTION, program=COLD)
    assert (ran.code, ran.out) == (Exit.ANSWER, "Paris.\n")
    assert "m1" in ran.err


async def test_a_team_of_three_costs_seven_calls_over_at_most_three_connections(team: Simulator, config: str) -> None:
    await massgen("--config", config, QUESTION)
    assert len(team.calls) == 7
    assert len(team.connections) <= 3
    assert sum(record.size for record in team.calls) <= 12_000


async def test_a_run_leaves_at_most_six_files_and_thirty_kilobytes(config: str, tmp_path: Path) -> None:
    await massgen("--config", config, QUESTION)
    files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert 1 <= len(files) <= 6
    assert sum(path.stat().st_size for path in files) <= 30_000


async def test_json_prints_the_facts_and_nothing_else(config: str, tmp_path: Path) -> None:
    ran = await massgen("--json", "--no-display", QUESTION, "--config", config)
    printed = [json.loads(line) for line in ran.out.splitlines()]
    assert printed == [{key: each[key] for key in each.keys() - {"more"}} for each in facts(tmp_path / "home")]
    assert [fact["type"] for fact in printed][-2:] == ["Presented", "Stopped"]
    assert ran.err == ""


@pytest.mark.parametrize("arguments", [(), ("-",)])
async def test_the_question_is_read_from_stdin(config: str, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ran = await massgen("--config", config, *arguments, stdin=f"{QUESTION}\n".encode())
    assert ran.out == "Paris.\n"
    assert facts(tmp_path / "home")[0]["question"] == QUESTION


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        ((), b"", "the question is empty"),
        ((), b" \n\t", "the question is empty"),
        (("",), b"", "the question is empty"),
        ((), b"\x89PNG\r\n\x1a\n", "not UTF-8 text (byte 0x89 at 0)"),
        ((), b"what\0is", "NUL"),
        ((), b"x" * 1_500_000, "1,500,000 characters"),
        ((), b"x" * 5_000_000, "longer than 4,000,000 bytes"),
        (("what", "is"), b"", "Quote it"),
        (("model",), b"", "did you mean 'models'?"),
        (("--confg", "x", "q"), b"", "--confg"),
        (("--config", "no-such.yaml", "q"), b"", "no-such.yaml: cannot be read: No such file or directory"),
        (("--config", "@examples/quickstar", "q"), b"", "did you mean quickstart?"),
    ],
)
async def test_what_cannot_be_asked_is_refused_before_anything_is_spent(
    arguments: tuple[str, ...], stdin: bytes, words: str, tmp_path: Path
) -> None:
    ran = await massgen(*arguments, stdin=stdin)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "home").exists()


async def test_a_key_without_a_configuration_is_not_spent(tmp_path: Path) -> None:
    ran = await massgen(QUESTION, env={"OPENAI_API_KEY": "sk-0123456789"})
    assert ran.code == Exit.USAGE
    assert "OPENAI_API_KEY is set, but no configuration says which model to pay for" in ran.err
    assert "massgen init; or name the model: --model NAME" in ran.err


async def test_when_every_agent_fails_each_reason_is_told(tmp_path: Path) -> None:
    refused = fault(status=401, message="Incorrect API key provided")
    ran = await asked(lambda _: refused, tmp_path)
    assert (ran.code, ran.out) == (Exit.NO_ANSWER, "")
    assert all(f"  m{n}: " in ran.err for n in (1, 2, 3))
    assert ran.err.count("Incorrect API key provided") >= 3
    assert "Traceback" not in ran.err


async def test_a_key_that_a_server_echoes_reaches_neither_log_nor_stderr(tmp_path: Path) -> None:
    key = "sk-very-secret-0123456789"
    async with Simulator(lambda asked: fault(status=400, message=f"bad key {asked.key}")) as simulator:
        backend = {"type": "chatcompletion", "model": "m", "base_url": simulator.base_url, "api_key": "${TEAM_KEY}"}
        config = tmp_path / "team.yaml"
        config.write_text(json.dumps({"agents": [{"backend": backend}]}))
        ran = await massgen("--config", str(config), "--json", QUESTION, env={"TEAM_KEY": key})
        assert simulator.calls[0].headers["Authorization"] == f"Bearer {key}"
    assert ran.code == Exit.NO_ANSWER
    assert key not in ran.out + ran.err + json.dumps(facts(tmp_path / "home"))
    assert "${TEAM_KEY}" in json.dumps(facts(tmp_path / "home"))


async def test_a_providers_key_may_stand_in_a_dotenv_file(tmp_path: Path) -> None:
    async with Simulator(Team(final="Paris.")) as simulator:
        (tmp_path / ".env").write_text("GROQ_API_KEY=sk-from-dotenv\n")
        config = tmp_path / "team.yaml"
        config.write_text(
            json.dumps({"agents": [{"backend": {"type": "groq", "model": "m", "base_url": simulator.base_url}}]})
        )
        ran = await massgen("--config", str(config), QUESTION)
        assert ran.out == "Paris.\n"
        assert simulator.calls[0].headers["Authorization"] == "Bearer sk-from-dotenv"


async def test_every_missing_key_is_named_before_anything_is_spent(tmp_path: Path) -> None:
    config = tmp_path / "team.yaml"
    team = [{"id": kind, "backend": {"type": kind, "model": "m"}} for kind in ("openai", "claude", "gemini")]
    config.write_text(json.dumps({"agents": team}))
    ran = await massgen("--config", str(config), QUESTION)
    assert ran.code == Exit.USAGE
    assert all(name in ran.err for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"))
    assert not (tmp_path / "home").exists()


async def test_an_agent_that_hangs_does_not_hold_up_the_others_for_ever(tmp_path: Path) -> None:
    settings = {"timeout_settings": {"turn_timeout_seconds": 0.5}}
    ran = await asked(only("m2", hang(), Team(final="Paris.")), tmp_path, "--json", **settings)
    assert ran.code == Exit.ANSWER
    (failed,) = [fact for fact in facts(tmp_path / "home") if fact["type"] == "TurnFailed"]
    assert (failed["agent"], failed["kind"]) == ("m2", "timeout")


async def test_time_that_runs_out_after_an_answer_prints_the_best_so_far(tmp_path: Path) -> None:
    settings = {"timeout_settings": {"orchestrator_timeout_seconds": 0.7}}
    ran = await asked(only("m2", hang(), Team(answer="Paris, says {agent}.")), tmp_path, agents=2, **settings)
    assert (ran.code, ran.out) == (Exit.PARTIAL, "Paris, says m1.\n")
    assert "time ran out" in ran.err


async def test_time_that_runs_out_before_any_answer_is_no_answer(tmp_path: Path) -> None:
    settings = {"timeout_settings": {"orchestrator_timeout_seconds": 0.5}}
    ran = await asked(lambda _: hang(), tmp_path, **settings)
    assert (ran.code, ran.out) == (Exit.NO_ANSWER, "")
    assert "time ran out; there is no answer" in ran.err


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (say("I think it is Paris."), "no usable act"),
        (say(""), "no usable act"),
        (
            Reply(acts=(*call("vote", agent_id="agent1", reason="").acts, *call("new_answer", content="x").acts)),
            "2 calls",
        ),
        (call("vote", agent_id="agent99", reason=""), "no answer 'agent99'"),
        (call("new_answer", content="The answer of m1."), "adds nothing"),
    ],
)
async def test_a_model_that_cannot_decide_leaves_the_team_and_the_others_answer(
    tmp_path: Path, reply: Reply, told: str
) -> None:
    team = Team(final="Paris.")

    def policy(asked: Call) -> Reply:
        return reply if asked.model == "m2" and "vote" in asked.tools else team(asked)

    ran = await asked(policy, tmp_path, "--json")
    assert ran.code == Exit.ANSWER
    (failed,) = [fact for fact in facts(tmp_path / "home") if fact["type"] == "TurnFailed"]
    assert (failed["agent"], failed["kind"]) == ("m2", "protocol")
    assert told in str(failed["cause"])


async def test_a_vote_for_its_own_answer_counts_because_ballots_are_anonymous(tmp_path: Path) -> None:
    ran = await asked(Team(final="Paris."), tmp_path, agents=2)
    assert (ran.code, ran.out) == (Exit.ANSWER, "Paris.\n")


async def test_a_question_to_the_user_is_asked_back_once(tmp_path: Path) -> None:
    said: list[str] = []

    def policy(asked: Call) -> Reply:
        said.append(json.dumps(asked.messages))
        return say("Which France do you mean?" if len(said) == 1 else "Paris.")

    ran = await asked(policy, tmp_path, agents=1)
    assert ran.out == "Paris.\n"
    assert len(said) == 2
    assert "The user cannot reply" in said[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_run_says_so_and_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    async with Simulator(lambda _: hang(after=2)) as simulator:
        config = write_config(tmp_path / "team.yaml", simulator.base_url)
        async with started("--config", str(config), QUESTION) as process:
            await simulator.until(lambda: len(simulator.calls) == 3)
            process.send_signal(number)
            ran = await ended(process)
            await simulator.until(lambda: all(record.disconnected for record in simulator.calls))
    assert (ran.code, ran.out) == (Exit.INTERRUPTED, "")
    assert "massgen: interrupted" in ran.err
    assert "Traceback" not in ran.err
    assert left_running(process.pid) == []
    assert facts(tmp_path / "home")[-1] == facts(tmp_path / "home")[-1] | {"type": "Stopped", "why": "interrupted"}


@pytest.mark.parametrize("pause", [0.0, 0.002, 0.01])
async def test_a_second_ctrl_c_ends_it_at_once_and_as_quietly(tmp_path: Path, pause: float) -> None:
    async with Simulator(lambda _: hang(after=2)) as simulator:
        config = write_config(tmp_path / "team.yaml", simulator.base_url, agents=10)
        async with started("--config", str(config), QUESTION) as process:
            await simulator.until(lambda: len(simulator.calls) == 10)
            process.send_signal(signal.SIGINT)
            asyncio.get_running_loop().call_later(pause, interrupt, process)
            ran = await ended(process)
    assert (ran.code, ran.out) == (Exit.INTERRUPTED, "")
    assert "Traceback" not in ran.err
    assert left_running(process.pid) == []


DEAF = """
import asyncio
from massgen.interrupts import run
async def deaf():
    print("up", flush=True)
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            print("heard", flush=True)
run(deaf())
"""


async def test_after_a_second_ctrl_c_nothing_that_hangs_holds_up_the_end() -> None:
    async with started("-c", DEAF, program=()) as process:
        assert process.stdout
        assert await process.stdout.readline() == b"up\n"
        for _ in range(2):
            interrupt(process)
            assert await process.stdout.readline() == b"heard\n"
        ran = await ended(process)
    assert (ran.code, ran.err) == (Exit.INTERRUPTED, "")


def interrupt(process: asyncio.subprocess.Process) -> None:
    """Not by `process.send_signal`, which would take a process that has just ended from under asyncio's watcher."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGINT)


TELL_WHEN_UP = """
import os, sys
def tell(event, arguments):
    if event == "import" and arguments[0] == "massgen.cli":
        os.write(2, b"up\\n")
sys.addaudithook(tell)
from massgen.__main__ import main
main()
"""


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3])
async def test_ctrl_c_at_any_moment_ends_without_a_traceback(config: str, delay: float) -> None:
    async with started("-c", TELL_WHEN_UP, "--config", config, QUESTION, program=()) as process:
        assert process.stderr
        await process.stderr.readline()
        asyncio.get_running_loop().call_later(delay, interrupt, process)
        ran = await ended(process)
    assert ran.code in (Exit.INTERRUPTED, Exit.ANSWER)
    assert "Traceback" not in ran.err


INTERRUPTED_WHERE_PYTHON_CANNOT_RAISE = """
import signal, sys, weakref
class Thing: pass
thing = Thing()
watched = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
def tell(event, arguments):
    if event == "import" and arguments[0] == "massgen.cli":
        globals().pop("thing", None)
sys.addaudithook(tell)
from massgen.__main__ import main
main()
"""


async def test_ctrl_c_where_python_cannot_raise_is_ctrl_c_nevertheless() -> None:
    async with started("-c", INTERRUPTED_WHERE_PYTHON_CANNOT_RAISE, "--version", program=()) as process:
        ran = await ended(process)
    assert (ran.code, ran.out, ran.err) == (Exit.INTERRUPTED, "", "")


async def test_a_closed_stdout_is_told_and_the_answer_kept(config: str, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    ran = await massgen("--config", config, QUESTION, stdout=write)
    os.close(write)
    assert ran.code == Exit.NO_ANSWER
    assert "stdout cannot be written (Broken pipe); the answer is kept in" in ran.err
    assert "Traceback" not in ran.err
    assert "Exception ignored" not in ran.err
    assert facts(tmp_path / "home")[-2]["content"] == "Paris."


async def test_no_stdout_at_all_is_told(config: str) -> None:
    script = f'exec "$0" -m massgen --config "{config}" "{QUESTION}" >&-'
    shell = await asyncio.create_subprocess_exec("sh", "-c", script, sys.executable, stderr=asyncio.subprocess.PIPE)
    _, err = await shell.communicate()
    assert shell.returncode == Exit.NO_ANSWER
    assert b"stdout cannot be written (it is closed)" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
async def test_a_full_disk_under_stdout_is_told(config: str) -> None:
    with open("/dev/full", "wb") as full:
        ran = await massgen("--config", config, QUESTION, stdout=full)
    assert ran.code == Exit.NO_ANSWER
    assert "stdout cannot be written (No space left on device)" in ran.err
    assert "Traceback" not in ran.err


async def test_a_log_that_cannot_be_written_stops_the_run(config: str, tmp_path: Path) -> None:
    def no_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))

    unmeasured = {"COVERAGE_PROCESS_CONFIG": "", "COVERAGE_PROCESS_START": ""}  # it would want to write, too
    ran = await massgen("--config", config, QUESTION, preexec_fn=no_room, env=unmeasured)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "events.jsonl: cannot be written: File too large" in ran.err
    assert "Traceback" not in ran.err
    assert facts(tmp_path / "home")[0]["type"] == "Asked"


async def test_the_catalogue_of_models_is_listed_with_what_is_here() -> None:
    ran = await massgen("models", "list")
    assert ran.code == Exit.ANSWER
    (default,) = [line for line in ran.out.splitlines() if line.endswith("(default)")]
    assert default.startswith("qwen2.5-coder-0.5b")
    assert "491 MB to fetch" in default


async def test_the_path_of_a_model_that_is_not_here_is_an_error_that_says_how_to_get_it() -> None:
    ran = await massgen("models", "path", "smollm2-135m")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "massgen models pull smollm2-135m" in ran.err


async def test_an_unknown_model_or_subcommand_is_named() -> None:
    assert "did you mean 'smollm2-135m'" in (await massgen("models", "pull", "smollm")).err
    assert "No such command 'fetch'" in (await massgen("models", "fetch")).err


# --- a team without a file, profiles, the user's own configuration ---------------------------------------------------


@pytest.mark.parametrize("models", [1, 2])
async def test_models_on_the_command_line_are_a_team_without_a_file(
    team: Simulator, tmp_path: Path, models: int
) -> None:
    named = [word for n in range(models) for word in ("--model", f"m{n}")]
    ran = await massgen(*named, "--base-url", team.base_url, "--system-message", "Be brief.", QUESTION)
    assert (ran.code, ran.out) == (Exit.ANSWER, "Paris.\n")
    assert len(team.calls) == (1 if models == 1 else 2 * models + 1)
    assert {record.body["model"] for record in team.calls} == {f"m{n}" for n in range(models)}
    assert all(record.body["messages"][0]["content"].startswith("Be brief.") for record in team.calls)
    assert all("Authorization" not in record.headers for record in team.calls)


async def test_a_backend_on_the_command_line_uses_its_key(team: Simulator) -> None:
    options = ("--backend", "openai", "--model", "gpt-5", "--base-url", team.base_url)
    ran = await massgen(*options, QUESTION, env={"OPENAI_API_KEY": "sk-0123456789"})
    assert ran.out == "Paris.\n"
    assert team.calls[0].headers["Authorization"] == "Bearer sk-0123456789"


def write_profiles(path: Path, base_url: str) -> Path:
    backend = {"type": "chatcompletion", "base_url": base_url, "model": "usual"}
    other = {"agents": [{"backend": {**backend, "model": "cheap"}}]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"agents": [{"backend": backend}], "profiles": {"dev": other}}))
    return path


async def test_a_profile_is_chosen_by_option_before_the_variable(team: Simulator, tmp_path: Path) -> None:
    config = str(write_profiles(tmp_path / "team.yaml", team.base_url))
    ran = await massgen("-c", config, "--profile-name", "dev", QUESTION, env={"MASSGEN_PROFILE": "none-such"})
    assert (ran.code, team.calls[-1].body["model"]) == (Exit.ANSWER, "cheap")
    ran = await massgen("-c", config, "--profile-name", "deb", QUESTION)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "did you mean 'dev'" in ran.err


async def test_the_users_own_configuration_is_the_default_and_never_one_of_the_working_directory(
    team: Simulator, tmp_path: Path
) -> None:
    write_profiles(tmp_path / "home/config/config.yaml", team.base_url)
    (tmp_path / "config.yaml").write_text("not: one")
    ran = await massgen(QUESTION, env={"OPENAI_API_KEY": "sk-0123456789"})
    assert (ran.code, ran.out) == (Exit.ANSWER, "Paris.\n")
    assert "embedded" not in ran.err


# --- context ---------------------------------------------------------------------------------------------------------


async def test_context_is_read_from_files_and_from_stdin(config: str, team: Simulator, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes(b"\x89PNG\r\n\x1a\n...")
    options = ("--context", "-", "--context", "p.txt")
    ran = await massgen("-c", config, *options, QUESTION, stdin=b"+++ b/main.c")
    assert (ran.code, ran.out) == (Exit.ANSWER, "Paris.\n")
    text, image = team.calls[0].body["messages"][1]["content"]
    assert '<file name="stdin">\n+++ b/main.c\n</file>' in text["text"]
    assert image["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgouLi4="
    assert "iVBOR" not in ran.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--context", "none.txt"), "context file none.txt: No such file or directory"),
        (("--context", "."), "context file .: Is a directory"),
        (("--context", "-", "--context", "-"), "stdin can be read only once"),
        (("-o", "no/where.txt"), "no/where.txt: the output file cannot be written: No such file or directory"),
        (("--model", "gpt-5"), "--config and --model, --backend, --base-url or --system-message do not go together"),
        (("--json", "--format", "json"), "--json and --format do not go together"),
        (("-q", "-v"), "--quiet and --verbose or --debug do not go together"),
        (("--no-display", "--debug"), "--no-display and --verbose or --debug do not go together"),
        (("--timeout", "0"), "--timeout 0: expected seconds, more than 0"),
        (("--timeout", "nan"), "--timeout nan: expected seconds, more than 0"),
        (("--timeout", "soon"), "'soon' is not a valid float"),
        (("--format", "pdf"), "'pdf' is not one of"),
        (("--backend", ""), "Invalid value for '--backend': it is empty"),
        (("--model", "m", "--model", ""), "Invalid value for '--model': it is empty"),
    ],
)
async def test_options_that_cannot_be_followed_are_refused_before_anything_is_spent(
    config: str, team: Simulator, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    ran = await massgen("-c", config, *options, QUESTION)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert team.calls == []
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--context", "-"), "stdin can be read only once"),
        (("--context", "-", "-"), "stdin can be read only once"),
        (("--profile-name", "dev", "--model", "gpt-5", "q"), "A profile is part of a file"),
        (("--config", "", "q"), "Invalid value for '-c' / '--config': it is empty"),
        (("--system-message", "Be brief.", "q"), "no model is named"),
        (("--model", "llama3", "q"), "the name 'llama3' does not say who serves this model"),
        (("--backend", "opnai", "--model", "x", "q"), "did you mean 'openai'?"),
        (("--model", "gpt-5", "q"), "OPENAI_API_KEY"),
    ],
)
async def test_a_team_that_is_not_clear_is_refused(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    ran = await massgen(*arguments, stdin=b"q")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert words in ran.err
    assert not (tmp_path / "home").exists()


HELP = "import sys; from massgen.cli import run; run(['--help']); print(*sys.modules, file=sys.stderr)"
RUN = "import sys; from massgen.cli import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"


async def test_help_loads_nothing_that_a_run_needs() -> None:
    ran = await massgen("-c", HELP, program=())
    loaded = set(ran.err.split())
    assert not {"litellm", "mcp", "openai", "rich.live", "pydantic", "aiohttp", "asyncio"} & loaded


async def test_a_run_over_chat_completions_loads_neither_litellm_nor_a_sdk(config: str) -> None:
    ran = await massgen("-c", RUN, "--config", config, QUESTION, program=())
    assert "Paris." in ran.out
    assert not {"litellm", "mcp", "openai", "rich", "xllamacpp"} & set(ran.err.split())


WATCH = """
import sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        print("LOOKUP", event, arguments[1] if event == "socket.connect" else arguments[0], file=sys.stderr)
sys.addaudithook(watch)
from massgen.cli import run
sys.exit(run(sys.argv[1:]))
"""


async def test_nothing_but_the_configured_endpoint_is_looked_up(team: Simulator, config: str) -> None:
    ran = await massgen("-c", WATCH, "--config", config, QUESTION, program=())
    looked_up = {line for line in ran.err.splitlines() if line.startswith("LOOKUP")}
    port = team.base_url.rsplit(":", 1)[1].split("/")[0]
    assert looked_up == {f"LOOKUP socket.connect ('127.0.0.1', {port})"}
