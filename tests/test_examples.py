import re
import shlex

import pytest

from massgen import examples
from massgen.app import resolve
from massgen.cli import command
from massgen.config.loading import load
from massgen.errors import ConfigError, UsageError

NAMES = examples.names()


def needs(name: str) -> set[str]:
    """The variables a template, and what it extends, takes its values from."""
    body = "".join(line for line in examples.path(name).read_text().splitlines(True) if not line.startswith("#"))
    below = re.findall(r"^extends: \"?(?:@examples/)?([\w./-]+)", body, re.MULTILINE)
    return {*re.findall(r"\$\{(\w+)\}", body)}.union(*map(needs, below))


@pytest.mark.parametrize("name", NAMES)
def test_every_template_is_a_configuration(name):
    env = dict.fromkeys(needs(name), "http://localhost:1/v1")
    config = load(examples.path(name), env).config
    assert all(agent.id for agent in config.agents)


@pytest.mark.parametrize("name", NAMES)
def test_every_template_says_what_for_with_what_at_which_cost_and_how(name):
    head = examples.header(name)

    assert all((head.purpose, head.needs, head.cost))
    program, *arguments = shlex.split(head.attempt)
    context = command("ask").make_context(program, arguments)
    assert (program, context.params["config"]) == ("massgen", f"@examples/{name}")
    assert len(context.params["question"]) == 1


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_of_a_template_is_named_in_its_head(name):
    head = examples.header(name).needs
    assert all(variable in head for variable in needs(name))


@pytest.mark.parametrize("name", [name for name in NAMES if needs(name)])
def test_a_template_whose_variables_are_not_set_names_them_all(name):
    with pytest.raises(ConfigError) as caught:
        resolve(f"@examples/{name}")
    assert {*re.findall(r"the variable (\w+) is not set", str(caught.value))} == needs(name)


def test_names_are_sorted_and_found_with_or_without_their_ending():
    assert sorted(NAMES) == NAMES
    assert "quickstart" in NAMES
    assert examples.path("quickstart") == examples.path("quickstart.yaml") == examples.find("@examples/quickstart")


@pytest.mark.parametrize(
    ("name", "hint"), [("quikstart", "did you mean quickstart?"), ("zzz", f"There are: {', '.join(NAMES)}.")]
)
def test_a_name_that_is_no_template_is_told_with_the_nearest_or_all(name, hint):
    with pytest.raises(UsageError) as caught:
        examples.find(f"@examples/{name}")
    assert str(caught.value) == f"no template is called {name!r}\n  {hint}"


@pytest.mark.parametrize(
    "name",
    ["../pyproject", "../examples/quickstart", "/etc/passwd", "./quickstart", "sub/../quickstart", "QUICKSTART", "*", "", ".yaml", "quick\0start"],
)  # fmt: skip
def test_only_the_exact_name_of_a_template_is_one(name):
    with pytest.raises(UsageError, match="no template is called"):
        examples.path(name)


@pytest.mark.parametrize("given", ["team.yaml", "examples/quickstart.yaml", "@quickstart", "", "@examples"])
def test_anything_else_is_left_to_be_a_file(given):
    assert examples.find(given) is None


def test_a_header_ends_where_the_configuration_begins():
    text = "# Purpose: to show\n#          two lines.\n# Needs: nothing\n# A remark.\n# Cost: free\nagents: # Try: no\n"
    head = examples.parse_header(text)
    assert head == examples.Header(purpose="to show two lines.", needs="nothing")
    assert examples.parse_header("") == examples.parse_header("# Purpose: to show".lower()) == examples.Header()
    assert examples.parse_header("# Purpose: all of it") == examples.Header(purpose="all of it")


def test_the_header_of_no_template_is_refused():
    with pytest.raises(UsageError, match="no template is called"):
        examples.header("../README")
