"""Draws the handbook's mermaid diagrams in Chromium: `python -m tests.browser.diagrams` writes the missing ones and
removes those no page has; `--check` only tells. A page then needs no script for its diagrams, and nothing moves while it loads.

The colours are drawn as stand-ins and replaced by the page's own variables, so that one drawing serves light and dark."""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from playwright.sync_api import Error, Page

from tests.browser.needs import MODULES, message
from tests.browser.reading import chromium
from tests.browser.site import ROOT
from tests.handbook.fences import Fence, Problem, fences
from theme.hooks import DIAGRAMS, digest

MERMAID = MODULES / "@mermaid-js/tiny/dist/mermaid.tiny.js"
FONT = ROOT / "theme/assets/fonts/figtree.woff2"
COLOURS = {"#010101": "--ink", "#020202": "--faded", "#030303": "--paper", "#040404": "--shade", "#050505": "--line"}
INK, FADED, PAPER, SHADE, LINE = COLOURS
THEME = {
    **dict.fromkeys(("textColor", "primaryTextColor", "secondaryTextColor", "tertiaryTextColor", "nodeTextColor"), INK),
    **dict.fromkeys(("titleColor", "labelColor", "stateLabelColor", "transitionLabelColor", "noteTextColor"), INK),
    **dict.fromkeys(("actorTextColor", "signalTextColor", "loopTextColor", "labelTextColor"), INK),
    **dict.fromkeys(("lineColor", "transitionColor", "signalColor", "arrowheadColor", "defaultLinkColor"), FADED),
    **dict.fromkeys(("primaryBorderColor", "nodeBorder", "stateBorder", "actorBorder", "actorLineColor"), FADED),
    **dict.fromkeys(("secondaryBorderColor", "tertiaryBorderColor", "clusterBorder", "noteBorderColor"), LINE),
    **dict.fromkeys(("labelBoxBorderColor", "activationBorderColor", "compositeBorder", "border1", "border2"), LINE),
    **dict.fromkeys(("primaryColor", "secondaryColor", "tertiaryColor", "mainBkg", "secondBkg", "stateBkg"), SHADE),
    **dict.fromkeys(("actorBkg", "noteBkgColor", "labelBoxBkgColor", "activationBkgColor", "clusterBkg"), SHADE),
    **dict.fromkeys(("background", "edgeLabelBackground", "labelBackgroundColor", "altBackground"), PAPER),
    **dict.fromkeys(("compositeBackground", "compositeTitleBackground", "sequenceNumberColor"), PAPER),
    **dict.fromkeys(("specialStateColor", "innerEndBackground", "errorTextColor"), INK),
    "errorBkgColor": SHADE,
    "fontFamily": "Figtree, system-ui, sans-serif",
    "fontSize": "15px",
}


COVERED = """svg => {
  document.body.innerHTML = svg
  const labels = [...document.querySelectorAll(".edgeLabel foreignObject, .node foreignObject")]
  const places = labels.map(each => each.getBoundingClientRect()).filter(each => each.width > 2)
  return places.some((one, place) => places.slice(place + 1).some(other =>
    one.left < other.right - 1 && other.left < one.right - 1 && one.top < other.bottom - 1 && other.top < one.bottom - 1))
}"""
"""Whether a label of the drawing on the page covers another."""


USED = """svg => {
  document.body.innerHTML = svg
  const drawn = document.body.firstElementChild
  const style = drawn.querySelector("style")
  const rules = [...style.sheet.cssRules].filter(each => each.selectorText && drawn.parentNode.querySelector(each.selectorText))
  style.textContent = rules.map(each => each.cssText).join("")
  for (const each of drawn.querySelectorAll("defs > [id]"))
    if (!drawn.outerHTML.includes(`#${each.id})`) && !drawn.outerHTML.includes(`"#${each.id}"`)) each.remove()
  for (const each of drawn.querySelectorAll("defs:empty")) each.remove()
  return drawn.outerHTML
}"""
"""A drawing without the rules, marks and symbols that mermaid puts in each and nothing of this one uses: most of its bytes."""


def diagrams(folder: Path = ROOT / "handbook") -> dict[str, Fence]:
    """Name of the drawing -> its fence, of every diagram of the handbook."""
    found = [fence for page in sorted(folder.rglob("*.md")) for fence in fences(page)]
    return {digest(fence.body): fence for fence in found if fence.language == "mermaid"}


def broken(page: Page, wanted: Mapping[str, Fence]) -> Iterator[Problem]:
    """Each diagram that mermaid cannot read, or not draw so that all of it can be read."""
    for name, fence in wanted.items():
        try:
            svg = draw(page, {name: fence.body})[name]
            if page.evaluate(COVERED, svg):
                what = "one label covers another"
                yield Problem(fence.where, "diagram", what, "Say it in a note, or shorter; then: make docs-update")
        except Error as error:
            what = " ".join(error.message.removeprefix("Page.evaluate: ").split("\n    at ")[0].split())
            yield Problem(fence.where, "diagram", what, "Mend the diagram, then: make docs-update")


def draw(page: Page, sources: Mapping[str, str]) -> dict[str, str]:
    """Name -> SVG, drawn on an empty page. Raises what mermaid says of a source it cannot read."""
    if page.evaluate("window.mermaid === undefined"):
        _equip(page)
    render = "async ([id, text]) => (await mermaid.render(id, text)).svg"
    drawn = {name: page.evaluate(render, [f"d{name}", source]) for name, source in sources.items()}
    return {name: in_page_colours(page.evaluate(USED, svg)) for name, svg in drawn.items()}


def _equip(page: Page) -> None:
    """Give the page mermaid and our font."""
    page.set_content("<body></body>")
    page.evaluate(
        "async bytes => { const face = new FontFace('Figtree', new Uint8Array(bytes).buffer, {weight: '400 700'});"
        " document.fonts.add(await face.load()) }",
        [*FONT.read_bytes()],
    )
    page.add_script_tag(path=MERMAID)
    page.evaluate("theme => mermaid.initialize({theme: 'base', themeVariables: theme})", THEME)


def in_page_colours(svg: str) -> str:
    """The drawing with the page's variables for the stand-ins."""
    for number, (colour, variable) in enumerate(COLOURS.items(), 1):
        svg = svg.replace(colour, f"var({variable})")
        svg = re.sub(rf"rgba?\({number}, {number}, {number}(?:, [\d.]+)?\)", f"var({variable})", svg)
    return svg + "\n"


def undrawn(wanted: Mapping[str, Fence], folder: Path = DIAGRAMS) -> Iterator[Problem]:
    """Diagrams without a drawing, and drawings that no page has."""
    there = {path.stem for path in folder.glob("*.svg")}
    for name in wanted.keys() - there:
        yield Problem(wanted[name].where, "diagram", "it is not drawn", "make docs-update")
    for name in sorted(there - wanted.keys()):
        yield Problem(f"{folder / name}.svg:1", "diagram", "no page has it", "make docs-update")


def update(wanted: Mapping[str, Fence], folder: Path = DIAGRAMS) -> list[Problem]:
    """Draw what is missing, remove what no page has. What cannot be read is returned, and nothing is written then."""
    there = {path.stem for path in folder.glob("*.svg")}
    missing = {name: fence for name, fence in wanted.items() if name not in there}
    if missing:
        with chromium() as browser:
            page = browser.new_page()
            if problems := [*broken(page, missing)]:
                return problems
            drawings = draw(page, {name: fence.body for name, fence in missing.items()})
        folder.mkdir(exist_ok=True)
        for name, svg in drawings.items():
            (folder / f"{name}.svg").write_bytes(svg.encode())
    for name in there - wanted.keys():
        (folder / f"{name}.svg").unlink()
    return []


def main(arguments: list[str]) -> int:
    wanted = diagrams()
    stale = [*undrawn(wanted)]
    if stale and (said := "--check" not in arguments and message()):
        print(said, file=sys.stderr)
        return 1
    problems = stale if "--check" in arguments else update(wanted)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
