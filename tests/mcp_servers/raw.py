"""A server by hand, over stdin and stdout: `raw.py WAY...`. It speaks the protocol of 2025-11-25 unless told otherwise.

Ways at the start: `ends`, `mute`, `late=SECONDS`, `stubborn` (ends neither with stdin nor by SIGTERM), `leaves-child`, `noisy`, `heir=SECONDS` (a child has the last word on stderr), `odd-tools`,
`many-tools`, `endless-pages`, `broken-listing`, `no-tools`, `older` (ends at a first word that it does not know), `brackets` (arguments with odd names), `learns` (has the tools of `LESSONS`, the next at each `learn`). What happens in
a call, its tool's name says.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

WAYS = sys.argv[1:]
ANY: dict[str, Any] = {"type": "object", "properties": {}}
STRUCTURE = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
CALLS = [
    "echo", "env", "where", "pid", "count", "dies", "hangs", "slow", "floods", "floods-forever", "shouts", "raves", "closes", "no-object", "no-content",
    "no-json", "refuses", "parts", "structured", "nothing",
]  # fmt: skip
ODD: list[Any] = [
    {"name": "good", "inputSchema": ANY},
    {"name": "good", "inputSchema": ANY, "description": "a second one"},
    {"name": "naïve.ümlaut/工具", "inputSchema": ANY},
    {"name": "x" * 90, "inputSchema": ANY},
    {"name": "typeless", "inputSchema": {"properties": {"a": {"type": "string"}}}},
    {"name": "no-schema"},
    {"name": "a-word", "inputSchema": "object"},
    {"name": "a-list", "inputSchema": {"type": "array"}},
    {"name": "no-type", "inputSchema": {"type": "object", "properties": {"a": {"type": "strnig"}}}},
    {"name": "no-names", "inputSchema": {"type": "object", "required": [1]}},
    {"inputSchema": ANY},
    "not even an object",
]


LESSONS = ["learn look", "learn burn look", "learn burn", "broken", "learn look"]


def tools() -> Any:
    if "learns" in WAYS:
        hint = {"destructiveHint": True}
        every = [{"name": name, "inputSchema": ANY, "annotations": hint} for name in LESSONS[0].split()]
        return "none" if LESSONS[0] == "broken" else every
    if "odd-tools" in WAYS:
        return ODD
    if "brackets" in WAYS:
        odd: Any = {"type": "object", "properties": {"filter[name]": {}, "created>": {}}, "required": ["filter[name]"]}
        return [{"name": "given", "inputSchema": odd}]
    if "many-tools" in WAYS:
        return [{"name": f"tool{number:04}", "inputSchema": ANY} for number in range(1_000)]
    hints = {"echo": {"readOnlyHint": True}, "dies": {"destructiveHint": True}, "pid": {"readOnlyHint": False}}
    told: list[Any] = [{"name": name, "inputSchema": ANY, "annotations": hints.get(name)} for name in CALLS]
    every = [{key: value for key, value in each.items() if value is not None} for each in told]
    return [{**each, "outputSchema": STRUCTURE} if each["name"] == "structured" else each for each in every]


def listing(cursor: str) -> dict[str, Any]:
    if "endless-pages" in WAYS:
        number = int(cursor or 0)
        return {"tools": [{"name": f"tool{number}", "inputSchema": ANY}], "nextCursor": str(number + 1)}
    every = tools()
    if "many-tools" not in WAYS:
        return {"tools": every}
    start = int(cursor or 0)
    more = {"nextCursor": str(start + 250)} if start + 250 < len(every) else {}
    return {"tools": every[start : start + 250], **more}


calls = itertools.count(1)
RESULTS: dict[str, Any] = {
    "raves": None,
    "slow": None,  # is never answered; everything else is
    "shouts": {"content": [{"type": "text", "text": "quiet"}]},
    "no-object": "a word",
    "no-content": {"content": [{"type": "text"}]},
    "no-json": {"content": []},
    "structured": {"content": [], "structuredContent": {"n": "not a number"}},
    "refuses": {"content": [{"type": "text", "text": "no such city"}], "isError": True},
    "nothing": {"content": [], "structuredContent": {"n": 1}},
    "parts": {
        "content": [
            {"type": "text", "text": "one"},
            {"type": "image", "data": "AAAA", "mimeType": "image/png"},
            {"type": "resource_link", "name": "two", "uri": "file:///two"},
            {"type": "resource", "resource": {"uri": "file:///three", "text": "three"}},
            {"type": "resource", "resource": {"uri": "file:///b", "blob": "AAAA"}},
        ]
    },
}


def called(name: str, arguments: dict[str, Any]) -> Any:
    number = next(calls)
    if name == "learn":
        LESSONS.pop(0)
        print('{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}', flush=True)
    known: dict[str, Any] = {
        "echo": arguments.get("text", ""),
        "env": json.dumps(dict(os.environ)),
        "where": os.getcwd(),
        "pid": str(os.getpid()),
        "count": str(number),
        "given": json.dumps(arguments),
        **dict.fromkeys(("learn", "burn", "look"), "done"),
    }
    if name in known:
        return {"content": [{"type": "text", "text": known[name]}]}
    misbehave(name)
    if name == "floods":
        return {"content": [{"type": "text", "text": "x" * 100_000_000}]}
    return RESULTS[name]


def misbehave(name: str) -> None:
    match name:
        case "dies":
            print("segmentation, of a kind", file=sys.stderr, flush=True)
            os._exit(7)
        case "hangs":
            time.sleep(600)
        case "floods-forever":
            while True:
                sys.stdout.write("x" * 1_000_000)
        case "shouts" | "raves":
            start = (
                '{"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "' if name == "shouts" else ""
            )
            print(f'{start}{"x" * 2**25}"}}}}', flush=True)
        case "closes":
            os.close(1)
            time.sleep(600)
        case "no-json":
            sys.stdout.write("Oops: I am not JSON\n")
        case _:
            pass


def answer(request: dict[str, Any]) -> Any:
    params: dict[str, Any] = request.get("params") or {}
    match request["method"]:
        case "initialize":
            able: dict[str, Any] = {} if "no-tools" in WAYS else {"tools": {}}
            return {
                "protocolVersion": "2025-11-25",
                "capabilities": able,
                "serverInfo": {"name": "raw", "version": "1"},
            }
        case "tools/list":
            return {"tools": "none"} if "broken-listing" in WAYS else listing(params.get("cursor", ""))
        case "tools/call":
            return called(params["name"], params.get("arguments") or {})
        case _:
            return None


def reply(request: dict[str, Any]) -> None:
    if request["method"] == "server/discover":
        if "older" in WAYS:
            sys.exit("expect initialize request")
        error = {"code": -32601, "message": "Method not found"}
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": error}), flush=True)
        return
    result = answer(request)
    if result is not None and "id-last" in WAYS:
        print(json.dumps({"result": result, "jsonrpc": "2.0", "id": request["id"]}), flush=True)
    elif result is not None and "id" in request:
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)


def prepare() -> None:
    """What happens before the first message is read."""
    if "noisy" in WAYS:
        print("Welcome to the raw server!", flush=True)
        print("warming up", file=sys.stderr, flush=True)
    if "stubborn" in WAYS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "leaves-child" in WAYS:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # with this one's pipes
    for way in WAYS:
        if way.startswith("heir="):
            last = "import sys, time; time.sleep(float(sys.argv[1])); sys.stderr.write('ask for one')"
            command = [sys.executable, "-Ic", last, way.removeprefix("heir=")]
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    if "ends" in WAYS:
        sys.exit("no licence found")
    time.sleep(sum(float(way.removeprefix("late=")) for way in WAYS if way.startswith("late=")))


def main() -> None:
    prepare()
    for line in sys.stdin:
        request = json.loads(line)
        if "method" in request and "mute" not in WAYS:
            reply(request)
    while "stubborn" in WAYS:
        time.sleep(600)


main()
