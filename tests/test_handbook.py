"""The handbook under its gate: nothing is shown that was not run, parsed or looked up."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

from tests.handbook import __main__ as gate
from tests.handbook import console, generate
from tests.handbook.fences import Fence, fences

ROOT = Path(__file__).parents[1]
PAGES = gate.pages()
RUN = [page for page in PAGES if page.suffix == ".ipynb" or any(fence.language == "console" for fence in fences(page))]
EXAMPLES = list(find_examples(ROOT / "README.md", ROOT / "handbook", ROOT / "massgen"))


@pytest.fixture(autouse=True)
def _at_the_root(_clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def world(model: Path) -> Iterator[Mapping[str, str]]:
    with console.world(model) as variables:
        yield variables


def told(problems: Iterable[object]) -> str:
    return "\n".join(map(str, problems))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_nothing_on_a_page_is_unknown_to_the_code(page: Path) -> None:
    assert not told(gate.static(page))


def test_nothing_in_the_code_is_missing_from_the_pages() -> None:
    assert not told(gate.whole())


@pytest.mark.timeout(100)
@pytest.mark.parametrize("page", RUN, ids=str)
def test_every_command_of_a_page_prints_what_the_page_says(
    page: Path, world: Mapping[str, str], tmp_path: Path
) -> None:
    assert not told(gate.run_page(page, world, tmp_path / "reader"))


@pytest.mark.timeout(30)
@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_python_examples_run(
    example: CodeExample,
    eval_example: EvalExample,
    world: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name, value in world.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    for fence in fences(example.path) if example.path.suffix == ".md" else []:
        if console.is_file(fence) and fence.language != "console":
            (tmp_path / fence.title).write_text(fence.body, "utf-8")
    monkeypatch.chdir(tmp_path)
    eval_example.set_config(line_length=120, target_version="py311", ruff_ignore=["F821", "D", "I001", "F704"])
    if eval_example.update_examples:
        eval_example.run_print_update(example)
    else:
        eval_example.lint_ruff(example)
        eval_example.run_print_check(example)


def all_fences() -> list[Fence]:
    return [fence for page in PAGES if page.suffix == ".md" for fence in fences(page)]


def test_no_check_passes_by_checking_nothing() -> None:
    counts = Counter(fence.language for fence in all_fences())
    least = {"console": 25, "yaml": 35, "python": 2, "bash": 25, "mermaid": 1, "text": 40, "json": 5}
    assert {language: counts[language] for language, count in least.items() if counts[language] < count} == {}
    assert len(EXAMPLES) >= 2
    assert sum(len(console.commands(fence)) for fence in all_fences() if fence.language == "console") >= 45


def test_every_template_is_in_the_gallery_and_each_page_of_the_code_is_listed() -> None:
    assert {*generate.PAGES} == {path.name for path in generate.FOLDER.glob("*.md")} - {"api.md"}


def test_the_readme_fits_on_a_screen() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 75
