"""A server of the Model Context Protocol, by its SDK, for uvicorn to serve."""

from __future__ import annotations

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("adder")


@server.tool()
async def add(a: int, b: int, context: Context) -> int:
    """Add two numbers, and say so."""
    await context.info(f"adding {a} and {b}")
    return a + b


app = server.streamable_http_app()
