import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from massgen import errors, examples
from massgen.commands.config import command
from massgen.config import Config
from massgen.config import tools as config_tools
from massgen.config.loading import load, parse
from massgen.config.schema import field_texts, schema, texts_below
from massgen.errors import Exit
from tests.command import massgen
from tests.test_examples import needs
from tests.test_loading import BACKEND, WRONG, fields_of_config, with_value

GOOD = "agents: [{id: ada, backend: {type: local}}]\n"
BAD = "agents: [{id: ada, backend: {type: locl}}]\ncolour: blue\n"
SECRET = "sk-1234567890abcdef"


def run(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(
        command, arguments, env=env, standalone_mode=False, catch_exceptions=False, help_option_names=["-h", "--help"]
    )


@pytest.fixture(autouse=True)
def _files() -> None:
    for name, text in {"good.yaml": GOOD, "bad.yaml": BAD}.items():
        Path(name).write_text(text)


# --- validate ---


def test_a_valid_file_is_said_to_be_valid():
    ran = run("validate", "good.yaml", "@examples/quickstart")
    assert (ran.stdout, ran.return_value) == ("good.yaml: valid\n@examples/quickstart: valid\n", Exit.ANSWER)


def test_of_several_files_each_has_its_problems_told():
    ran = run("validate", "bad.yaml", "good.yaml", "none.yaml", "@examples/quickstat")
    assert ran.stdout.splitlines() == [
        "bad.yaml:1:30 agents[0].backend.type: 'locl' is not allowed; did you mean 'local'?",
        "bad.yaml:2:1 colour: unknown key; allowed: agents, orchestrator, timeout_settings, mcp_servers, tools, tool_access, tool_approval, roles, ui, enable_rate_limit, rate_limits, rate_limit_store, agent, extends, profiles",
        "good.yaml: valid",
        "none.yaml: cannot be read: No such file or directory",
        "no template is called 'quickstat'; did you mean quickstart?",
    ]
    assert ran.return_value == Exit.USAGE


def test_problems_in_json_have_their_places():
    Path("above.yaml").write_text("extends: bad.yaml\nui: {display_type: simpel}\n")
    ran = run("validate", "--json", "good.yaml", "above.yaml", "none.yaml")
    good, above, none = json.loads(ran.stdout)

    assert good == {"file": "good.yaml", "valid": True, "problems": []}
    assert (above["file"], above["valid"]) == ("above.yaml", False)
    assert [(each["file"], each["line"], each["column"], each["key"]) for each in above["problems"]] == [
        ("above.yaml", 2, 6, "ui.display_type"),
        ("bad.yaml", 1, 30, "agents[0].backend.type"),
        ("bad.yaml", 2, 1, "colour"),
    ]
    assert above["problems"][0]["message"] == "'simpel' is not allowed; did you mean 'simple'?"
    assert none["problems"] == [
        {
            "file": "none.yaml",
            "line": None,
            "column": None,
            "key": "",
            "message": "cannot be read: No such file or directory",
        }
    ]
    assert ran.return_value == Exit.USAGE


def test_a_profile_is_checked_by_its_name():
    Path("team.yaml").write_text("profiles: {dev: {agent: {backend: {type: local}}}, prod: {}}\n")
    assert run("validate", "team.yaml", "--profile-name", "dev").return_value == Exit.ANSWER
    assert run("validate", "team.yaml", "--profile-name", "prod").stdout == "team.yaml:1:1 agents: missing\n"
    assert "did you mean 'prod'?" in run("validate", "team.yaml", "--profile-name", "prd").stdout
    assert run("validate", "team.yaml", MASSGEN_PROFILE="dev").return_value == Exit.ANSWER


async def test_the_command_validates_as_a_process_with_exit_code_2_for_what_is_wrong():
    good, bad = await massgen("config", "validate", "good.yaml"), await massgen("config", "validate", "bad.yaml")
    assert (good.code, good.out, good.err) == (Exit.ANSWER, "good.yaml: valid\n", "")
    assert (bad.code, len(bad.out.splitlines()), bad.err) == (Exit.USAGE, 2, "")
    assert (await massgen("config", "validate")).code == Exit.USAGE


async def test_validating_loads_nothing_that_only_a_run_needs():
    ran = await massgen("-X", "importtime", "-m", "massgen", "config", "validate", "good.yaml", program=())
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.err.splitlines()}
    assert "pydantic" in loaded
    assert not loaded & {"aiohttp", "asyncio", "litellm", "rich", "dotenv", "jsonschema"}


# --- show ---


def test_what_is_shown_is_the_merged_configuration_and_loads_again():
    Path("base.yaml").write_text(
        "extends: good.yaml\nagents: [{id: bob, backend: {type: openai, model: größer, api_key: '${MY_KEY}'}}]\n"
    )
    Path("team.yaml").write_text("extends: base.yaml\nprofiles: {dev: {ui: {display_type: none}}}\n")

    ran = run("show", "team.yaml", "--profile-name", "dev", MY_KEY=SECRET)

    assert yaml.safe_load(ran.stdout) == {
        "agents": [
            {"id": "ada", "backend": {"type": "local"}},
            {"id": "bob", "backend": {"type": "openai", "model": "größer", "api_key": "${MY_KEY}"}},
        ],
        "ui": {"display_type": "none"},
    }
    Path("again.yaml").write_text(ran.stdout)
    env = {"MY_KEY": SECRET}
    assert load(Path("again.yaml"), env).config == load(Path("team.yaml"), env, profile="dev").config
    assert ran.stderr == "massgen: from team.yaml, which extends base.yaml, which extends good.yaml, profile dev\n"


def test_a_key_that_is_written_out_is_not_shown():
    Path("team.yaml").write_text(f"agent: {{backend: {{type: openai, model: m, api_key: {SECRET}}}}}\n")
    for ran in (run("show", "team.yaml"), run("show", "team.yaml", "--json")):
        assert SECRET not in ran.output
        assert "[redacted]" in ran.stdout


def test_shown_as_json_it_comes_with_its_files_and_its_profile():
    Path("team.yaml").write_text("extends: good.yaml\nprofiles: {dev: }\n")
    ran = run("show", "team.yaml", "--json", MASSGEN_PROFILE="dev")
    assert json.loads(ran.stdout) == {
        "files": ["team.yaml", "good.yaml"],
        "profile": "dev",
        "config": {"agents": [{"id": "ada", "backend": {"type": "local"}}]},
    }
    assert ran.stderr == ""


def test_without_a_file_that_is_shown_which_a_question_is_answered_with():
    ran = run("show")
    assert yaml.safe_load(ran.stdout) == load(examples.path("quickstart"), {}).source
    assert "quickstart.yaml" in ran.stderr


async def test_a_configuration_that_is_wrong_is_not_shown():
    ran = await massgen("config", "show", "bad.yaml")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "did you mean 'local'?" in ran.err


# --- schema ---

SCHEMA = schema()
VALID = Draft202012Validator(SCHEMA)


async def test_the_command_prints_the_schema():
    ran = await massgen("config", "schema")
    assert json.loads(ran.out) == SCHEMA
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", examples.names())
def test_every_template_is_valid_by_the_schema(name):
    VALID.validate(yaml.safe_load(examples.path(name).read_text()))
    env = {variable: "http://localhost:1/v1" for each in examples.names() for variable in needs(each)}
    VALID.validate(load(examples.path(name), env).source)


@pytest.mark.parametrize("path", fields_of_config(), ids=".".join)
def test_the_schema_and_the_types_agree_about_every_field(path):
    for value in WRONG:
        data = with_value(path, value)
        try:
            Config.model_validate(data)
            right = True
        except ValidationError:
            right = False
        assert VALID.is_valid(data) == right, value


@pytest.mark.parametrize("path", fields_of_config(), ids=".".join)
def test_the_schema_refuses_unknown_keys_everywhere_and_explains_the_known_ones(path):
    data = with_value((*path[:-1], "nonsense"), 1)
    assert ("extra_body" in path[:-1] or "roles" in path[:-1]) == VALID.is_valid(data)
    described = [*_properties(SCHEMA)]
    assert path[-1] in {key for key, _ in described}
    assert all(about.get("description") for _, about in described)


def _properties(part: Any) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(part, dict):
        return []
    own = [] if "then" in part and "type" not in part else [*part.get("properties", {}).items()]
    return [
        *own,
        *(
            found
            for key, each in part.items()
            if key in ("$defs", "Profile")
            for inner in [*each.values()]
            for found in _properties(inner)
        ),
    ]


@pytest.mark.parametrize(
    ("data", "valid"),
    [
        ({"agent": {"backend": BACKEND}}, True),
        ({"agent": {"backend": BACKEND}, "agents": [{"backend": BACKEND}]}, False),
        ({"agent": {}}, False),
        ({"agents": [{"backend": {"model": "m"}}]}, False),
        ({}, False),
        ({"extends": "base.yaml", "agents": [{"id": "ada", "backend": {"model": "m"}}]}, True),
        ({"extends": 5}, False),
        ({"profiles": {"dev": {"agent": {"backend": {"model": "m"}}}, "same": None}}, True),
        ({"agents": [{"backend": BACKEND}], "profiles": {"dev": {"orchestrater": {}}}}, False),
        ({"agents": [{"backend": BACKEND}], "profiles": {"dev": {"extends": "base.yaml"}}}, False),
        ({"agents": [{"backend": BACKEND}], "profiles": {"dev": {"ui": {"display_type": 5}}}}, False),
        ({"agents": [{"id": "${NAME}", "backend": {**BACKEND, "type": "${KIND}"}}]}, True),
        ({"agents": [{"id": "$NAME", "backend": {**BACKEND, "type": "KIND"}}]}, False),
    ],
)
def test_the_schema_knows_the_layers_the_single_form_and_variables(data, valid):
    assert VALID.is_valid(data) == valid


def test_texts_are_found_beneath_fields_and_members():
    told = texts_below(errors)
    assert told["Exit.ANSWER"] == "The final answer was printed."
    inherited = {name: field_texts()[f"{name}.mcp_servers"] for name in ("AgentConfig", "BackendConfig")}
    assert inherited == dict.fromkeys(inherited, texts_below(config_tools)["ToolUser.mcp_servers"])


# --- the public MassGen's configurations ---


def test_a_plain_configuration_of_the_public_massgen_loads():
    data = {
        "agent": {
            "id": "a",
            "backend": {"type": "gemini", "model": "gemini-3-flash-preview", "enable_web_search": True},
            "system_message": "x",
        },
        "ui": {"display_type": "textual_terminal", "logging_enabled": True},
    }
    assert [*parse(data, {}).config.named_agents] == ["a"]


def test_what_it_had_and_we_have_not_is_told_with_what_to_do_instead():
    Path("old.yaml").write_text(
        "agents: [{id: a, backend: {type: claude_code, cwd: w}}]\norchestrator: {snapshot_storage: s}\n"
    )
    lines = run("validate", "old.yaml").stdout.splitlines()
    assert [re.split(r": |; ", line)[0] for line in lines] == [
        "old.yaml:1:28 agents[0].backend.type",
        "old.yaml:1:47 agents[0].backend.cwd",
        "old.yaml:2:16 orchestrator.snapshot_storage",
    ]
    assert all("the public MassGen's: " in line for line in lines)
