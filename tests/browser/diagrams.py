"""Draws the handbook's mermaid diagrams in Chromium: `python -m tests.browser.diagrams` writes the missing ones and
removes those no page has; `--check` only tells. A page then needs no script for its diagrams, and nothing moves while it loads.

The colours are drawn as stand-ins and replaced by the page's own variables, so that one drawing serves light and dark."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from theme.hooks import DIAGRAMS, digest

ROOT = Path(__file__).parents[2]
MERMAID = Path(__file__).parent / "node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js"
FONT = ROOT / "theme/assets/fonts/figtree.woff2"
CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""What keeps Chromium from talking to anyone by itself."""

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
_FENCE = re.compile(r"^( *)```mermaid\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def diagrams() -> dict[str, str]:
    """Name of the drawing -> source, of every mermaid fence of the handbook."""
    pages = [path.read_text("utf-8") for path in sorted((ROOT / "handbook").rglob("*.md"))]
    sources = [
        "".join(line.removeprefix(indent) for line in body.splitlines(keepends=True))
        for page in pages
        for indent, body in _FENCE.findall(page)
    ]
    return {digest(source): source for source in sources}


def drawn(sources: Mapping[str, str]) -> dict[str, str]:
    """Name -> SVG. Raises what mermaid says of a source it cannot read."""
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET]) as browser,
    ):
        return draw(browser.new_page(), sources)


def draw(page: Page, sources: Mapping[str, str]) -> dict[str, str]:
    """The same, on an empty page."""
    page.set_content("<body></body>")
    page.evaluate(
        "async bytes => { const face = new FontFace('Figtree', new Uint8Array(bytes).buffer, {weight: '400 700'});"
        " document.fonts.add(await face.load()) }",
        [*FONT.read_bytes()],
    )
    page.add_script_tag(path=MERMAID)
    page.evaluate("theme => mermaid.initialize({theme: 'base', themeVariables: theme})", THEME)
    render = "async ([id, text]) => (await mermaid.render(id, text)).svg"
    return {name: in_page_colours(page.evaluate(render, [f"d{name}", source])) for name, source in sources.items()}


def in_page_colours(svg: str) -> str:
    """The drawing with the page's variables for the stand-ins."""
    for number, (colour, variable) in enumerate(COLOURS.items(), 1):
        svg = svg.replace(colour, f"var({variable})")
        svg = re.sub(rf"rgba?\({number}, {number}, {number}(?:, [\d.]+)?\)", f"var({variable})", svg)
    return svg + "\n"


def main(arguments: list[str]) -> int:
    wanted, there = diagrams(), {path.stem for path in DIAGRAMS.glob("*.svg")}
    missing, stale = wanted.keys() - there, there - wanted.keys()
    if "--check" in arguments:
        for name in sorted(missing | stale):
            print(f"theme/diagrams/{name}.svg: {'missing' if name in missing else 'of no page'}; run: make docs-update")
        return 1 if missing or stale else 0
    for name in stale:
        (DIAGRAMS / f"{name}.svg").unlink()
    DIAGRAMS.mkdir(exist_ok=True)
    for name, svg in drawn({name: wanted[name] for name in sorted(missing)}).items() if missing else ():
        (DIAGRAMS / f"{name}.svg").write_bytes(svg.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
