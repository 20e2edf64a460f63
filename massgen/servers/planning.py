"""The planning tools as an MCP server. Imports mcp (1.3 s): load it where it is used."""

import json
import logging
from typing import Any

from mcp import MCPError
from mcp.server import Server, ServerRequestContext
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

from massgen import __version__
from massgen.errors import MassgenError
from massgen.planning.tools import TOOLS, Outcome
from massgen.servers import Call

logging.getLogger("mcp").addHandler(logging.NullHandler())  # else its warnings are printed, where nobody set up logging

LISTED = [
    Tool.model_validate(
        {
            "name": tool.name,
            "description": tool.description,
            "inputSchema": tool.parameters,
            "outputSchema": tool.result,
            "annotations": {**tool.annotations, "openWorldHint": False},
        }
    )
    for tool in TOOLS
]
"""The tools as every client sees them."""
_NAMES = frozenset(tool.name for tool in LISTED)
_NOT_OURS = "wait_for_previous"
"""What Gemini CLI 0.61 offers its models in every tool, for its own use, and passes on."""


def planning_server(call: Call, agent: str) -> Server[Any]:
    """A server whose every tool call is `agent`'s: nothing that it sends can make it another's."""

    async def listed(context: ServerRequestContext[Any], params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=LISTED)

    async def called(context: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
        given = {name: value for name, value in (params.arguments or {}).items() if name != _NOT_OURS}
        try:
            outcome = call(agent, params.name, given)
        except MassgenError as error:
            outcome = Outcome(None, {"error": str(error)}, is_error=True)
        if params.name not in _NAMES:  # an error of the client's, not of the model's (MCP, tools, error handling)
            raise MCPError(INVALID_PARAMS, outcome.result["error"])
        return _result(outcome)

    return Server("massgen-planning", version=__version__, on_list_tools=listed, on_call_tool=called)


def _result(outcome: Outcome) -> CallToolResult:
    """Its JSON as text, as our own agents read it, and as it is. A refusal is a sentence: what is JSON, Gemini CLI 0.61 holds
    against the tool's schema, and all that its model hears is that it does not fit."""
    if outcome.is_error:
        return CallToolResult(content=[TextContent(text=outcome.result["error"])], is_error=True)
    text = TextContent(text=json.dumps(outcome.result, ensure_ascii=False))
    return CallToolResult(content=[text], structured_content=dict(outcome.result))
