"""A server whose tools leave traces, by hand: each call is a line in the file `journal` of its folder.

While the folder has a file `hangs`, a call that is in it does not return; the pipe `began` tells that it has begun.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["DESK"])
TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
HINTS = {"look": {"readOnlyHint": True}, "note": {"readOnlyHint": False, "destructiveHint": False}, "send": {"destructiveHint": True}}  # fmt: skip
TOOLS: list[Any] = [
    {"name": name, "description": f"To {name}.", "inputSchema": TEXT, "annotations": hints}
    for name, hints in HINTS.items()
]


def called(name: str, text: str) -> Any:
    with (FOLDER / "journal").open("a") as journal:
        journal.write(f"{name} {text}\n")
    if (FOLDER / "hangs").exists() and name in (FOLDER / "hangs").read_text().split():
        (FOLDER / "began").write_text(f"{name}\n")
        time.sleep(600)
    key = os.environ.get("DESK_KEY", "")
    return {"content": [{"type": "text", "text": f"{name}: {text} is done{key and f' with {key}'}"}]}


def answer(request: dict[str, Any]) -> Any:
    match request:
        case {"method": "initialize"}:
            info = {"name": "desk", "version": "1"}
            return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
        case {"method": "tools/list"}:
            return {"tools": TOOLS}
        case {"method": "tools/call", "params": {"name": str(name), "arguments": {"text": str(text)}}}:
            return called(name, text)
        case _:
            return None


def main() -> None:
    (FOLDER / "pids").open("a").write(f"{os.getpid()}\n")
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            result = answer(request)
            said = {"error": {"code": -32601, "message": "Method not found"}} if result is None else {"result": result}
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **said}), flush=True)


main()
