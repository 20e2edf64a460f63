import contextlib
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from massgen.backends.providers import PROVIDERS
from massgen.config import (
    AgentConfig,
    BackendConfig,
    Config,
    CoordinationConfig,
    OrchestratorConfig,
    ReasoningConfig,
    TextConfig,
    TimeoutSettings,
    UiConfig,
)
from massgen.config.loading import MAX_PROBLEMS, Loaded, environment, load, parse
from massgen.errors import ConfigError, Exit

GOOD = """\
agents:
  - id: ada
    backend:
      type: chatcompletion
      base_url: http://localhost:8000/v1
      model: some-model
"""
KEYS = (
    "agents, orchestrator, timeout_settings, mcp_servers, tools, tool_access, tool_approval, roles, ui, enable_rate_limit, "
    "rate_limits, rate_limit_store, agent, extends, profiles"
)
SECRET = "sk-1234567890abcdef"
BACKEND = {"type": "chatcompletion", "base_url": "http://localhost:8000/v1", "model": "m"}


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., list[str]]:
    """The problems of a configuration, `team.yaml` for its path."""

    def problems(text: str | bytes, **env: str) -> list[str]:
        path = tmp_path / "team.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(ConfigError) as caught:
            load(path, env)
        assert caught.value.exit_code is Exit.USAGE
        assert str(caught.value) == "\n".join(caught.value.problems)
        assert all("\n" not in line and len(line) < 600 for line in caught.value.problems)
        return [line.replace(str(path), "team.yaml") for line in caught.value.problems]

    return problems


_BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in itertools.pairwise("abcdefgh")
)


_CROWD = f"""\
roles: {{{", ".join(f"role{n}: x" for n in range(2_000))}}}
agents: [{", ".join(["{role: rule, id: a}"] * 1_000)}]
profiles: {{{", ".join(f"p{n}: {{agents: [{', '.join(['{id: b}'] * 80)}]}}" for n in range(20))}}}
"""


def loaded(tmp_path: Path, text: str, **env: str) -> Loaded:
    path = tmp_path / "team.yaml"
    path.write_text(text)
    return load(path, env)


def test_a_good_file_becomes_a_typed_configuration(tmp_path):
    config = loaded(tmp_path, GOOD).config

    assert config.agents[0].backend.model == "some-model"
    assert config.orchestrator == OrchestratorConfig()
    assert [*config.named_agents] == ["ada"]


def test_agents_without_an_id_are_named_by_their_place():
    agents = [{"backend": BACKEND}, {"id": "ada", "backend": BACKEND}, {"backend": BACKEND}]

    assert [*parse({"agents": agents}).config.named_agents] == ["agent1", "ada", "agent3"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("agnets: []", "team.yaml:7:1 agnets: unknown key; did you mean 'agents'?"),
        ("timeouts: {}", "team.yaml:7:1 timeouts: unknown key; did you mean 'timeout_settings'?"),
        ("colour: blue", f"team.yaml:7:1 colour: unknown key; allowed: {KEYS}"),
        ("    idd: x", "team.yaml:7:5 agents[0].idd: unknown key; did you mean 'id'?"),
        ("      modle: x", "team.yaml:7:7 agents[0].backend.modle: unknown key; did you mean 'model'?"),
        (
            "orchestrator:\n  patience: 3",
            "team.yaml:8:3 orchestrator.patience: unknown key; did you mean 'patience_seconds'?",
        ),
        (
            "orchestrator: {coordination: {max_restarts: 1}}",
            "team.yaml:7:31 orchestrator.coordination.max_restarts: unknown key; "
            "did you mean 'max_orchestration_restarts'?",
        ),
        (
            "timeout_settings: {turn_timeout: 1}",
            "team.yaml:7:20 timeout_settings.turn_timeout: unknown key; did you mean 'turn_timeout_seconds'?",
        ),
        ("<<: {a: 1}", f"team.yaml:7:1 <<: unknown key; allowed: {KEYS}"),
    ],
)
def test_an_unknown_key_is_told_with_its_place_and_what_was_meant(refused, line, problem):
    assert refused(f"{GOOD}{line}\n") == [problem]


def test_every_problem_is_told_at_once_in_the_order_of_the_file(refused):
    text = """\
agents:
  - id: ada
    backend: {type: opneai, model: x, temperature: 9}
  - id: ada
    backend: {type: chatcompletion, model: "${NO_SUCH}"}
  - {}
orchestrator:
  stop: never
  skip_voting: 1
  stop: consensus
colour: blue
"""
    assert refused(text) == [
        "team.yaml:3:15 agents[0].backend.type: 'opneai' is not allowed; did you mean 'openai'?",
        "team.yaml:3:39 agents[0].backend.temperature: 9: input should be less than or equal to 2",
        "team.yaml:4:5 agents[1].id: two agents are called 'ada'; give each its own id",
        "team.yaml:5:5 agents[1].backend.base_url: missing; a chatcompletion backend needs it, "
        "e.g. http://localhost:8000/v1",
        "team.yaml:5:37 agents[1].backend.model: the variable NO_SUCH is not set",
        "team.yaml:6:5 agents[2].backend: missing",
        "team.yaml:9:3 orchestrator.skip_voting: 1: input should be a valid boolean",
        "team.yaml:10:3 orchestrator.stop: this key is here twice",
        f"team.yaml:11:1 colour: unknown key; allowed: {KEYS}",
    ]


def test_a_value_that_is_not_allowed_is_told_with_those_that_are(refused):
    assert refused(f"{GOOD}orchestrator: {{stop: zzz}}") == [
        "team.yaml:7:16 orchestrator.stop: 'zzz' is not allowed; allowed: consensus, decided"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: b: c", "team.yaml:1:5 not YAML: mapping values are not allowed in this context"),
        ("agents:\n\t- id: a", "team.yaml:2:1 not YAML: found character that cannot start any token"),
        ("agents: [", "team.yaml:2:1 not YAML: did not find expected node content"),
        ("agents: *nobody", "team.yaml:1:9 not YAML: found undefined alias"),
        ("a: 1\n---\nb: 2", "team.yaml:2:1 not YAML: but found another document"),
        ("%YAML 3", "team.yaml:1:8 not YAML: did not find expected digit or '.' character"),
        ("a: \0", "team.yaml: not YAML: unacceptable character #x0000: control characters are not allowed"),
        ("", "team.yaml: a configuration is a mapping that begins with `agents:`"),
        ("# nothing", "team.yaml: a configuration is a mapping that begins with `agents:`"),
        ("- agents", "team.yaml: a configuration is a mapping that begins with `agents:`"),
        ("just words", "team.yaml: a configuration is a mapping that begins with `agents:`"),
        ("{}", "team.yaml:1:1 agents: missing"),
        ("agents: []", "team.yaml:1:1 agents: a list: list should have at least 1 item after validation, not 0"),
        (b"\x89PNG\r\n\x1a\n", "team.yaml: not UTF-8 text (byte 0x89 at 0)"),
    ],
)
def test_what_is_no_configuration_is_told_in_one_line(refused, text, problem):
    (line,) = refused(text)
    assert line.startswith(problem)


def test_a_missing_file_a_folder_and_a_large_file_are_refused(tmp_path):
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * 10_000_000)
    for path, why in [
        (tmp_path / "none.yaml", "cannot be read: No such file or directory"),
        (tmp_path, "a folder, not a configuration file"),
        (tmp_path / "a\0b", "cannot be read: embedded null byte"),
        (large, "larger than 1,000,000 bytes; that is no configuration"),
    ]:
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert str(caught.value) == f"{path}: {why}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("agents: &a [*a]", "an alias that contains itself"),
        ("agents: &a {b: *a, c: *a}", "an alias that contains itself"),
        (_BOMB, "far too many values"),
        ("[" * 500_000, "more than 50 levels"),
        ("{a: " * 100_000, "more than 50 levels"),
        ("".join(f"k{n}: {n}\n" for n in range(9_000)), "and 8,801 more problems"),
        ("".join(f"k{n}: {n}\n" for n in range(60_000)), "far too many values"),
        (_CROWD, "more problems"),
    ],
    ids=["self", "twice itself", "bomb", "deep list", "deep mapping", "many unknown keys", "many values", "crowd"],
)
def test_hostile_files_are_refused_fast(refused, text, why):
    began = time.process_time()
    problems = refused(text)
    assert why in problems[-1]
    assert len(problems) <= MAX_PROBLEMS + 1
    assert time.process_time() - began < 5


def test_aliases_may_be_used(tmp_path):
    text = GOOD.replace("backend:", "backend: &b") + "  - {id: bob, backend: *b}\n"
    config = loaded(tmp_path, text).config
    assert config.agents[0].backend == config.agents[1].backend


WRONG: list[Any] = [None, True, 7, 1.5, "text", [1], {"a": 1}]


def fields_of_config() -> list[tuple[str, ...]]:
    shapes: dict[tuple[str, ...], type[Any]] = {
        (): Config,
        ("agents", "0"): AgentConfig,
        ("agents", "0", "backend"): BackendConfig,
        ("agents", "0", "backend", "reasoning"): ReasoningConfig,
        ("agents", "0", "backend", "text"): TextConfig,
        ("orchestrator",): OrchestratorConfig,
        ("orchestrator", "coordination"): CoordinationConfig,
        ("timeout_settings",): TimeoutSettings,
        ("ui",): UiConfig,
    }
    return [(*path, name) for path, model in shapes.items() for name in model.model_fields]


def with_value(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"agents": [{"id": "a", "backend": {**BACKEND}}]}
    at: Any = data
    for step in path[:-1]:
        at = at[int(step)] if step.isdigit() else at.setdefault(step, {})
    at[path[-1]] = value
    return data


def _refusal(data: Any) -> str:
    """The problems of `data`; empty if it is a configuration. Any other exception is the test's failure."""
    try:
        parse(data, {"HOME": "/home"})
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("path", fields_of_config(), ids=".".join)
def test_a_value_of_the_wrong_type_is_told_with_its_place(path):
    """Of these, no field takes more than three: `system_message` text, `seed` numbers and null, `extra_body` mappings."""
    shown = ".".join(path).replace(".0", "[0]")
    refusals = [refusal for value in WRONG if (refusal := _refusal(with_value(path, value)))]
    assert len(refusals) >= len(WRONG) - 3
    assert all(f"config: {shown}" in refusal for refusal in refusals)


@pytest.mark.parametrize(
    "value",
    ["!!bool maybe", "!!timestamp soon", "!!int ''", "!!float ''", "!!int '0b'", "!thing x", "=", "!!python/name:os.system x"],
)  # fmt: skip
def test_a_value_that_its_tag_does_not_fit_is_a_problem_in_its_place(refused, value):
    (line,) = refused(GOOD.replace("some-model", value))
    assert line.startswith("team.yaml:6:7 agents[0].backend.model: no valid ")


@pytest.mark.parametrize(
    "value", ["2024-01-31", "!!binary aGk=", ".nan", ".inf", "9223372036854775808", "0x" + "f" * 9000]
)
def test_a_value_that_json_does_not_have_is_a_problem_anywhere(refused, value):
    (line,) = refused(f"{GOOD}      extra_body: {{deep: [{value}]}}")
    assert line.startswith("team.yaml:7:27 agents[0].backend.extra_body.deep[0]: ")
    assert line.endswith("is not text, a usual number, true, false or null")


def test_keys_that_are_no_words_are_shown_safely(refused):
    lines = refused(f'{GOOD}? [1, 2]\n: x\n? {{}}\n: y\n"a\\nb": 1\n{"k" * 900}: 1\n7: 1\n')
    shown = [line.split(" ", 1)[1].partition(":")[0] for line in lines]
    assert shown == ["'?'", r"'a\nb'", f"'{'k' * 56}...", "7"]


def test_names_collide_also_with_those_given_by_place(refused):
    text = f"{GOOD.replace('ada', 'agent2')}  - backend: {{type: local}}\n"
    assert refused(text) == ["team.yaml:7:5 agents[1].id: two agents are called 'agent2'; give each its own id"]


def test_a_backend_that_cannot_guess_its_model_needs_one(refused):
    assert refused("agents: [{backend: {type: claude}}]") == [
        "team.yaml:1:11 agents[0].backend.model: missing; a backend of type claude needs it"
    ]
    for row in PROVIDERS.values():
        data = {"agents": [{"backend": {"type": row.type, "base_url": "http://localhost/v1"}}]}
        assert (not _refusal(data)) == (row.lists_models or row.type == "local")


def test_a_misspelt_key_is_not_told_as_a_missing_one_too(refused):
    assert refused(GOOD.replace("model:", "modle:")) == [
        "team.yaml:6:7 agents[0].backend.modle: unknown key; did you mean 'model'?"
    ]


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "http:// host", "file:///etc/passwd"])
def test_a_base_url_is_an_http_address(refused, url):
    (line,) = refused(GOOD.replace("http://localhost:8000/v1", url))
    assert line == (
        f"team.yaml:5:7 agents[0].backend.base_url: {url!r} is no address; one looks like http://localhost:8000/v1"
    )


# --- variables and secrets ---


def test_variables_come_from_the_environment_and_keep_their_names_in_the_source(tmp_path):
    text = GOOD.replace("some-model", "${MODEL}-${SIZE}") + "      api_key: ${MY_KEY}\n"
    found = loaded(tmp_path, text, MODEL="big", SIZE="7b", MY_KEY=SECRET)

    assert found.config.agents[0].backend.model == "big-7b"
    assert found.config.agents[0].backend.api_key.get_secret_value() == SECRET
    assert found.secrets == (SECRET,)
    assert found.source["agents"][0]["backend"]["api_key"] == "${MY_KEY}"
    assert SECRET not in repr(found.config)


def test_variables_come_from_a_dotenv_file_too_and_the_environment_goes_first(monkeypatch):
    Path(".env").write_text(f"MODEL=from-file\nHOST=http://from-file\nEMPTY\nMY_KEY={SECRET}\n")
    monkeypatch.setenv("MODEL", "from-environment")
    backend = {"type": "ollama", "model": "${MODEL}", "base_url": "${HOST}", "api_key": "${MY_KEY}"}
    Path("team.yaml").write_text(f"agents: [{{backend: {backend}}}]")

    for found in (load(Path("team.yaml")), parse({"agents": [{"backend": backend}]})):
        got = found.config.agents[0].backend
        assert (got.model, got.base_url) == ("from-environment", "http://from-file")
        assert found.secrets == (SECRET,)


def test_an_address_in_a_dotenv_file_gets_no_key_of_the_environment(monkeypatch):
    Path(".env").write_text(
        "AZURE_OPENAI_ENDPOINT=https://elsewhere.example\nOLLAMA_API_BASE=http://127.0.0.1:1\nOTHER=1\n"
    )
    monkeypatch.setenv("AZURE_API_KEY", SECRET)
    assert {name for name in ("AZURE_OPENAI_ENDPOINT", "OLLAMA_API_BASE", "OTHER") if name in environment()} == {
        "OLLAMA_API_BASE",
        "OTHER",
    }
    with Path(".env").open("a") as file:
        file.write("AZURE_OPENAI_API_KEY=its-own\n")
    assert environment()["AZURE_OPENAI_ENDPOINT"] == "https://elsewhere.example"


def test_a_dotenv_file_that_is_no_text_is_a_problem_of_its_own():
    Path(".env").write_bytes(b"KEY=\xff\xfe")
    with pytest.raises(ConfigError, match=r"^\.env: cannot be read: "):
        parse({})


def test_a_variable_that_is_not_set_is_told_once_even_where_a_value_is_needed(refused):
    assert refused(GOOD.replace("chatcompletion", "${KIND}").replace("http://localhost:8000/v1", "${URL}")) == [
        "team.yaml:4:7 agents[0].backend.type: the variable KIND is not set",
        "team.yaml:5:7 agents[0].backend.base_url: the variable URL is not set",
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"{GOOD}      api_key: {SECRET}\n      nonsense: 1\n",
        f"{GOOD}      api_key: {SECRET}\n      api_key: {SECRET}\n",
        f"{GOOD}      api_key: [{SECRET}]\n",
        f"{GOOD}      api_key: {{{SECRET}: {SECRET}}}\n",
        f"{GOOD}      api_key: !{SECRET} {SECRET}\n",
        f"{GOOD}      api_key: !!int {SECRET}\n",
        f"{GOOD}      api_key: *{SECRET}\n",
        f"agents: {{api_key: {SECRET}}}\n",
        f"agents: [{{backend: [{{type: local, api_key: {SECRET}}}]}}]\n",
        f"agents: [[api_key, {{api_key: {SECRET}}}]]\n",
        f"{GOOD}      api_key: {SECRET}\n      seed: {SECRET}\n",
        f"{GOOD}      api_key: {SECRET}${{NO_SUCH}}\n      seed: {SECRET}\n",
        f"{GOOD}      api_key: ${{MY_KEY}}\n      seed: ${{MY_KEY}}\n",
        f"{GOOD}      type: ${{MY_KEY}}\n",
    ],
)
def test_a_key_appears_in_no_error(refused, text):
    problems = refused(text, MY_KEY=SECRET)
    shown = "".join(problems).replace(f"api_key.{SECRET}", "")  # a key of the file, not a value
    assert SECRET not in shown


@pytest.mark.parametrize("written", [SECRET, f"{SECRET}${{SUFFIX}}", f"${{SUFFIX}}{SECRET}"])
def test_a_key_that_is_written_out_is_kept_out_of_the_source_and_known_as_a_secret(tmp_path, written):
    quoted = f"'{written}'"
    extra = (
        f"      api_key: {quoted}\n      extra_body: {{api-key: {quoted}, headers: [{{Authorization: {quoted}}}]}}\n"
    )
    found = loaded(tmp_path, GOOD + extra, SUFFIX="x1")

    assert SECRET not in str(found.source)
    assert [secret for secret in found.secrets if SECRET in secret]
    assert found.config.agents[0].backend.extra_body["api-key"] == written.replace("${SUFFIX}", "x1")


def test_limits_of_tokens_are_no_secrets():
    found = parse({"agents": [{"backend": {**BACKEND, "max_tokens": 5, "extra_body": {"min_tokens": "7"}}}]})
    assert found.secrets == ()
    assert found.source["agents"][0]["backend"]["extra_body"] == {"min_tokens": "7"}


# --- data instead of a file ---


def test_data_may_be_any_mappings_and_sequences_and_is_left_as_it_was():
    data = MappingProxyType({"agents": ({"backend": MappingProxyType(BACKEND)},)})
    assert parse(data).config.agents[0].backend.model == "m"
    assert parse(data).source == {"agents": [{"backend": BACKEND}]}


@pytest.mark.parametrize("data", [5, "text", [], None, object()])
def test_data_that_is_no_mapping_is_refused(data):
    with pytest.raises(ConfigError, match="config: a configuration is a mapping that begins with `agents:`"):
        parse(data)


def test_data_that_contains_itself_or_objects_is_refused():
    circle: dict[str, Any] = {}
    circle["agents"] = circle
    for data, why in [(circle, "contains itself"), ({"agents": [object()]}, "is not text"), ({1: 2}, "1: unknown key")]:
        with pytest.raises(ConfigError, match=why):
            parse(data)


def test_a_role_stands_for_its_instructions_which_go_before_the_agents_own():
    team = [{"role": "critic"}, {"role": "own", "system_message": "Be brief."}, {"role": "writer"}, {}]
    data = {"roles": {"own": "Be kind.", "writer": "Rhyme."}, "agents": [{**each, "backend": BACKEND} for each in team]}
    config = parse(data).config
    told = [config.instructions(agent) for agent in config.agents]
    assert told[0].startswith("You are a critic.")
    assert told[1:] == ["Be kind.\n\nBe brief.", "Rhyme.", ""]


@pytest.mark.parametrize(
    ("role", "hint"), [("critc", "did you mean 'critic'?"), ("zzz", "massgen's: analyst, critic, ")]
)
def test_a_role_that_is_not_there_is_told_with_the_nearest_or_all(refused, role, hint):
    (line,) = refused(f"{GOOD}    role: {role}\n")
    assert line.startswith(f"team.yaml:7:5 agents[0].role: no role is called {role!r}; {hint}")


# --- one truth about defaults ---


def test_the_defaults_of_a_configuration_are_those_of_the_rules_and_times():
    from massgen.conversation import rules, times
    from massgen.coordination import Rules
    from massgen.orchestrator import Times

    assert rules(OrchestratorConfig()) == Rules()
    assert times(parse({"agents": [{"backend": BACKEND}]}).config) == Times()


# --- anything at all ---

_leaf = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["${HOME}", "${X}"])
)
_anything = st.recursive(_leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6)  # fmt: skip


def _values(name: str) -> st.SearchStrategy[Any]:
    good = {
        "type": st.sampled_from(["local", "openai", "claude", "vllm", "chatcompletion"]),
        "base_url": st.just("http://localhost:1/v1"),
        "id": st.sampled_from(["ada", "bob", "agent1", "agent2"]),
        "extra_body": st.dictionaries(st.text(max_size=4), _anything, max_size=2),
        "stop": st.lists(st.text(max_size=3), max_size=2),
        "skip_voting": st.booleans(),
    }
    return good.get(name, st.text(max_size=4) | st.integers(0, 5) | st.floats(0, 5))


def _section(model: type[Any], **inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    right = {name: inner.get(name, _values(name)) for name in model.model_fields}
    mutated = {name: strategy | _anything for name, strategy in right.items()}
    required = {name: right[name] for name, about in model.model_fields.items() if about.is_required()}
    optional = {name: mutated[name] for name in right if name not in required}
    whole = st.fixed_dictionaries(required, optional=optional)
    return whole | st.tuples(whole, st.dictionaries(st.text(max_size=6), _anything, max_size=1)).map(lambda two: {**two[0], **two[1]})  # fmt: skip


_backend = _section(BackendConfig)
_agents = st.lists(_section(AgentConfig, backend=_backend), min_size=1, max_size=3)
_configs = _section(Config, agents=_agents, orchestrator=_section(OrchestratorConfig))


@given(data=_configs | st.dictionaries(st.sampled_from([*Config.model_fields]), _anything) | _anything)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_data_becomes_a_configuration_or_a_config_error(data):
    if not _refusal(data):
        source = parse(data, {"HOME": "/home"}).source
        assert not _refusal(source)
        assert json.loads(json.dumps(source)) == source


@given(text=st.text(alphabet=st.sampled_from("a:-[]{}&*!|>'\"%@#\n\t ,?0.~"), max_size=60) | st.binary(max_size=40))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_becomes_a_configuration_or_a_config_error(tmp_path, text):
    path = tmp_path / "any.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with contextlib.suppress(ConfigError):
        load(path, {})
