"""The orchestrator as a node of a graph of your own: letters come in, and an invoice goes out.

Run it after `stellwerk models pull smollm2-135m`.
"""

from typing import Any

from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict

from stellwerk import Brief, Example, create_orchestrator, create_worker, embedded_ladder

PRICES = {"desk": 349.0, "chair": 129.0, "lamp": 45.5}


def price(product: str) -> float | None:
    return PRICES.get(product.lower().removesuffix("s"))


class Order(BaseModel):
    product: str
    pieces: int


def product_is_in_the_letter(order: Order, brief: Brief) -> str | None:
    found = order.product.lower() in brief.instruction.lower()
    return None if found else "the product is not in the letter; copy the word"


def product_has_a_price(order: Order, brief: Brief) -> str | None:
    return None if price(order.product) else f"there is no such product; products: {', '.join(PRICES)}"


order = create_worker(
    "order",
    output=Order,
    prompt="Say which product is ordered, and how many pieces.",
    examples=[
        Example(instruction="Send two lamps to Kiel.", answer={"product": "lamps", "pieces": 2}),
        Example(instruction="I would like to have 30 chairs.", answer={"product": "chairs", "pieces": 30}),
    ],
    checks=[product_is_in_the_letter, product_has_a_price],
    max_tokens=40,
)


class Office(TypedDict, total=False):
    """The state of this graph; it shares `task`, `plan`, `results` and `failure` with the orchestrator."""

    letters: list[str]
    task: str
    plan: dict[str, Any]
    results: dict[str, Any]
    failure: dict[str, Any] | None
    euros: float
    unread: list[str]


def open_letters(state: Office) -> Office:
    """A plan that is given needs no planner: a subtask for each letter, and they run side by side."""
    subtasks = [
        {"id": f"letter-{number}", "worker": "order", "instruction": letter}
        for number, letter in enumerate(state["letters"], 1)
    ]
    return {"task": "Read the orders.", "plan": {"subtasks": subtasks}}


def invoice(state: Office) -> Office:
    """What was read is a value of the worker's schema; what was not has a reason, and no value."""
    done = [result["value"] for result in state["results"].values() if result["status"] == "accepted"]
    failure = state.get("failure")
    return {
        "euros": sum((price(order["product"]) or 0.0) * order["pieces"] for order in done),
        "unread": sorted(failure["missing"]) if failure else [],
    }


# With a larger model as a second tier, such as "qwen2.5-coder-0.5b", what the checks reject moves up to it.
reader = create_orchestrator([order], embedded_ladder(["smollm2-135m"]), synthesizer="join")

graph = StateGraph(Office)
graph.add_node("open", open_letters)
graph.add_node("read", reader.compile())
graph.add_node("invoice", invoice)
graph.add_edge(START, "open")
graph.add_edge("open", "read")
graph.add_edge("read", "invoice")
graph.add_edge("invoice", END)
office = graph.compile()

if __name__ == "__main__":
    state = office.invoke(
        {
            "letters": [
                "We would like to buy forty desks for our new office.",
                "Please deliver three more chairs to Hamburg.",
                "I need a lamp.",
            ]
        }
    )
    for name, result in state["results"].items():
        print(name, result["status"], result["value"] or result["detail"])
    print(f"{state['euros']:.2f} euros; not read: {', '.join(state['unread']) or 'none'}")
