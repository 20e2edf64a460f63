"""MCP servers that misbehave, each in its own way."""

import sys
from pathlib import Path

from massgen.config.tools import McpServer

MODULES = Path(__file__).parent.parent / "toolbox" / "node_modules"
"""Where `npm ci --prefix tests/toolbox` puts the reference servers."""


def raw(*modes: str, **settings: object) -> McpServer:
    """The server of `raw.py` with these ways; it starts in some 50 ms, for it imports nothing of mcp."""
    script = str(Path(__file__).parent / "raw.py")
    return McpServer.model_validate({"command": sys.executable, "args": ["-I", script, *modes], **settings})
