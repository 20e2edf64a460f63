from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from massgen.config import layers
from massgen.config.loading import Loaded, load, parse
from massgen.errors import ConfigError

BACKEND = {"type": "chatcompletion", "base_url": "http://localhost:8000/v1", "model": "m"}
BASE = {
    "agents": [{"id": "ada", "backend": {**BACKEND, "stop": ["a", "b"]}}, {"id": "bob", "backend": BACKEND}],
    "orchestrator": {"stop": "decided", "coordination": {"max_orchestration_restarts": 2}},
}


def write(name: str, data: Any) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data, sort_keys=False))
    return path


def problems(do: Callable[[], Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        do()
    return [*caught.value.problems]


def names(loaded: Loaded) -> list[str]:
    return [*loaded.config.named_agents]


# --- extends ---


def test_what_a_file_extends_lies_beneath_it_key_by_key():
    write("base/team.yaml", BASE)
    path = write("team.yaml", {"extends": "base/team.yaml", "orchestrator": {"stop": "consensus", "skip_voting": True}})

    found = load(path, {})

    orchestrator = found.config.orchestrator
    assert (orchestrator.stop, orchestrator.skip_voting) == ("consensus", True)
    assert orchestrator.coordination.max_orchestration_restarts == 2
    assert names(found) == ["ada", "bob"]
    assert found.files == ("team.yaml", "base/team.yaml")
    assert found.source["orchestrator"]["stop"] == "consensus"
    assert found.source.keys() == {"agents", "orchestrator"}


def test_an_agent_of_the_same_id_is_changed_and_another_is_added():
    write("base.yaml", BASE)
    change = [{"id": "bob", "backend": {"model": "big"}, "role": "critic"}, {"id": "cy", "backend": BACKEND}]

    agents = load(write("team.yaml", {"extends": "base.yaml", "agents": change}), {}).config.named_agents

    assert [*agents] == ["ada", "bob", "cy"]
    assert (agents["bob"].backend.model, agents["bob"].backend.type, agents["bob"].role) == (
        "big",
        "chatcompletion",
        "critic",
    )


def test_an_agent_without_an_id_is_known_by_its_place_in_its_file():
    nameless = {"agents": [{"backend": BACKEND}, {"backend": BACKEND}]}
    write("base.yaml", nameless)

    for change in ([{"backend": {"model": "x"}}], [{"id": "agent1", "backend": {"model": "x"}}]):
        found = load(write("team.yaml", {"extends": "base.yaml", "agents": change}), {})
        assert [agent.backend.model for agent in found.config.agents] == ["x", "m"]


def test_lists_and_values_are_replaced_and_null_takes_back():
    write("base.yaml", {"agent": {"id": "ada", "backend": {**BACKEND, "stop": ["a", "b"], "seed": 5}}})
    path = write(
        "team.yaml", {"extends": "base.yaml", "agent": {"id": "ada", "backend": {"stop": ["c"], "seed": None}}}
    )

    backend = load(path, {}).config.agents[0].backend
    assert (backend.stop, backend.seed) == (["c"], None)


def test_two_agents_of_one_id_are_told_also_where_they_would_change_the_same_one():
    write("base.yaml", BASE)
    again = [{"id": "ada", "backend": BACKEND}] * 2
    (line,) = problems(lambda: load(write("team.yaml", {"extends": "base.yaml", "agents": again}), {}))
    assert line.endswith("two agents are called 'ada'; give each its own id")


def test_a_chain_of_files_is_followed_each_from_its_own_folder():
    write("deep/er/top.yaml", BASE)
    write("deep/middle.yaml", {"extends": "er/top.yaml", "timeout_settings": {"turn_timeout_seconds": 5}})
    found = load(write("team.yaml", {"extends": "deep/middle.yaml"}), {})
    assert found.files == ("team.yaml", "deep/middle.yaml", "deep/er/top.yaml")
    assert found.config.timeout_settings.turn_timeout_seconds == 5


def test_a_template_can_be_extended_by_its_name():
    found = load(write("team.yaml", "extends: '@examples/quickstart'\norchestrator: {skip_voting: true}"), {})
    assert found.config.orchestrator.skip_voting
    assert {agent.backend.type for agent in found.config.agents} == {"local"}


def test_data_may_extend_a_file_of_the_working_directory():
    write("base.yaml", BASE)
    found = parse({"extends": "base.yaml", "agents": [{"id": "ada", "role": "writer"}]}, {})
    assert found.config.agents[0].role == "writer"


def test_each_problem_is_told_with_the_file_it_is_in_the_first_file_first():
    write("base.yaml", "agents:\n  - id: ada\n    backend: {type: local, modle: x}\nui: {}\nui: {}\n")
    path = write("team.yaml", "extends: base.yaml\norchestrator: {stop: now}\nagents:\n  - {id: bob}\n")
    assert problems(lambda: load(path, {})) == [
        "team.yaml:2:16 orchestrator.stop: 'now' is not allowed; allowed: consensus, decided",
        "team.yaml:4:5 agents[0].backend: missing",
        "base.yaml:3:28 agents[0].backend.modle: unknown key; did you mean 'model'?",
        "base.yaml:5:1 ui: this key is here twice",
    ]


@pytest.mark.parametrize(
    ("extends", "why"),
    [
        ("none.yaml", "none.yaml: cannot be read: No such file or directory"),
        ("folder", "folder: a folder, not a configuration file"),
        ("list.yaml", "list.yaml is no configuration: that is a mapping"),
        ("team.yaml", "this goes in a circle: team.yaml -> team.yaml"),
        ("circle.yaml", "this goes in a circle: team.yaml -> circle.yaml -> team.yaml"),
        ("'@examples/quickstat'", "no template is called 'quickstat'; did you mean quickstart?"),
        ("5", "5 is no file; write its path, or @examples/NAME"),
        ("[a.yaml, b.yaml]", "a list is no file; write its path, or @examples/NAME"),
        ("''", "'' is no file; write its path, or @examples/NAME"),
        (r'"a\0b"', r"'a\x00b' is no file; write its path, or @examples/NAME"),
        ("large.yaml", "far too many values, all files together"),
    ],
)
def test_what_cannot_be_extended_is_told_beside_the_other_problems(extends, why):
    Path("folder").mkdir()
    write("list.yaml", "- a")
    write("circle.yaml", "extends: ./team.yaml")
    write("large.yaml", "roles:\n" + "".join(f"  r{n}: x\n" for n in range(9_996)))
    path = write("team.yaml", f"extends: {extends}\ncolour: blue\n")

    first, second = problems(lambda: load(path, {}))

    place = "circle.yaml:1:1" if extends == "circle.yaml" else "team.yaml:1:1"
    assert {first, second} >= {f"{place} extends: {why}"}
    assert "colour: unknown key" in first + second


def test_a_base_that_is_no_yaml_is_told_with_its_own_place():
    write("base.yaml", "a: [")
    assert problems(lambda: load(write("team.yaml", "extends: base.yaml"), {})) == [
        "base.yaml:2:1 not YAML: did not find expected node content"
    ]


def test_a_chain_that_is_too_long_is_refused():
    for number in range(layers.MAX_CHAIN + 2):
        write(f"{number}.yaml", {"extends": f"{number + 1}.yaml"})
    assert problems(lambda: load(Path("0.yaml"), {})) == [
        f"{layers.MAX_CHAIN}.yaml:1:1 extends: more than {layers.MAX_CHAIN} files that extend each other"
    ]
    write(f"{layers.MAX_CHAIN}.yaml", BASE)
    assert names(load(Path("0.yaml"), {})) == ["ada", "bob"]


# --- the single form ---


def test_an_agent_is_a_team_of_one():
    found = parse({"agent": {"id": "solo", "backend": BACKEND}})
    assert names(found) == ["solo"]
    assert found.source == {"agents": [{"id": "solo", "backend": BACKEND}]}


def test_problems_of_the_single_form_are_told_by_the_key_that_is_there():
    path = write("team.yaml", "agent:\n  backend: {type: openai, modle: x}\n")
    assert problems(lambda: load(path, {})) == [
        "team.yaml:2:27 agent.backend.modle: unknown key; did you mean 'model'?"
    ]


def test_agent_and_agents_do_not_go_together():
    path = write("team.yaml", {"agent": {"backend": BACKEND}, "agents": [{"backend": BACKEND}]})
    assert problems(lambda: load(path, {})) == ["team.yaml:1:1 agent: `agents` is here too; write one of them"]


# --- profiles ---

PROFILES = {
    **BASE,
    "profiles": {
        "dev": {"agents": [{"id": "ada", "backend": {"model": "small"}}], "orchestrator": {"skip_voting": True}},
        "prod": {"agents": [{"id": "ada", "backend": {"model": "big", "api_key": "${PROD_KEY}"}}]},
        "same": None,
    },
}


@pytest.mark.parametrize(
    ("profile", "env", "model"),
    [
        ("", {}, "m"),
        ("dev", {}, "small"),
        ("", {"MASSGEN_PROFILE": "dev"}, "small"),
        ("same", {"MASSGEN_PROFILE": "dev"}, "m"),
        ("prod", {"PROD_KEY": "sk-0123456789"}, "big"),
        ("", {"MASSGEN_PROFILE": ""}, "m"),
    ],
)
def test_a_profile_is_chosen_by_name_or_else_by_the_variable(profile, env, model):
    for found in (load(write("team.yaml", PROFILES), env, profile=profile), parse(PROFILES, env, profile=profile)):
        assert found.config.agents[0].backend.model == model
        assert found.profile == (profile or env.get("MASSGEN_PROFILE", ""))
        assert "profiles" not in found.source
        assert parse(found.source, env).config == found.config.model_copy()


def test_the_variable_may_stand_in_a_dotenv_file():
    Path(".env").write_text("MASSGEN_PROFILE=dev\n")
    assert load(write("team.yaml", PROFILES)).profile == "dev"


def test_profiles_are_inherited_and_merged():
    write("base.yaml", PROFILES)
    own = {"extends": "base.yaml", "profiles": {"dev": {"orchestrator": {"stop": "consensus"}}, "test": {"ui": {}}}}
    found = load(write("team.yaml", own), {}, profile="dev")

    assert found.config.orchestrator.skip_voting
    assert found.config.orchestrator.stop == "consensus"
    assert found.config.agents[0].backend.model == "small"
    assert load(Path("team.yaml"), {}, profile="test").profile == "test"


def test_a_profile_may_use_the_single_form():
    data = {"agent": {"backend": BACKEND}, "profiles": {"dev": {"agent": {"backend": {"model": "small"}}}}}
    assert [agent.backend.model for agent in parse(data, {}, profile="dev").config.agents] == ["small"]


def test_profiles_of_several_files_may_differ_in_the_form_of_the_team():
    one, other = ({"agent": {"role": "critic"}}, {"agents": [{"backend": {"model": "small"}}]})
    write("base.yaml", {"agent": {"backend": BACKEND}, "profiles": {"dev": one}})
    found = load(write("team.yaml", {"extends": "base.yaml", "profiles": {"dev": other}}), {}, profile="dev")
    (agent,) = found.config.agents
    assert (agent.role, agent.backend.model, agent.backend.type) == ("critic", "small", "chatcompletion")


@pytest.mark.parametrize(
    ("profile", "env", "why"),
    [
        ("x" * 99, {}, f"no profile is called '{'x' * 56}...; there are: dev, prod, same"),
        ("prd", {}, "no profile is called 'prd'; did you mean 'prod'?"),
        ("zzz", {}, "no profile is called 'zzz'; there are: dev, prod, same"),
        ("", {"MASSGEN_PROFILE": "prd"}, "no profile is called 'prd' (from MASSGEN_PROFILE); did you mean 'prod'?"),
    ],
)
def test_a_profile_that_is_not_there_is_told_beside_the_other_problems(profile, env, why):
    path = write("team.yaml", {**PROFILES, "colour": "blue"})
    first, second = problems(lambda: load(path, env, profile=profile))
    assert first == f"team.yaml: {why}"
    assert "colour: unknown key" in second


def test_a_configuration_without_profiles_ignores_the_variable_but_not_a_name():
    path = write("team.yaml", BASE)
    assert load(path, {"MASSGEN_PROFILE": "dev"}).profile == ""
    assert problems(lambda: load(path, {}, profile="dev")) == ["team.yaml: no profile is called 'dev'; there are none"]


def test_what_a_profile_says_is_checked_whether_it_is_chosen_or_not():
    path = write(
        "team.yaml",
        "agents: [{id: ada, backend: {type: local}}]\n"
        "profiles:\n"
        "  dev: {orchestrator: {stpo: decided}}\n"
        "  prod:\n"
        "    agents: [{id: ada, backend: {temperature: 9, api_key: '${NO_KEY}'}}, {id: bob}]\n"
        "    extends: base.yaml\n"
        "  test: [a]\n",
    )
    told = [
        "team.yaml:3:24 profiles.dev.orchestrator.stpo: unknown key; did you mean 'stop'?",
        "team.yaml:5:34 profiles.prod.agents[0].backend.temperature: 9: input should be less than or equal to 2",
        "team.yaml:5:74 profiles.prod.agents[1].backend: missing",
        "team.yaml:6:5 profiles.prod.extends: unknown key; allowed: agents, orchestrator, timeout_settings, mcp_servers, tools, tool_access, tool_approval, roles, ui, enable_rate_limit, rate_limits, rate_limit_store, agent",
        "team.yaml:7:3 profiles.test: a list: a profile is a mapping, like the file itself",
    ]
    assert problems(lambda: load(path, {})) == told
    chosen = problems(lambda: load(path, {}, profile="prod"))
    assert {*chosen} == {
        *told,
        "team.yaml:5:50 profiles.prod.agents[0].backend.api_key: the variable NO_KEY is not set",
    }


def test_what_only_an_unchosen_profile_lacks_is_no_problem():
    data = {
        "agent": {"backend": {"type": "openai"}},
        "profiles": {"dev": {"agent": {"backend": {"model": "m"}}}, "x": {}},
    }
    assert parse(data, {}, profile="dev").config.agents[0].backend.model == "m"
    assert problems(lambda: parse(data, {})) == [
        "config: agent.backend.model: missing; a backend of type openai needs it"
    ]


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ([], "a list: profiles are a mapping, by their names"),
        ({f"p{n}": {} for n in range(21)}, "more than 20 profiles"),
    ],
)
def test_profiles_are_a_bounded_mapping(section, why):
    assert problems(lambda: parse({**BASE, "profiles": section}, {})) == [f"config: profiles: {why}"]


def test_secrets_of_no_profile_are_shown():
    secret = "sk-0123456789abcdef"
    path = write(
        "team.yaml",
        {**BASE, "profiles": {"dev": {"agent": {"id": "x", "backend": {"api_key": secret, "type": secret}}}}},
    )
    assert secret not in "".join(problems(lambda: load(path, {})))
