"""The MCP inspector's command line, as `npm ci --prefix tests/inspector` installs it."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parent / "node_modules" / ".bin" / "mcp-inspector"


async def inspected(*arguments: str) -> tuple[int, Any]:
    """Its exit code, and the result of the one call that it makes. It keeps what it keeps in the working directory."""
    assert PROGRAM.exists(), "the inspector is not installed: npm ci --prefix tests/inspector"
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, "--cli", "--format", "json", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": os.getcwd()},
    )
    out, err = await process.communicate()
    assert out, err.decode()
    return process.returncode or 0, json.loads(out)["result"]
