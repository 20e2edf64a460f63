import json
from pathlib import Path

import pytest

from massgen import examples
from massgen.cli import run
from massgen.config.loading import load
from massgen.errors import Exit

Output = pytest.CaptureFixture[str]


def test_the_list_says_of_every_template_what_it_is_for_what_it_costs_and_what_it_needs(capsys: Output) -> None:
    assert run(["examples", "list"]) == Exit.ANSWER
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) < 80
    entries = {entry.split("\n", 1)[0]: " ".join(entry.split()) for entry in told.split("\n\n")}
    for name in examples.names():
        head = examples.header(name)
        assert entries[name] == f"{name} {head.purpose} cost: {head.cost} needs: {head.needs}"
    assert "massgen examples copy NAME" in " ".join(told.split())


def test_the_list_is_for_programs_too(capsys: Output) -> None:
    assert run(["examples", "list", "--json"]) == Exit.ANSWER
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == examples.names()
    assert all([*row] == ["name", "purpose", "needs", "cost", "try"] and all(row.values()) for row in rows)


@pytest.mark.parametrize("name", ["quickstart", "quickstart.yaml"])
def test_a_template_is_shown_as_it_is(name: str, capsys: Output) -> None:
    assert run(["examples", "show", name]) == Exit.ANSWER
    assert capsys.readouterr().out == examples.path("quickstart").read_text()


@pytest.mark.parametrize("action", ["show", "copy"])
def test_a_name_that_is_no_template_is_refused_with_the_nearest(action: str, capsys: Output) -> None:
    assert run(["examples", action, "quikstart"]) == Exit.USAGE
    assert capsys.readouterr() == ("", "massgen: no template is called 'quikstart'\n  did you mean quickstart?\n")


@pytest.mark.parametrize(
    ("file", "written"),
    [((), "quickstart.yaml"), (("my.yaml",), "my.yaml"), ((".",), "quickstart.yaml"), (("a/b.yaml",), "a/b.yaml")],
)
def test_a_template_is_copied_to_where_it_is_wanted(
    file: tuple[str, ...], written: str, tmp_path: Path, capsys: Output
) -> None:
    assert run(["examples", "copy", "quickstart", *file]) == Exit.ANSWER
    assert (tmp_path / written).read_bytes() == examples.path("quickstart").read_bytes()
    assert capsys.readouterr() == ("", f'massgen: wrote {written}; ask it: massgen --config {written} "question"\n')
    assert load(tmp_path / written).config.agents


def test_a_copy_replaces_nothing_unless_it_is_forced(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "quickstart.yaml").write_text("mine")
    assert run(["examples", "copy", "quickstart"]) == Exit.USAGE
    assert "quickstart.yaml: there is a file already\n  Name another, or give --force." in capsys.readouterr().err
    assert (tmp_path / "quickstart.yaml").read_text() == "mine"
    assert run(["examples", "copy", "quickstart", "--force"]) == Exit.ANSWER
    assert (tmp_path / "quickstart.yaml").read_bytes() == examples.path("quickstart").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["quickstart.yaml"]


def test_a_place_that_cannot_be_written_is_named(capsys: Output) -> None:
    assert run(["examples", "copy", "quickstart", "/dev/null/x.yaml"]) == Exit.USAGE
    assert "/dev/null/x.yaml: cannot be written: " in capsys.readouterr().err
