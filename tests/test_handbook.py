"""The handbook under its gate: nothing is shown that was not run, parsed or looked up."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.handbook import __main__ as gate
from tests.handbook import console, generate, python_blocks
from tests.handbook.fences import Fence, fences

ROOT = Path(__file__).parents[1]
PAGES = gate.pages()
RUN = [page for page in PAGES if page.suffix == ".ipynb" or any(fence.language == "console" for fence in fences(page))]


@pytest.fixture(autouse=True)
def _at_the_root(_clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def world(model: Path) -> Iterator[Mapping[str, str]]:
    with console.world(model, many=True) as variables:
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


@pytest.mark.timeout(60)
def test_python_blocks_print_what_the_page_says(world: Mapping[str, str], tmp_path: Path) -> None:
    assert not python_blocks.run(world, tmp_path / "reader")


def all_fences() -> list[Fence]:
    return [fence for page in PAGES if page.suffix == ".md" for fence in fences(page)]


def test_no_check_passes_by_checking_nothing() -> None:
    counts = Counter(fence.language for fence in all_fences())
    least = {"console": 25, "yaml": 35, "python": 2, "bash": 25, "mermaid": 1, "text": 40, "json": 5}
    assert {language: counts[language] for language, count in least.items() if counts[language] < count} == {}
    assert len(python_blocks.EXAMPLES) >= 2
    assert sum(len(console.commands(fence)) for fence in all_fences() if fence.language == "console") >= 45


def test_every_template_is_in_the_gallery_and_each_page_of_the_code_is_listed() -> None:
    assert {*generate.PAGES} == {path.name for path in generate.FOLDER.glob("*.md")} - {"api.md"}


def test_the_readme_fits_on_a_screen() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 75
