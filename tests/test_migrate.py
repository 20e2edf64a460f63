import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from massgen.commands.migrate import migrate as command
from massgen.config.migration import Migrated, migrate, rewrite
from massgen.errors import ConfigError, Exit, UsageError

OURS = """\
# Two agents
agents:
  - id: ada   # the first
    backend: {type: openai, model: gpt-5.4, reasoning: {effort: low}}
  - id: bob
    backend:
      type: chatcompletion
      model: ${MODEL}
      base_url: http://localhost:8000/v1
orchestrator:
  voting_sensitivity: strict
"""
OLD = """\
# My team
agents:
  - id: ada
    backend:
      type: openai
      model: gpt-5.4      # the best
      cwd: work           # where it writes

      enable_mcp_command_line: true
      mcp_servers:
        - name: files
          command: npx
          args: ["a", "b"]
          defer_loading: true
    system_message: |
      Be kind.

      cwd: is no key here
orchestrator:
  snapshot_storage: snapshots
  agent_temporary_workspace: temp
  # How they vote
  voting_sensitivity: checklist_gated
  skip_final_presentation: yes
ui:
  type: 'textual_terminal'
"""
NEW = """\
# My team
agents:
  - id: ada
    backend:
      type: openai
      model: gpt-5.4      # the best
      # massgen: agents write files through a server of tools with `workspace: true`; give them yours with the question: massgen --context FILE
      # cwd: work           # where it writes

      # massgen: tools are MCP servers (`mcp_servers`) or Python functions (`tools`)
      # enable_mcp_command_line: true
      mcp_servers:
        - name: files
          command: npx
          args: ["a", "b"]
          # massgen: all tools are offered from the start; name those that are needed in `allowed_tools`
          # defer_loading: true
    system_message: |
      Be kind.

      cwd: is no key here
orchestrator:
  # massgen: agents write files through a server of tools with `workspace: true`
  # snapshot_storage: snapshots
  # agent_temporary_workspace: temp
  # How they vote
  voting_sensitivity: strict
  final_answer_strategy: winner_reuse
ui:
  display_type: 'textual_terminal'
"""


@pytest.fixture
def migrated(tmp_path: Path) -> Callable[[str], Migrated]:
    """The configuration of that text, migrated: its old file is as it was, and nothing is left beside it."""

    def run(text: str) -> Migrated:
        old = tmp_path / "old.yaml"
        old.write_bytes(text.encode())
        new = migrate(old)
        assert old.read_bytes() == text.encode()
        assert [*tmp_path.iterdir()] == [old]
        assert rewrite(new.text) == (new.text, ())
        return new

    return run


def team(*lines: str, key: str = "agents") -> str:
    return "\n".join((f"{key}:", *lines, ""))


AGENT = ("  - id: ada", "    backend: {type: openai, model: m}")


def test_our_own_configuration_stays_byte_for_byte(migrated):
    assert migrated(OURS) == Migrated(OURS, (), ())
    windows = OURS.replace("\n", "\r\n").removesuffix("\r\n")
    assert migrated(windows) == Migrated(windows, (), ())


def test_what_is_not_here_becomes_a_comment_and_all_else_stays(migrated):
    new = migrated(OLD)
    assert new.text == NEW
    assert new.problems == ()


def test_each_change_is_told_with_the_line_of_the_old_file(migrated):
    told = [(change.line, change.key, change.what.partition(";")[0]) for change in migrated(OLD).changes]
    assert told == [
        (7, "agents[0].backend.cwd", "now a comment: agents write files through a server of tools with `workspace: true`"),
        (9, "agents[0].backend.enable_mcp_command_line",
            "now a comment: tools are MCP servers (`mcp_servers`) or Python functions (`tools`)"),
        (14, "agents[0].backend.mcp_servers[0].defer_loading", "now a comment: all tools are offered from the start"),
        (20, "orchestrator.snapshot_storage", "now a comment: agents write files through a server of tools with `workspace: true`"),
        (21, "orchestrator.agent_temporary_workspace", "now a comment: agents write files through a server of tools with `workspace: true`"),
        (23, "orchestrator.voting_sensitivity", "checklist_gated is now strict, the nearest there is"),
        (24, "orchestrator.skip_final_presentation", "is now `final_answer_strategy: winner_reuse`"),
        (26, "ui.type", "is now `display_type`"),
    ]  # fmt: skip


def test_windows_line_ends_and_a_byte_order_mark_stay(migrated):
    assert migrated(OLD.replace("\n", "\r\n")).text == NEW.replace("\n", "\r\n")
    assert migrated("\ufeff" + OLD).text == "\ufeff" + NEW


def test_the_end_of_a_file_needs_no_line_end(migrated):
    assert migrated(team(*AGENT) + "memory:\n  enabled: true").text == team(*AGENT) + (
        "# massgen: there is no memory in this version: every run begins afresh\n# memory:\n#   enabled: true"
    )


def test_on_one_line_the_comment_goes_above_it(migrated):
    flow = "  - {id: ada, backend: {cwd: w, 'type': 'openai', model: m, enable_rate_limit: true, session_id: s}}"
    assert migrated(team("  # the one", flow)).text == team(
        "  # the one",
        "  # massgen: agents write files through a server of tools with `workspace: true`; give them yours with the question: massgen --context FILE",
        "  # cwd: w",
        "  # massgen: write `enable_rate_limit` beside `backend`, and the numbers under `rate_limits`",
        "  # enable_rate_limit: true",
        "  # massgen: every run is recorded, whole, in its session",
        "  # session_id: s",
        "  - {id: ada, backend: {'type': 'openai', model: m}}",
    )


def test_a_configuration_that_is_json_stays_json(migrated):
    old = '{"agents": [\n  {"id": "a",\n   "backend": {"type":"openai", "model": "m", "cwd": "w"}}],\n "ui": {"type":"simple"}}\n'
    new = migrated(old)
    assert new.text.splitlines()[-4:] == [
        '{"agents": [', '  {"id": "a",', '   "backend": {"type":"openai", "model": "m"}}],', ' "ui": {"display_type":"simple"}}'
    ]  # fmt: skip
    assert new.problems == ()


def test_a_list_item_that_begins_with_what_goes_still_begins(migrated):
    lines = (
        "  - enable_nlip: false",
        "    cwd: w",
        "    # its name",
        "    id: ada",
        "    backend: {type: openai, model: m}",
    )
    new = migrated(team(*lines))
    assert new.text.splitlines()[-3:] == ["    # its name", "  - id: ada", "    backend: {type: openai, model: m}"]
    assert new.problems == ()


def test_a_section_of_which_nothing_stays_goes_as_a_whole(migrated):
    old = "orchestrator:\n  dspy: {enabled: true}\n  coordination:\n    use_skills: true   # all\n"
    assert migrated(team(*AGENT) + old).text == team(*AGENT) + (
        "# massgen: dspy: questions are not rewritten in this version\n"
        "# massgen: use_skills: skills and subagents are not in this version\n"
        "# orchestrator:\n#   dspy: {enabled: true}\n#   coordination:\n#     use_skills: true   # all\n"
    )


def test_the_single_form_and_profiles_are_migrated_too(migrated):
    backend = ("  id: ada", "  backend:", "    type: openai", "    model: m", "    disallowed_tools: [x]")
    new = migrated(team(*backend, key="agent") + "profiles:\n  dev:\n    ui:\n      type: simple\n")
    assert "    # disallowed_tools: [x]\n" in new.text
    assert new.text.endswith("      display_type: simple\n")
    assert new.problems == ()


def test_agents_by_name_become_a_list(migrated):
    by_name = ("  ada:", "    backend: {type: openai, model: m}", "  bob:  # the second", "      id: Bob", "      backend:",
               "        type: openai", "        model: m", "        cwd: w")  # fmt: skip
    new = migrated(team(*by_name))
    config = yaml.safe_load(new.text)
    backend = {"type": "openai", "model": "m"}
    assert config == {"agents": [{"id": "ada", "backend": backend}, {"id": "Bob", "backend": backend}]}
    assert "  # the second\n" in new.text
    assert new.problems == ()


def test_agents_by_name_on_one_line_are_left_to_the_user(migrated):
    new = migrated("agents: {ada: {backend: {type: openai, model: m}}}\n")
    assert new.changes == ()
    assert [problem.key for problem in new.problems] == ["agents"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("type: claude_code, model: opus", "type: claude, model: opus"),
        ('"type": "codex"', '"type": "openai", model: "gpt-5.4"'),
        ("type: copilot, model: 'gpt-5-mini'", "type: litellm, model: 'github_copilot/gpt-5-mini'"),
        (
            "type: qwen, model: qwen-plus, base_url: http://h/v1",
            'type: chatcompletion, api_key: "${QWEN_API_KEY}", model: qwen-plus, base_url: http://h/v1',
        ),
        ("type: azure_openai, model: m, azure_endpoint: http://h", "type: azure_openai, model: m, base_url: http://h"),
    ],
)
def test_a_type_or_name_of_the_public_massgen_becomes_the_nearest_of_ours(old: str, new: str, migrated):
    result = migrated(team("  - id: ada", f"    backend: {{{old}}}"))
    assert result.text == team("  - id: ada", f"    backend: {{{new}}}")
    assert result.problems == ()
    in_lines = migrated(team("  - id: ada", "    backend:", *(f"      {each}" for each in old.split(", "))))
    assert yaml.safe_load(in_lines.text) == yaml.safe_load(result.text)


def test_what_is_added_with_a_type_is_told(migrated):
    (change,) = migrated(team("  - backend: {type: codex}")).changes
    assert (
        change.what
        == "codex is now openai, model gpt-5.4: Codex is not in this version; `openai` has its models, without its tools"
    )


def test_what_the_provider_has_not_becomes_a_comment_with_its_reason(migrated):
    new = migrated(
        team("  - backend:", "      type: lmstudio", "      enable_web_search: true", "      text: {verbosity: low}")
    )
    assert yaml.safe_load(new.text) == {"agents": [{"backend": {"type": "lmstudio"}}]}
    assert new.text.count("# massgen: lmstudio has no ") == 2
    assert new.problems == ()


def test_of_two_names_for_one_setting_ours_stays(migrated):
    new = migrated(team(*AGENT) + "ui:\n  display_type: none\n  type: simple\n")
    assert new.text.endswith("ui:\n  display_type: none\n  # massgen: `display_type` is here too\n  # type: simple\n")


def test_a_renamed_setting_with_a_value_that_says_nothing_goes(migrated):
    new = migrated(team(*AGENT) + "orchestrator:\n  skip_voting: true\n  skip_final_presentation: maybe\n")
    assert new.text.endswith("  # massgen: here it is `final_answer_strategy`\n  # skip_final_presentation: maybe\n")


def test_a_misspelt_key_and_a_type_without_a_likeness_are_left_and_told(migrated):
    new = migrated(team("  - backend: {type: ag2, cwd: w}", "    sytem_message: hi"))
    assert [(problem.key, problem.line) for problem in new.problems] == [
        ("agents[0].backend.type", 4), ("agents[0].sytem_message", 5)
    ]  # fmt: skip
    assert "did you mean 'system_message'" in new.problems[1].message
    assert "sytem_message: hi" in new.text


def test_aliases_stay_and_one_without_its_anchor_is_told(migrated):
    lines = (
        "  - {id: a, backend: &b {type: openai, model: m, cwd: &w work}}",
        "  - {id: b, backend: *b, system_message: *w}",
    )
    assert [problem.message for problem in migrated(team(*lines)).problems] == ["not YAML: found undefined alias"]
    shared = team(lines[0], "  - id: b", "    backend: *b", "    custom_tools:", "    - *w")
    assert yaml.safe_load(migrated(shared.replace("&w ", "")  .replace("*w", "x")).text)["agents"][1] == {
        "id": "b", "backend": {"type": "openai", "model": "m"}
    }  # fmt: skip


def test_what_a_model_is_called_cannot_end_a_comment(migrated):
    new = migrated(team('  - backend: {type: gemini, model: "gemini-2.5-x\\ncwd: w\\e[2J", enable_web_search: true}'))
    assert "\x1b" not in new.text
    assert yaml.safe_load(new.text)["agents"][0]["backend"].keys() == {"type", "model"}


def test_variables_need_not_be_set_and_what_is_extended_is_found(tmp_path):
    (tmp_path / "base.yaml").write_text(OURS)
    (tmp_path / "old.yaml").write_text("extends: base.yaml\nmemory: {}\n")
    assert migrate(tmp_path / "old.yaml").problems == ()


@pytest.mark.parametrize("text", ["", "just text", "- a\n- b\n", "memory: {}\n", "agents:\n  - cwd: w\n"])
def test_what_is_no_team_is_left_as_it_is_and_told(text: str, migrated):
    new = migrated(text)
    assert new.text == text
    assert new.problems


def test_tabs_that_loading_takes_are_taken(migrated):
    new = migrated(team(*AGENT, "    cwd: w\t# where", "    custom_tools:\t[a]\t"))
    assert new.text == team(
        *AGENT,
        "    # massgen: agents write files through a server of tools with `workspace: true`; give them yours with the question: massgen --context FILE",
        "    # cwd: w\t# where",
        "    # massgen: write the agent's `tools`, beside `backend`: Python functions, each as module:function",
        "    # custom_tools:\t[a]",
    )


@pytest.mark.parametrize("text", ["a: [", "a: *b", "a: &a [*a]", "\t- x", "x: " + "[" * 100, "a: 1\n---\nb: 2\n"])
def test_what_is_not_yaml_is_refused_like_by_loading(text: str, migrated):
    with pytest.raises(ConfigError) as caught:
        migrated(text)
    assert caught.value.exit_code is Exit.USAGE


def test_a_value_that_does_not_fit_its_tag_is_told(migrated):
    new = migrated(team(*AGENT) + "ui:\n  logging_enabled: !!int many\n")
    assert [problem.key for problem in new.problems] == ["ui.logging_enabled"]


def test_where_nothing_can_be_written_beside_it_a_file_is_migrated_all_the_same(tmp_path):
    (tmp_path / "old.yaml").write_text(OLD)
    with (tmp_path / "old.yaml").open() as file:
        assert migrate(Path(f"/dev/fd/{file.fileno()}")) == migrate(tmp_path / "old.yaml")


def test_a_pipe_is_refused():
    source, sink = os.pipe()
    os.write(sink, OLD.encode())
    os.close(sink)
    with pytest.raises(ConfigError, match="only a file can be migrated"), os.fdopen(source):
        migrate(Path(f"/dev/fd/{source}"))


# The command.


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments)], help_option_names=["-h", "--help"])


@pytest.fixture
def old(tmp_path: Path) -> Path:
    (tmp_path / "old.yaml").write_text(OLD)
    return tmp_path / "old.yaml"


def test_the_command_prints_the_new_one_and_tells_each_change(old):
    result = run(old)
    assert (result.exit_code, result.stdout) == (0, NEW)
    lines = result.stderr.splitlines()
    assert lines[-2:] == [f"{old}:26 ui.type: is now `display_type`", "massgen: 8 changes; the new one loads"]
    assert len(lines) == 9


def test_the_command_writes_a_file_but_not_over_another(old, tmp_path):
    new = tmp_path / "new.yaml"
    assert run(old, "--output", new).stdout == ""
    assert new.read_text() == NEW
    new.write_text("mine")
    refused = run(old, "--output", new).exception
    assert isinstance(refused, UsageError)
    assert "--force" in str(refused)
    assert new.read_text() == "mine"
    assert run(old, "--output", new, "--force").exit_code == 0
    assert new.read_text() == NEW


def test_the_command_never_changes_the_old_one(old):
    refused = run(old, "--output", old, "--force").exception
    assert isinstance(refused, UsageError)
    assert old.read_text() == OLD


def test_a_second_time_there_is_nothing_to_change(old, tmp_path):
    new = tmp_path / "new.yaml"
    new.write_text(NEW)
    result = run(new)
    assert (result.stdout, result.stderr) == (NEW, "massgen: nothing to change; the new one loads\n")


def test_what_is_left_is_told_after_the_changes(tmp_path):
    (tmp_path / "old.yaml").write_text(team("  - backend: {type: ag2}", "    cwd: w"))
    result = run(tmp_path / "old.yaml", "-o", tmp_path / "new.yaml")
    assert isinstance(result.exception, ConfigError)
    assert result.stderr.endswith("massgen: one change; this is left to do by hand:\n")
    assert str(result.exception).startswith(f"{tmp_path}/new.yaml:2:")
    assert "# cwd: w" in (tmp_path / "new.yaml").read_text()


def test_a_file_that_is_not_there_is_refused(tmp_path):
    refused = run(tmp_path / "none.yaml").exception
    assert isinstance(refused, ConfigError)
    assert "No such file" in str(refused)


# Properties.

KEPT: dict[tuple[str, ...], dict[str, Any]] = {
    (): {"roles": {"pirate": "Say arr.\nTwice."}},
    ("backend",): {
        "temperature": 0.5,
        "max_tokens": 100,
        "stop": ["a", "# b"],
        "extra_body": {"cwd": "no key of ours"},
    },
    ("agent",): {"system_message": "Be kind: always.\n\ncwd: w\n", "role": "pirate"},
    ("orchestrator",): {"voting_sensitivity": "strict", "skip_voting": True, "patience_seconds": 3},
    ("orchestrator", "coordination"): {"max_orchestration_restarts": 2},
    ("timeout_settings",): {"turn_timeout_seconds": 9},
    ("ui",): {"display_type": "simple"},
}
GONE: dict[tuple[str, ...], list[str]] = {
    (): ["memory", "session_id", "hooks"],
    ("backend",): ["cwd", "direct_mcp_servers", "command_line_execution_mode", "top_k"],
    ("agent",): ["memory", "subtask"],
    ("orchestrator",): ["snapshot_storage", "dspy", "context_paths"],
    ("orchestrator", "coordination"): ["use_skills", "write_mode"],
    ("timeout_settings",): ["round_timeout_grace_seconds"],
    ("ui",): ["theme"],
}
VALUES = [True, 3, "w", "it's: #1", "a\nb\n", ["x", {"y": [1]}], {"enabled": True, "deep": {"x": "y z"}}, {}, [], None]


class Composer:
    """Writes configurations: which settings, in which order and style, is up to `dice`."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def section(self, *path: str, **more: Any) -> dict[str, Any]:
        kept = {**{key: value for key, value in KEPT[path].items() if self._dice.random() < 0.5}, **more}
        gone = {key: self._dice.choice(VALUES) for key in GONE[path] if self._dice.random() < 0.5}
        every = [*kept.items(), *gone.items()]
        self._dice.shuffle(every)
        return dict(every)

    def config(self) -> dict[str, Any]:
        agents = [
            self.section("agent", id=f"a{number}", backend=self.section("backend", type="vllm"))
            for number in range(self._dice.randint(1, 3))
        ]
        orchestrator = self.section("orchestrator", coordination=self.section("orchestrator", "coordination"))
        sections = {
            "orchestrator": orchestrator,
            "ui": self.section("ui"),
            "timeout_settings": self.section("timeout_settings"),
        }
        return self.section(agents=agents, **{"roles": KEPT[()]["roles"], **sections})

    def block(self, data: Any, indent: int) -> Iterator[str]:
        """The lines of a mapping or a list, each with its own style."""
        pad = " " * indent
        entries = data.items() if isinstance(data, dict) else [(None, value) for value in data]
        for key, value in entries:
            if self._dice.random() < 0.2:
                yield self._dice.choice(["", f"{pad}# a note: {key}"])
            head = f"{pad}-" if key is None else f"{pad}{self._dice.choice([key, repr(key)])}:"
            yield from self.value(head, value, indent, first=key is None)

    def value(self, head: str, value: Any, indent: int, *, first: bool) -> Iterator[str]:
        note = self._dice.choice(["", "", "  # a note: here"])
        match value:
            case dict() | list() if value and self._dice.random() < 0.7:
                width = self._dice.choice([2, 4])
                lines = [*self.block(value, indent + width)]
                if first and lines[0].strip() and not lines[0].lstrip().startswith("#"):
                    yield head + lines.pop(0)[len(head) :]
                else:
                    yield head + note
                yield from lines
            case str() if "\n" in value and self._dice.random() < 0.7:
                yield f"{head} |{'' if value.endswith(chr(10)) else '-'}"
                yield from (f"{' ' * (indent + 2)}{line}" if line else "" for line in value.splitlines())
            case _:
                yield f"{head} {self.flow(value)}{note}"

    def flow(self, value: Any) -> str:
        match value:
            case dict():
                return "{" + ", ".join(f"{key}: {self.flow(item)}" for key, item in value.items()) + "}"
            case list():
                return "[" + ", ".join(map(self.flow, value)) + "]"
            case _:
                return yaml.safe_dump(value, default_style='"' if isinstance(value, str) else None, width=10**6).split(
                    "\n"
                )[0]


def expected(data: Any, path: tuple[str, ...] = ()) -> Any:
    """`data` without what goes, and without sections that would be empty."""
    if path == ("agents",):
        return [expected(agent, ("agent",)) for agent in data]
    path = ("backend",) if path == ("agent", "backend") else path
    if path not in GONE:
        return data
    rest = {key: expected(value, (*path, key)) for key, value in data.items() if key not in GONE[path]}
    return {key: value for key, value in rest.items() if not (value == {} and data[key])}


def quickly(text: str) -> Any:
    return yaml.load(text, yaml.CSafeLoader)


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a seed does not shrink
)
@example(891)  # a comment below a block scalar that is as far right as the scalar
@given(st.integers(0, 2**32))
def test_in_any_layout_our_settings_keep_their_values_and_the_others_become_comments(tmp_path: Path, seed: int):
    composer = Composer(random.Random(seed))
    config = composer.config()
    text = "\n".join(composer.block(config, 0)) + "\n"
    assert quickly(text) == config
    (tmp_path / "old.yaml").write_text(text)
    new = migrate(tmp_path / "old.yaml")
    assert quickly(new.text) == expected(config)
    assert rewrite(new.text) == (new.text, ())
    assert bool(new.changes) == (new.text != text)
    assert new.problems == ()
    assert all(word in new.text for word in re.findall(r"[\w:']+", text))
