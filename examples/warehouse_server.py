"""An MCP server with two tools, for the example in docs/tools.md. It needs `pip install 'stellwerk[mcp]'`."""

from mcp.server.fastmcp import FastMCP

PRICES = {"desk": 349.0, "chair": 129.0, "lamp": 45.5}
STOCK = {"desk": 12, "chair": 0, "lamp": 230}

server = FastMCP("warehouse", log_level="ERROR")


@server.tool()
def price(product: str) -> float:
    """Price of one piece of a product, in euros."""
    return PRICES[product]


@server.tool()
def stock(product: str) -> int:
    """Pieces of a product that are in the warehouse."""
    return STOCK[product]


if __name__ == "__main__":
    server.run()
