"""What the build does beyond mkdocs' plugins: notebooks, descriptions of pages, terminal casts, diagrams."""

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from html import escape, unescape
from itertools import groupby
from pathlib import Path
from typing import Any

import pyte
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from pygments.lexers.shell import BashSessionLexer

DIAGRAMS = Path(__file__).parent / "diagrams"
"""One SVG a diagram, named by its source; `python -m tests.browser.diagrams` draws them."""
DESCRIPTION = 155
"""Characters of a description that search engines show."""

LOOKED_UP = ("command-line", "configuration", "environment", "exit-codes")
"""Pages of the reference that the search puts before those that mention the same name."""

_log = logging.getLogger("mkdocs.hooks.massgen")
_descriptions: dict[str, str] = {}
"""Page -> what llms.txt says of it."""
_PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_CAST = re.compile(r'<p>\s*<img alt="([^"]*)"([^>]*) src="([^"]+)\.cast"\s*/?>\s*</p>')
_TABLE = re.compile(r"<table>(.*?)</table>", re.DOTALL)
"""Those that the theme's script would wrap, which moves what stands below."""
_DIAGRAM = re.compile(r'<pre class="diagram"><code>(.*?)</code></pre>', re.DOTALL)
_LINK = r'\s*<link rel="stylesheet" href="[^"]*/{}[^"]*">'
_RULE = re.compile(r"([^{}@;]+)(\{[^{}]*\})")


BashSessionLexer._ps1rgx = re.compile(r"^(\$ )(.*\n?)")  # in pygments' own, a comment in an output is root's prompt


class Notebook(File):
    """A page whose source is a notebook."""

    def is_documentation_page(self) -> bool:
        return True


def on_files(files: Files, config: Any) -> None:
    """Notebooks become pages like all others, with the outputs that are stored in them: the tests run and compare those."""
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(file)
        files.append(Notebook.generated(config, file.src_uri, content=_markdown(json.loads(file.content_string))))


def _markdown(notebook: dict[str, Any]) -> str:
    return "\n\n".join(filter(None, map(_cell, notebook["cells"]))) + "\n"


def _cell(cell: dict[str, Any]) -> str:
    source = "".join(cell["source"]).strip()
    if cell["cell_type"] == "markdown":
        return source
    outputs = "".join("".join(each.get("text") or each["data"]["text/plain"]) for each in cell["outputs"]).strip()
    return f"```python\n{source}\n```" + (f"\n\n```text\n{outputs}\n```" if outputs else "")


@event_priority(-100)
def on_page_content(html: str, page: Any, **_: Any) -> str:
    """A page without a `description` in its front matter is described by its first sentences."""
    if page.file.src_uri in {f"reference/{name}.md" for name in LOOKED_UP}:
        page.meta.setdefault("search", {"boost": 4})
    if "description" not in page.meta:
        words = unescape(re.sub(r"<[^>]+>", "", " ".join(_PARAGRAPH.findall(html)))).split()
        text = " ".join(words)
        if not text:
            _log.warning("%s has no paragraph to be its description: write one, or `description:`", page.file.src_uri)
        page.meta["description"] = _shortened(text)
    _descriptions[page.url] = page.meta["description"]
    return html


def _shortened(text: str) -> str:
    """The whole sentences at the beginning of `text` that fit, or as many words."""
    whole = [match.end() for match in re.finditer(r"[.!?](?= |$)", text[: DESCRIPTION + 1])]
    if whole and whole[-1] > DESCRIPTION // 3:
        return text[: whole[-1]]
    return text if len(text) <= DESCRIPTION else text[:DESCRIPTION].rsplit(" ", 1)[0].rstrip(",;:") + "…"


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Casts and diagrams as HTML, late, so that the search and llms.txt get their sources."""
    up = "../" * page.url.count("/")
    folder = Path(config.docs_dir)
    output = re.sub(_LINK.format(r"palette\."), "", output)  # its colours are all replaced by ours
    if 'class="doc ' not in output:
        output = re.sub(_LINK.format("_mkdocstrings"), "", output)
    output = re.sub(r"<th([^>]*)></th>", r"<td\1></td>", output)
    output = _TABLE.sub(r'<div class="table"><table class="plain">\1</table></div>', output)
    output = _CAST.sub(lambda match: _cast(match, up, folder / Path(page.file.dest_uri).parent), output)
    return _DIAGRAM.sub(lambda match: _diagram(unescape(match[1]), page.file.src_uri), output)


def on_post_build(config: Any) -> None:
    site = Path(config.site_dir)
    _describe_pages(site / "llms.txt", config.site_url)
    _drop_unused_rules(site)


def _describe_pages(path: Path, base: str) -> None:
    """Say in llms.txt what each page is about."""
    listed = path.read_text("utf-8")
    for place, description in _descriptions.items():
        link = f"({base}{place}index.md)\n"
        listed = listed.replace(link, f"{link.rstrip()}: {description}\n")
    path.write_text(listed, "utf-8")


def _drop_unused_rules(site: Path) -> None:
    """Take the theme's rules for what no page has out of its stylesheet."""
    used = "".join(path.read_text("utf-8") for kind in ("html", "js") for path in site.rglob(f"*.{kind}"))
    for path in site.glob("assets/stylesheets/main.*.css"):
        rules = path.read_text("utf-8")
        path.write_text(
            _RULE.sub(lambda rule: _in_use(rule[1], used) + rule[2] if _in_use(rule[1], used) else "", rules), "utf-8"
        )


def _in_use(selectors: str, used: str) -> str:
    """Those of a rule's selectors whose classes all occur in `used`."""
    alive = (
        each
        for each in re.split(r",(?![^()]*\))", selectors)
        if all(name in used for name in re.findall(r"\.([A-Za-z][\w-]*)", re.sub(r":[a-z]+\([^()]*\)", "", each)))
    )
    return ",".join(alive)


def digest(source: str) -> str:
    """What names the drawing of a diagram."""
    return hashlib.sha256(source.strip().encode()).hexdigest()[:12]


def _diagram(source: str, page: str) -> str:
    path = DIAGRAMS / f"{digest(source)}.svg"
    if not path.exists():
        _log.warning("%s: a diagram is not drawn yet; run: make docs-update", page)
        return f'<pre class="diagram"><code>{escape(source)}</code></pre>'
    return f'<div class="drawing" data-search-exclude>{path.read_text("utf-8")}</div>'


def _cast(match: re.Match[str], up: str, at: Path) -> str:
    """A figure that plays, with one still of it until then and all its chapters as text below."""
    caption, attributes, place = match.groups()
    still = int((re.search(r'data-still="(\d+)"', attributes) or ["", "1"])[1])
    screens = ""
    for kind, name in (("wide", place), ("narrow", f"{place}-narrow")):
        cast = Cast((at / f"{name}.cast").resolve().read_text("utf-8"))
        screens += (
            f'<div class="cast__screen {kind}" style="--columns:{cast.columns};--rows:{cast.rows}" data-cast="{name}.cast"'
            f' data-columns="{cast.columns}" data-rows="{cast.rows}" data-player="{up}assets/vendor/asciinema-player/">'
            f'<pre>{cast.still(still)}</pre><button type="button">Play</button></div>'
        )
    chapters = "".join(f"<p>{escape(name)}</p><pre><code>{escape(text)}</code></pre>" for name, text in cast.chapters())
    return (
        f'<figure class="cast">{screens}<figcaption>{caption}</figcaption>'
        f"<details data-search-exclude><summary>The recording as text</summary>{chapters}</details></figure>"
    )


class Cast:
    """A recording, replayed to the end of each of its chapters."""

    def __init__(self, text: str) -> None:
        header, *events = map(json.loads, text.splitlines())
        self._events: list[tuple[float, str, str]] = [*map(tuple, events)]
        self.columns, self.rows = header["width"], header["height"]
        self._screens = [*self._replayed()]

    def _replayed(self) -> Iterator[tuple[str, list[list[pyte.screens.Char]]]]:
        screen = pyte.Screen(self.columns, self.rows)
        stream, chapter = pyte.Stream(screen), ""
        for _, kind, data in [*self._events, (0, "m", "")]:
            if kind == "o":
                stream.feed(data.replace("\x1b[2m", "\x1b[90m"))  # pyte knows no faint text
                continue
            if chapter:
                yield (
                    chapter,
                    [[screen.buffer[row][column] for column in range(self.columns)] for row in range(self.rows)],
                )
            chapter = data

    def chapters(self) -> Iterator[tuple[str, str]]:
        for name, rows in self._screens:
            yield name, "\n".join("".join(char.data for char in row).rstrip() for row in rows).rstrip()

    def still(self, number: int) -> str:
        """The screen at the end of chapter `number`, from 1, as HTML."""
        rows = self._screens[number - 1][1]
        return "\n".join("".join(_run(css, [*chars]) for css, chars in groupby(row, _css)) for row in rows).rstrip()


_COLOURS = {
    "red": "c1",
    "green": "c2",
    "brown": "c3",
    "blue": "c4",
    "magenta": "c5",
    "cyan": "c6",
    "brightblack": "dim",
}


def _css(char: pyte.screens.Char) -> str:
    return _COLOURS.get(char.fg, "b" if char.bold else "")


def _run(css: str, chars: list[pyte.screens.Char]) -> str:
    text = escape("".join(char.data for char in chars), quote=False)
    return f'<span class="{css}">{text}</span>' if css and text.strip() else text
