"""The handbook's page of planning tools, from what the server lists, and what comes of calls."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from massgen.planning import LEVELS, MOST_TASKS, Plan, changed
from massgen.planning.arguments import LONGEST
from massgen.planning.tools import call

HEAD = f"""# Planning tools

<!-- Written by `make docs-update` from `massgen/servers/planning.py` and `massgen/planning/tools.py`. Change it there. -->

Eight tools to keep a plan: tasks that wait for one another, are started (which claims them) and completed. A plan has at most
{MOST_TASKS} tasks, sub-tasks lie at most {LEVELS} levels deep, and a text has at most {LONGEST:,} characters. What would break a plan,
such as tasks that wait for one another in a circle, is refused in words that say what to do instead; nothing has changed then.

## For any MCP client

`massgen mcp serve planning` serves them on stdin and stdout. Clients that start servers are told so in their own settings, most
of them like this:

```json
{{
  "mcpServers": {{
    "plan": {{
      "command": "massgen",
      "args": ["mcp", "serve", "planning", "--plan", "/home/me/plan.jsonl"]
    }}
  }}
}}
```

The plan is kept in that file: a change is in it before it is answered, and a process that is killed, at whatever moment, leaves a
whole plan, which the next one goes on with. Without `--plan` it is a new file in the data folder, told on stderr.

Several clients may share a file: each takes in what the others wrote before it answers. Give each a name then, by `--agent`: the
plan is a team's, made once, and what one has started or completed no other can change. Started again by the same name, it has its
tasks again; so the tasks of one that does not come back are freed under its name."""

CALLS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("create_task_plan", {"tasks": ["Read the log", {"description": "Find the fault", "depends_on": [0]}, "Make tea"]}),
    ("add_task", {"description": "Tell the users", "priority": "high"}),
    ("update_task_status", {"task_id": "t1", "status": "in_progress"}),
    ("edit_task", {"task_id": "t2", "metadata": {"module": "parser"}}),
    ("get_task_plan", {}),
    ("delete_task", {"task_id": "t3"}),
    ("get_ready_tasks", {}),
    ("get_blocked_tasks", {}),
)
"""One after the other, an example of each."""


def planning_page() -> str:
    """Each tool: its parameters, and a call with its result."""
    from massgen.servers.planning import LISTED  # it imports mcp, a second that no other page needs

    shown = dict(_examples())
    return "\n\n".join([HEAD, *(_tool(tool.model_dump(by_alias=True), shown[tool.name]) for tool in LISTED)]) + "\n"


def _examples() -> Iterator[tuple[str, str]]:
    plan = Plan()
    for name, arguments in CALLS:
        outcome = call(plan, name, arguments, agent="agent1", at=1.0)
        plan = changed(plan, outcome.change) if outcome.change else plan
        lines = [json.dumps(arguments), json.dumps(outcome.result, ensure_ascii=False)]
        yield name, "```jsonl\n" + "\n".join(lines) + "\n```"


def _tool(tool: Mapping[str, Any], example: str) -> str:
    schema, hints = tool["inputSchema"], tool["annotations"]
    marks = {
        "readOnlyHint": "only reads",
        "destructiveHint": "may undo earlier work",
        "idempotentHint": "can be repeated",
    }
    told = ", ".join(words for hint, words in marks.items() if hints[hint])
    head = f"## `{tool['name']}`\n\n{tool['description']}{f' (It {told}.)' if told else ''}"
    nested = [each for field in schema["properties"].values() for each in _objects(field)]
    tables = [_table(schema), *(f"A task, where it is more than its description:\n\n{_table(each)}" for each in nested)]
    returns = ", ".join(f"`{name}`" for name in tool["outputSchema"]["properties"])
    return "\n\n".join([head, *filter(None, tables), f"Returns {returns}. A call, and what comes of it:", example])


def _table(schema: Mapping[str, Any]) -> str:
    rows = [
        f"| `{name}` | {_type(field)} | {'yes' if name in schema['required'] else 'no'} | {field.get('description', '')} |"
        for name, field in schema["properties"].items()
    ]
    return "\n".join(["| parameter | type | required | meaning |", "|---|---|---|---|", *rows]) if rows else ""


def _type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if schema["type"] == "array":
        return f"list of ({_type(schema['items'])})"
    return {"string": "text", "integer": "whole number", "object": "mapping"}[schema["type"]]


def _objects(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The mappings with known keys inside `schema`."""
    if "properties" in schema:
        yield schema
    for inner in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())):
        yield from _objects(inner)
