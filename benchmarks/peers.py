"""The peers: what each needs installed, in a virtual environment of its own below `.bench/`, kept between runs."""

import hashlib
import json
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOWS = Path(__file__).parent / "flows"
BENCH = ROOT / ".bench"


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody else's way to make the model calls of one run; `packages` is what pip is asked for."""

    name: str
    script: str
    packages: tuple[str, ...] = ()

    @property
    def python(self) -> Path:
        """Its interpreter; ours where it needs nothing installed."""
        return BENCH / self.name / "bin" / "python" if self.packages else Path(sys.executable)


RAW = Peer("rawsock", "with_rawsock.py")
LITELLM = Peer("litellm", "with_litellm.py", ("litellm>=1.106,<2", "mcp>=2.3,<3"))
PEERS = (
    RAW,
    Peer("aiohttp", "with_aiohttp.py", ("aiohttp",)),
    Peer("httpx2", "with_httpx2.py", ("httpx2",)),
    Peer("openai", "with_openai.py", ("openai",)),
    LITELLM,
    Peer("agno", "with_agno.py", ("agno", "openai")),
)
PUBLIC = Peer("public-massgen", "with_public_massgen.py", ("massgen==0.1.97",))
"""The public MassGen: 265 packages, 1.7 GB, five minutes. It shares our package's name, so it must never share our environment."""


def install(peer: Peer) -> None:
    """Create the peer's environment unless it is there for exactly these packages."""
    if not peer.packages:
        return
    home, stamp = BENCH / peer.name, BENCH / peer.name / "installed.sha256"
    wanted = hashlib.sha256(json.dumps(peer.packages).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"installing {peer.name} ...", file=sys.stderr)
    venv.create(home, with_pip=True, clear=True)
    pip_install(peer.python, *peer.packages)
    stamp.write_text(wanted)


def pip_install(python: Path, *packages: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    subprocess.run(command, check=True, stdout=sys.stderr)
