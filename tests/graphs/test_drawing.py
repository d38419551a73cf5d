"""What a person sees in Studio is drawn from the code."""

from langchain_core.runnables.graph import Graph

from stellwerk.graphs import create_orchestrator, create_worker_graph
from tests.fakes import ladder, not_asked, worker

START, END = "__start__", "__end__"
WORKERS = ("extract", "calculate")


def drawn(graph: Graph) -> set[tuple[str, str]]:
    return {(edge.source, edge.target) for edge in graph.edges}


def test_the_drawing_is_the_architecture() -> None:
    graph = create_orchestrator([worker(name) for name in WORKERS], ladder(not_asked)).compile()
    drawing = graph.get_graph(xray=True)
    edges = {
        (START, "supervisor"),
        ("supervisor", "execute:__start__"),
        ("execute:__start__", "execute:router"),
        ("execute:router", "execute:__end__"),
        ("execute:__end__", "supervisor"),
        ("supervisor", "synthesize"),
        ("synthesize", END),
    }
    for name in WORKERS:
        generate, verify, repair, end = (
            f"execute:{name}:{step}" for step in ("generate", "verify", "repair", END)
        )
        edges |= {
            ("execute:router", generate),
            (generate, verify),
            (verify, repair),
            (repair, verify),
            (verify, end),
            (end, "execute:router"),
            (end, "execute:__end__"),
        }
    assert drawn(drawing) == edges
    assert set(drawing.nodes) == {node for edge in edges for node in edge}


def test_the_drawing_from_afar_has_four_steps() -> None:
    graph = create_orchestrator([worker()], ladder(not_asked)).compile().get_graph()
    assert set(graph.nodes) == {START, "supervisor", "execute", "synthesize", END}


def test_a_worker_alone_is_drawn_whole() -> None:
    graph = create_worker_graph(worker("extract"), ladder(not_asked)).compile().get_graph()
    assert drawn(graph) == {
        (START, "generate"),
        ("generate", "verify"),
        ("verify", "repair"),
        ("repair", "verify"),
        ("verify", END),
    }


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def test_a_worker_with_tools_is_drawn_with_its_loop() -> None:
    loop = {
        (START, "generate"),
        ("generate", "tools"),
        ("tools", "generate"),
        ("generate", "generate"),  # the answer is asked for under the schema
        ("tools", "tools"),  # calls that are made one after the other
        ("generate", "verify"),
        ("verify", "repair"),
        ("repair", "verify"),
        ("verify", END),
    }
    specialist = worker("convert", tools=[add])
    alone = create_worker_graph(specialist, ladder(not_asked)).compile().get_graph(xray=True)
    assert drawn(alone) == loop
    whole = create_orchestrator([specialist], ladder(not_asked)).compile().get_graph(xray=True)
    place = "execute:convert:"
    inside = {
        (source.removeprefix(place), target.removeprefix(place))
        for source, target in drawn(whole)
        if source.startswith(place) and target.startswith(place)
    }
    assert inside == loop
    assert alone.draw_mermaid()


def test_each_worker_can_be_found_as_a_subgraph() -> None:
    graph = create_orchestrator([worker(name) for name in WORKERS], ladder(not_asked)).compile()
    assert {name for name, _ in graph.get_subgraphs(recurse=True)} == {
        "execute",
        *(f"execute|{name}" for name in WORKERS),
    }
