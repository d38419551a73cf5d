"""A question that a model answers with tools, in this process.

Run it after `stellwerk models pull`.
"""

from pydantic import BaseModel

from stellwerk import Brief, create_worker, create_worker_graph, embedded_ladder

PRICES = {"desk": 349.0, "chair": 129.0, "lamp": 45.5}
STOCK = {"desk": 12, "chair": 0, "lamp": 230}


def price(product: str) -> float:
    """Price of one piece of a product, in euros."""
    return PRICES[product]


def stock(product: str) -> int:
    """Pieces of a product that are in the warehouse."""
    return STOCK[product]


class Offer(BaseModel):
    euros: float
    pieces: int


def stands_in_what_the_tools_gave(offer: Offer, brief: Brief) -> str | None:
    given = [float(use["output"]) for use in brief.tools if not use["failed"]]
    missing = [figure for figure in (offer.euros, offer.pieces) if figure not in given]
    return f"no tool gave {missing[0]}" if missing else None


offer = create_worker(
    "offer",
    output=Offer,
    prompt="Say what one piece costs in euros, and how many pieces are in the warehouse. Use the tools.",
    tools=[price, stock],
    checks=[stands_in_what_the_tools_gave],
    max_tokens=100,
)

graph = create_worker_graph(offer, embedded_ladder()).compile()

if __name__ == "__main__":
    result = graph.invoke({"instruction": "Offer a desk.", "tier": "qwen2.5-coder-1.5b"})
    print(result["verdict"], result["value"])
    for call in result["calls"]:
        for use in call.get("tools", ()):
            print(f"{use['name']}({use['args']}) gave {use['output']}")
