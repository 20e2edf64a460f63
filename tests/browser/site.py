"""The built handbook, served on loopback as a web server would: compressed, and with a record of what was sent."""

import gzip
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from pathlib import Path

ROOT = Path(__file__).parents[2]
HANDBOOK = ROOT / "handbook"
BASE = "/massgen"
"""Where the site stands on its host."""


def build(folder: Path) -> Path:
    """Build the site into `folder`, strictly, as `make docs` does. Raises what mkdocs says."""
    quiet = {"NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true", "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    ran = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    return folder


def pages() -> list[str]:
    """The address of every page there is a source of, relative to the site's."""
    sources = sorted(path.relative_to(HANDBOOK) for kind in ("md", "ipynb") for path in HANDBOOK.rglob(f"*.{kind}"))
    return [path.with_suffix("").as_posix().removesuffix("index").rstrip("/") + "/" for path in sources]


def source(page: str) -> str:
    """The Markdown of a page."""
    named = HANDBOOK / page.strip("/")
    found = (named.with_suffix(".md"), named.with_suffix(".ipynb"), named / "index.md")
    return next(path for path in found if path.exists()).read_text("utf-8")


@dataclass
class Site:
    """`sent`: path -> bytes of its body as they went over the wire, since the last `clear`."""

    address: str = ""
    sent: dict[str, int] = field(default_factory=dict[str, int])
    stalls: dict[str, str] = field(default_factory=dict[str, str])
    """Path -> text before which its page stops coming for half a second."""

    def url(self, page: str) -> str:
        return f"{self.address}/{page.lstrip('/')}"


@contextmanager
def serving(folder: Path, more: Mapping[str, str] | None = None) -> Generator[Site]:
    """Serve `folder`, and `more` pages: path -> HTML. Nothing may be cached: every visit is a first one."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place = self.path.split("?")[0].removeprefix(BASE)  # 404.html names its assets from the host on
            path = folder / place.strip("/")
            path = path / "index.html" if path.is_dir() else path
            if html := (more or {}).get(self.path):
                self._send("text/html", gzip.compress(html.encode()))
            elif before := site.stalls.get(self.path):
                html = path.read_bytes()
                cut = html.index(before.encode())
                self._send("text/html", html[:cut], html[cut:], encoding="identity")
            elif path.is_file():
                self._send(guess_type(path)[0] or "application/octet-stream", _compressed(path))
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        def _send(self, kind: str, body: bytes, later: bytes = b"", encoding: str = "gzip") -> None:
            site.sent[self.path] = size = len(body) + len(later)
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Encoding", encoding)
            self.send_header("Content-Length", str(size))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)
            if later:
                time.sleep(0.5)
                self.wfile.write(later)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


@cache
def _compressed(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), 6, mtime=0)
