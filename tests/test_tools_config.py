"""Tools in configurations: whose they are, where their paths are from, what of them is secret, who cannot use them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from massgen.approval import anything
from massgen.config import Config
from massgen.config.checks import MAX_UNKNOWN
from massgen.config.loading import Loaded, load, parse
from massgen.config.yaml_tree import secret
from massgen.continuing import recorded
from massgen.equipping import equipped
from massgen.errors import ConfigError
from massgen.events import Asked
from massgen.log import redactor
from massgen.state import State

BACKEND = {"type": "chatcompletion", "base_url": "http://localhost:1/v1", "model": "m"}


def server(**settings: Any) -> dict[str, Any]:
    return {"command": "serve", **settings}


def team(agent: Mapping[str, Any] | None = None, backend: Mapping[str, Any] | None = None, **top: Any) -> Loaded:
    one = {"id": "ada", "backend": {**BACKEND, **(backend or {})}, **(agent or {})}
    return parse(
        {"agents": [one, {"id": "bob", "backend": BACKEND}], **top}, {"KEY": "by-name-0123", "PLAIN": "by-plain-0123"}
    )


def told(*args: Any, **top: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        team(*args, **top)
    return [*caught.value.problems]


def commands(config: Config, agent: str) -> dict[str, str]:
    return {name: each.command for name, each in config.servers(config.named_agents[agent]).items()}


# Whose they are


def test_an_agents_own_servers_stand_beside_the_teams_and_the_nearest_of_a_name_counts() -> None:
    config = team(
        {"mcp_servers": {"a": server(command="own")}},
        {"mcp_servers": [{"name": "a", "command": "no"}, {"name": "b", "command": "backends"}]},
        mcp_servers={"a": server(command="teams"), "b": server(command="teams"), "c": server(command="teams")},
    ).config
    assert commands(config, "ada") == {"a": "own", "b": "backends", "c": "teams"}
    assert commands(config, "bob") == dict.fromkeys("abc", "teams")


def test_functions_of_the_team_and_of_an_agent_are_its_functions_each_once() -> None:
    config = team({"tools": ["json:dumps", "json:loads"]}, tools=["json:loads"]).config
    assert [config.functions(each) for each in config.agents] == [["json:loads", "json:dumps"], ["json:loads"]]


# Paths


def test_paths_of_tools_are_from_the_folder_of_their_file(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "words.py").touch()
    (base / "pack").mkdir()
    own = {"mcp_servers": [{"name": "b", "command": "node", "cwd": "/srv"}], "tools": ["../other/deep.mod:run"]}
    below = {
        "agents": [{"id": "ada", "backend": {**BACKEND, "mcp_servers": {"c": {"command": "./c", "cwd": "${KEY}/x"}}}, **own}],
        "mcp_servers": {"a": {"command": "../serve", "cwd": "work"}},
        "tools": ["words:count", "pack.words:count", "json:dumps"],
    }  # fmt: skip
    (base / "base.yaml").write_text(yaml.safe_dump(below))
    (tmp_path / "team.yaml").write_text("extends: base/base.yaml\nprofiles:\n  dev: {tools: [../x:y]}\n")
    loaded = load(tmp_path / "team.yaml", {"KEY": "k"})
    config, agent = loaded.config, loaded.config.agents[0]
    assert (config.mcp_servers["a"].command, config.mcp_servers["a"].cwd) == (f"{base}/../serve", f"{base}/work")
    assert (agent.mcp_servers["b"].command, agent.mcp_servers["b"].cwd) == ("node", "/srv")
    assert (agent.backend.mcp_servers["c"].command, agent.backend.mcp_servers["c"].cwd) == (f"{base}/c", "k/x")
    assert config.tools == [f"{base}/words:count", f"{base}/pack.words:count", "json:dumps"]
    assert agent.tools == [f"{base}/../other/deep.mod:run"]
    again = parse(loaded.source, {"KEY": "k"}).config
    assert again == config, "a session goes on with the same, wherever"
    assert load(tmp_path / "team.yaml", {"KEY": "k"}, profile="dev").config.tools == [f"{tmp_path}/../x:y"]


# Secrets


@pytest.mark.parametrize(
    ("name", "value", "kept", "hidden"),
    [
        ("API_KEY", "0123456789", False, True),
        ("API_KEY", "${KEY}", True, True),
        ("DATABASE", "postgres://me:secret@host/db", False, True),
        ("DATA", "/home/me/notes", False, False),
        ("MODE", "production", False, False),
        ("DEBUG", "true", True, False),
        ("PORT", "8080", True, False),
        ("PIN_TOKEN", "12345", False, False),
    ],
)
def test_a_variable_of_a_server_that_is_written_out_is_not_recorded_and_one_that_tells_is_hidden_everywhere(
    name: str, value: str, kept: bool, hidden: bool
) -> None:
    loaded = team(mcp_servers={"a": server(env={name: value})})
    given = loaded.config.mcp_servers["a"].env[name].get_secret_value()
    assert loaded.source["mcp_servers"]["a"]["env"][name] == (value if kept else "[redacted]")
    assert (redactor(loaded.secrets)(f"it said {given}.") == "it said [redacted].") == hidden
    assert value not in repr(loaded.config.mcp_servers)


def test_a_header_may_have_a_variable_behind_the_name_of_its_scheme() -> None:
    headers = {"Authorization": "Bearer ${KEY}", "X-Other": "Bearer written-out-1"}
    loaded = team({"mcp_servers": [{"name": "a", "url": "http://localhost:1/mcp", "headers": headers}]})
    recorded_headers = loaded.source["agents"][0]["mcp_servers"][0]["headers"]
    assert recorded_headers == {"Authorization": "Bearer ${KEY}", "X-Other": "[redacted]"}
    assert redactor(loaded.secrets)("401: written-out-1, by-name-0123") == "401: [redacted], [redacted]"


@pytest.mark.parametrize(
    ("args", "hidden"),
    [
        (["postgresql://me:written-out@localhost/db"], "written-out"),
        (["--api-key", "written-out"], "written-out"),
        (["--api-key=written-out"], "written-out"),
        (["-e", "GITHUB_TOKEN=written-out", "image"], "written-out"),
        (["-e", "STRIPE_KEY=written-out"], "written-out"),
        (["--header", "Authorization: Bearer written-out"], "written-out"),
        (["https://localhost/mcp?key=written-out&page=1"], "written-out"),
        (["postgresql://me:${PLAIN}@localhost/db"], "by-plain-0123"),
        (["--header", "Authorization: Bearer ${PLAIN}"], "by-plain-0123"),
        (["--api-key", "${PLAIN}"], "by-plain-0123"),
    ],
)
def test_a_secret_within_an_argument_or_an_address_is_recorded_by_its_name_or_not_at_all(
    args: list[str], hidden: str
) -> None:
    loaded = team(mcp_servers={"a": server(args=args)})
    kept = loaded.source["mcp_servers"]["a"]["args"]
    assert "written-out" not in str(kept)
    assert kept == ["[redacted]" if "written-out" in each else each for each in args]
    assert redactor(loaded.secrets)(f"no {hidden} here") == "no [redacted] here"


@pytest.mark.parametrize(
    "args",
    [
        ["-y", "@modelcontextprotocol/server-filesystem", "/home/me/notes"],
        ["--max-tokens", "5000", "--token", "500"],
        ["--max-tokens=50000", "--sort-key=name", "keys:all"],
        ["https://localhost:8000/mcp?page=1", "git@localhost:me/notes.git"],
    ],
)
def test_an_argument_that_is_no_secret_is_recorded_as_it_is(args: list[str]) -> None:
    loaded = team(mcp_servers={"a": server(args=args)})
    assert loaded.source["mcp_servers"]["a"]["args"] == args
    assert not loaded.secrets


def test_a_password_in_an_address_is_recorded_nowhere() -> None:
    loaded = team(
        {"backend": {"type": "chatcompletion", "model": "m", "base_url": "http://me:written-out-1@localhost/v1"}},
        mcp_servers={"a": {"url": "http://me:written-out-2@localhost/mcp"}},
    )
    assert loaded.source["agents"][0]["backend"]["base_url"] == "[redacted]"
    assert loaded.source["mcp_servers"]["a"]["url"] == "[redacted]"
    assert redactor(loaded.secrets)("written-out-1, written-out-2") == "[redacted], [redacted]"


def test_an_address_that_is_none_is_told_without_its_password_however_long() -> None:
    url = f"postgresql://administrator:{'written-out' * 9}@localhost/db"
    problems = [*told({}, {"base_url": url}), *told(mcp_servers={"a": {"url": url}})]
    assert len(problems) == 2
    assert all("'postgresql://...@localhost/db' is no address" in each for each in problems)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"url": "http://localhost:1/mcp", "env": {"K": "${KEY}"}}, "env"),
        ({"type": "streamable-http", "url": "http://localhost:1/mcp", "args": ["x"]}, "args"),
        ({"command": "x", "headers": {"K": "${KEY}"}}, "headers"),
        ({"type": "stdio", "command": "x", "url": "http://localhost:1/mcp"}, "url"),
    ],
)
def test_what_would_not_reach_a_server_is_refused(given: dict[str, Any], problem: str) -> None:
    (only,) = told(mcp_servers={"a": given})
    assert only.startswith(f"config: mcp_servers.a.{problem}: has no effect here: ")


@pytest.mark.parametrize(
    ("path", "is_secret"),
    [
        (("mcp_servers", "env", "command"), False),
        (("mcp_servers", "token", "command"), False),
        (("mcp_servers", "a", "access", "read_secret"), False),
        (("tool_access", "mcp__a__get_token"), False),
        (("mcp_servers", "a", "tool_timeouts", "get_token"), False),
        (("agents", 0, "backend", "mcp_servers", 1, "env", "HOME"), True),
        (("profiles", "dev", "mcp_servers", "a", "headers", "X"), True),
        (("mcp_servers", "a", "env", "A", "deeper"), True),
        (("agents", 0, "backend", "extra_body", "api_key"), True),
    ],
)
def test_what_users_and_servers_call_something_makes_no_secret(path: tuple[str | int, ...], is_secret: bool) -> None:
    assert secret(path) == is_secret


def test_a_wrong_value_of_a_variable_is_not_shown() -> None:
    there = {"url": "http://localhost:1/mcp", "headers": {"X": ["written-out-2"]}}
    problems = told(mcp_servers={"a": server(env={"A": {"deep": "written-out-1"}}), "b": there})
    assert len(problems) == 2
    assert "written-out" not in "".join(problems)


def test_a_session_that_was_recorded_without_its_secrets_says_which() -> None:
    loaded = team(
        {"mcp_servers": [{"name": "b", "command": "x", "env": {"TOKEN": "written-out-2"}}]},
        mcp_servers={"a": server(env={"DATABASE": "written-out-1", "MODE": "true"})},
    )
    with pytest.raises(ConfigError) as caught:
        recorded(State(asked=Asked("?", (), config=loaded.source)), "session s")
    again = "was written out in the configuration and is not recorded; name the file again: --config FILE"
    assert [*caught.value.problems] == [
        f"session s: agents.ada.mcp_servers[0].env.TOKEN {again}",
        f"session s: mcp_servers.a.env.DATABASE {again}",
    ]
    named = team(mcp_servers={"a": server(env={"A": "${KEY}"})})
    assert named.source["mcp_servers"]["a"]["env"] == {"A": "${KEY}"}


# Names of tools


def test_a_name_that_no_tool_can_have_is_a_problem_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "team.yaml").write_text("""\
agents:
  - id: ada
    backend: {type: openai, model: m, mcp_servers: [{name: my mail, command: x}], allowed_tools: [mcp__my_mail__x, mail]}
    tools: [textwrap:dedent]
    exclude_tools: [dednet, dedent, loads, mcp__fils__x, mcp__my_*, "x?", vote_0123abcd]
  - {id: bob, backend: {type: openai, model: m}, exclude_tools: [loads, dedent, mcp__my_mail__x, mcp__files__x]}
mcp_servers: {files: {command: x}}
tools: [json:loads]
tool_access: {dedent: read, load: read, mcp__my_mail__send: irreversible, mcp__mails__send: read, "*": read}
""")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "team.yaml", {"OPENAI_API_KEY": "k"})
    instead = "of a server's tools the name is mcp__SERVER__TOOL"
    assert [each.removeprefix(f"{tmp_path}/team.yaml:") for each in caught.value.problems] == [
        f"3:116 agents[0].backend.allowed_tools[1]: no function is called 'mail'; {instead}",
        "5:21 agents[0].exclude_tools[0]: no function is called 'dednet'; did you mean 'dedent'?",
        "5:44 agents[0].exclude_tools[3]: no server is called 'fils'; did you mean 'files'?",
        f"6:73 agents[1].exclude_tools[1]: no function is called 'dedent'; {instead}",
        "6:81 agents[1].exclude_tools[2]: no server is called 'my_mail'",
        "9:29 tool_access.load: no function is called 'load'; did you mean 'loads'?",
        "9:75 tool_access.mcp__mails__send: no server is called 'mails'; did you mean 'my mail'?",
    ]


def test_names_of_tools_are_not_looked_at_where_a_session_is_replayed() -> None:
    replay = {"backend": {"type": "replay", "session": "s"}, "exclude_tools": ["gone", "mcp__gone__x"]}
    parse({"agents": [{"id": "a", **replay}], "tool_access": {"mcp__gone__x": "read"}}, {})


def test_a_file_that_others_extend_may_class_tools_that_not_all_of_them_have() -> None:
    classes = {"tool_access": {"weekday": "read", "mcp__mail__send": "irreversible"}}
    team(**classes)
    assert told({"tools": ["json:loads"]}, **classes) == [
        "config: tool_access.weekday: no function is called 'weekday'; of a server's tools the name is mcp__SERVER__TOOL"
    ]


def test_many_wrong_names_are_told_in_part() -> None:
    assert len(told({"exclude_tools": [f"none{number}" for number in range(900)]})) == MAX_UNKNOWN


# Who uses none


def test_an_embedded_model_may_stand_beside_tools_but_has_none_of_its_own() -> None:
    team(backend={"type": "local", "model": "", "base_url": ""}, mcp_servers={"a": server()}, tools=["json:loads"])
    local = {"type": "local", "model": "", "base_url": "", "mcp_servers": {"a": server()}}
    why = "embedded models use no tools; leave it out, or give the agent another backend"
    assert sorted(told({"tools": ["json:loads"], "mcp_servers": {"b": server()}}, local)) == [
        f"config: agents[0].{key}: {why}" for key in ("backend.mcp_servers", "mcp_servers", "tools")
    ]


def test_who_replays_a_session_needs_none_of_the_variables_of_its_tools() -> None:
    needs = {"mcp_servers": {"a": server(env={"A": "${NO_SUCH}"})}}
    replay = {"backend": {"type": "replay", "session": "s", "mcp_servers": needs["mcp_servers"]}, **needs}
    loaded = parse({"agents": [{"id": "a", **replay}], **needs}, {})
    assert loaded.config.servers(loaded.config.agents[0]) == {}
    with pytest.raises(ConfigError, match="the variable NO_SUCH is not set"):
        parse({"agents": [{"id": "a", **replay}, {"id": "b", "backend": BACKEND}], **needs}, {})


async def test_nobody_who_cannot_use_them_is_given_tools_and_that_is_noted() -> None:
    notes: list[str] = []
    local = {"id": "small", "backend": {"type": "local"}}
    config = parse({"agents": [local, {"id": "big", "backend": BACKEND}], "tools": ["textwrap:dedent"]}, {}).config
    async with equipped(config, anything, notes.append, Path) as tools:
        assert [*tools] == ["big"]
    assert notes == ["no tools and plans for small: embedded models use none"]
    plans = {"orchestrator": {"coordination": {"enable_agent_task_planning": True}}}
    async with equipped(parse({"agents": [local], **plans}, {}).config, anything, notes.append, Path) as tools:
        assert tools == {}
    assert len(notes) == 2


async def test_functions_that_cannot_be_loaded_are_all_told() -> None:
    config = team({"tools": ["json:nothing"]}, tools=["no_such_module:x", "json:dumps"]).config
    with pytest.raises(ConfigError) as caught:
        async with equipped(config, anything, unused, Path):
            pass
    assert [*caught.value.problems] == [
        "tools[0]: 'no_such_module:x': no module 'no_such_module' is in the configuration's folder or installed",
        "tools[1]: 'json:dumps': its parameter 'kw' cannot be given by name; tools are called by name alone",
        "agents[0].tools[0]: 'json:nothing': the module 'json' has no function 'nothing'",
    ]


async def test_what_is_wrong_with_a_function_is_told_with_its_place_whichever_file_names_it(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text("def count(text: str) -> int: ...\n")
    (tmp_path / "sick.py").write_text("import no_such_thing\n")
    agent = f"agent:\n  backend: {BACKEND}\n  tools:\n    - words:count\n    - words:cuont\n"
    (tmp_path / "base.yaml").write_text(agent)
    (tmp_path / "team.yaml").write_text("extends: base.yaml\nprofiles:\n  dev:\n    tools: [sick:x, json:dunp]\n")
    loaded = load(tmp_path / "team.yaml", {}, profile="dev")
    with pytest.raises(ConfigError) as caught:
        async with equipped(loaded.config, anything, unused, Path, loaded=loaded):
            pass
    assert [each.removeprefix(f"{tmp_path}/") for each in caught.value.problems] == [
        "team.yaml:4:13 profiles.dev.tools[0]: 'sick:x': it cannot be loaded: ModuleNotFoundError: No module named 'no_such_thing'",
        "team.yaml:4:21 profiles.dev.tools[1]: 'json:dunp': the module 'json' has no function 'dunp'; did you mean 'dump'?",
        "base.yaml:5:7 agent.tools[1]: 'words:cuont': the module 'words' has no function 'cuont'; did you mean 'count'?",
    ]
    (tmp_path / "base.yaml").unlink()
    with pytest.raises(ConfigError, match=r"agents\[0\].tools\[1\]: 'words:cuont'"):
        async with equipped(loaded.config, anything, unused, Path, loaded=loaded):
            pass


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("sse", "'sse': massgen does not speak the older HTTP+SSE; most of its servers have an address of streamable-http, "
                "too, which often ends in /mcp"),
        ("http", "'http': did you mean 'streamable-http'?"),
        ("streamable_http", "'streamable_http' is not allowed; did you mean 'streamable-http'?"),
        ("pipe", "'pipe' is not allowed; allowed: stdio, streamable-http"),
    ],
)  # fmt: skip
def test_another_transport_is_told_with_what_to_use(kind: str, why: str) -> None:
    servers = {"wiki": {"type": kind, "url": "http://localhost:8000/sse"}}
    assert told(mcp_servers=servers) == [f"config: mcp_servers.wiki.type: {why}"]


def test_what_is_no_function_at_all_is_told_with_an_example() -> None:
    assert told(tools=["count", 3]) == [
        "config: tools[0]: 'count': no function of a module; one looks like words:count, the module first",
        "config: tools[1]: 3: input should be a valid string",
    ]


def unused(note: str) -> None:
    raise AssertionError(note)
