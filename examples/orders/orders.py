"""A worker of one's own, which the settings beside it name: it reads orders out of letters."""

from pydantic import BaseModel

from stellwerk import Brief, Example, create_worker


class Order(BaseModel):
    product: str
    pieces: int


def product_is_in_the_letter(order: Order, brief: Brief) -> str | None:
    found = order.product.lower() in brief.instruction.lower()
    return None if found else "the product is not in the letter; copy the word"


order = create_worker(
    "order",
    description="reads an order out of a letter",
    output=Order,
    prompt="Say which product is ordered, and how many pieces.",
    examples=[
        Example(instruction="Send two lamps to Kiel.", answer={"product": "lamps", "pieces": 2}),
        Example(instruction="I would like to have 30 chairs.", answer={"product": "chairs", "pieces": 30}),
    ],
    checks=[product_is_in_the_letter],
    max_tokens=40,
)
