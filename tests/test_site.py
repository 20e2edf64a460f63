"""The built handbook, without a browser: its pages, what machines read of them, its links, its recordings."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.browser import diagrams, needs
from tests.browser.site import ROOT, build, pages
from tests.handbook import casts, links
from tests.handbook.fences import Problem
from theme.hooks import DESCRIPTION, Cast


@pytest.fixture(autouse=True)
def _at_the_root(_clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("site"))


class Outline(HTMLParser):
    """The title, description and first headings of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.title = self.description = ""
        self.headings = 0
        self._in_title = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.headings += tag == "h1"
        self._in_title = tag == "title" and not self.title
        if tag == "meta" and named.get("name") == "description":
            self.description = named.get("content") or ""

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title, self._in_title = data.strip(), False


def outlines(built: Path) -> dict[str, Outline]:
    return {page: Outline((built / page.strip("/") / "index.html").read_text("utf-8")) for page in pages()}


def test_the_site_has_exactly_the_pages_of_the_handbook(built: Path) -> None:
    there = {path.relative_to(built).parent.as_posix() for path in built.rglob("index.html")}
    assert {page.strip("/") or "." for page in pages()} == there


def test_every_page_has_one_heading_of_the_first_level(built: Path) -> None:
    assert {page: outline.headings for page, outline in outlines(built).items() if outline.headings != 1} == {}


def test_every_page_has_a_title_and_a_description_of_its_own(built: Path) -> None:
    found = outlines(built)
    for page, outline in found.items():
        assert outline.title, page
        assert 20 <= len(outline.description) <= DESCRIPTION + 20, (page, outline.description)
    assert len({outline.title for outline in found.values()}) == len(found)
    assert len({outline.description for outline in found.values()}) == len(found)


def test_llms_txt_names_every_page_says_what_it_is_about_and_has_it_as_markdown(built: Path) -> None:
    listed = (built / "llms.txt").read_text("utf-8")
    named = dict(re.findall(r"^- \[[^\]]+\]\(https://[^/)]+/massgen/([^)]*)\): (.+)$", listed, re.MULTILINE))
    assert sorted(named) == sorted(f"{page.strip('/')}/index.md".lstrip("/") for page in pages())
    for name, description in named.items():
        assert len(description) >= 20, name
        assert (built / name).read_text("utf-8").startswith("# "), name


def test_the_home_page_shows_the_product_at_work_before_any_script_runs(built: Path) -> None:
    home = (built / "index.html").read_text("utf-8")
    assert home.count('class="cast__screen') == len(casts.SIZES)
    assert "voted for" in home
    assert "<summary>The recording as text</summary>" in home


def test_only_what_is_typed_is_coloured_as_a_command(built: Path) -> None:
    page = (built / "start/first-key/index.html").read_text("utf-8")
    prompts = re.findall(r'<span class="gp">([^<]*)</span>', page)
    assert len(prompts) >= 5
    assert {*prompts} == {"$ "}


def dead(site: Path) -> list[Problem]:
    report = links.followed(site)
    assert report["successful"] > 20 * len(pages())
    return [*links.dead(report, site)]


def test_every_link_of_the_site_leads_somewhere(built: Path) -> None:
    """Also those that the strict build does not see: in raw HTML, in the theme, to sections of generated pages."""
    assert "\n".join(map(str, dead(built))) == ""


@pytest.fixture
def spoilt(built: Path, tmp_path: Path) -> Path:
    return shutil.copytree(built, tmp_path / "spoilt")


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("../asked/", "/guides/asked"),
        ("/massgen/guides/asked/", "/guides/asked"),
        ("https://massgen.github.io/massgen/guides/asked/", "/guides/asked"),
        ("#nowhere", "/guides/asking/index.html#nowhere"),
        ("../../reference/configuration/#nowhere", "/reference/configuration#nowhere"),
        ("../../assets/none.svg", "/assets/none.svg"),
    ],
)
def test_a_planted_dead_link_is_told_with_its_page(spoilt: Path, target: str, told: str) -> None:
    page = spoilt / "guides/asking/index.html"
    page.write_text(page.read_text("utf-8").replace("</article>", f'<a href="{target}">x</a></article>'), "utf-8")
    (problem,) = dead(spoilt)
    assert problem.where.startswith("handbook/guides/asking.md:")
    assert problem.what.startswith(told)


def test_the_links_of_a_site_can_be_followed_by_hand(
    built: Path, spoilt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (spoilt / "start/install/index.html").unlink()
    assert links.main(str(built)) == 0
    assert capsys.readouterr().err == ""
    assert links.main(str(spoilt)) == 1
    assert re.search(r"handbook/index\.md:[1-9]\d+: link: /start/install is not there\n", capsys.readouterr().err)


def test_every_diagram_is_drawn_and_no_drawing_is_left_over() -> None:
    assert "\n".join(map(str, diagrams.undrawn(diagrams.diagrams()))) == ""


@pytest.mark.parametrize("name", casts.SIZES)
def test_a_recording_is_what_massgen_shows_now(name: str) -> None:
    assert (casts.FOLDER / name).read_text("utf-8") == casts.record(*casts.SIZES[name]), "run: make docs-update"


@pytest.mark.parametrize("name", casts.SIZES)
def test_a_recording_shows_a_whole_run(name: str) -> None:
    cast = Cast((casts.FOLDER / name).read_text("utf-8"))
    assert (cast.columns, cast.rows) == casts.SIZES[name]
    chapters = dict(cast.chapters())
    assert len(chapters) >= 4
    whole = "\n".join(chapters.values())
    for shown in ("answering", "voted for", "5 cents"):
        assert shown in whole, shown


def test_a_recording_that_is_not_what_massgen_shows_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(casts, "FOLDER", tmp_path)
    assert casts.main([]) == 0
    assert casts.main(["--check"]) == 0
    cast = tmp_path / "team.cast"
    cast.write_text(cast.read_text("utf-8").replace("voted for", "chose"), "utf-8")
    assert casts.main(["--check"]) == 1
    assert "team.cast: not what massgen shows; run: make docs-update" in capsys.readouterr().err


def test_what_the_browser_gates_miss_is_told_with_the_command_that_installs_it(tmp_path: Path) -> None:
    told = "\n".join(needs.missing(modules=tmp_path / "none", chromium=""))
    assert "apt-get install chromium" in told
    assert "npm ci --prefix tests/browser" in told or "apt-get install nodejs npm" in told


def test_the_lock_file_of_the_browser_gates_names_no_host() -> None:
    locked = (ROOT / "tests/browser/package-lock.json").read_text("utf-8")
    packages = json.loads(locked)["packages"]
    assert all("resolved" not in package for package in packages.values())
    assert all("integrity" in package for name, package in packages.items() if name)
