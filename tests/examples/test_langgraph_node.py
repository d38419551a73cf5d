"""The orchestrator as a node of somebody's graph, on a real model."""

import pytest

from examples.langgraph_node import office


@pytest.mark.model
def test_what_is_read_is_invoiced_and_what_is_not_is_named() -> None:
    state = office.invoke(
        {
            "letters": [
                "We would like to buy forty desks for our new office.",
                "Please deliver three more chairs to Hamburg.",
                "I need a lamp.",
            ]
        }
    )
    values = [result["value"] for result in state["results"].values()]
    assert values == [{"product": "desks", "pieces": 40}, {"product": "chairs", "pieces": 3}, None]
    assert state["euros"] == 40 * 349.0 + 3 * 129.0
    assert state["unread"] == ["letter-3"]


def test_the_drawing_shows_what_the_node_is_made_of() -> None:
    drawn = office.get_graph(xray=True).draw_mermaid()
    assert "read\\3aexecute" in drawn or "read:execute" in drawn
