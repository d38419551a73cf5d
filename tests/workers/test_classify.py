import pytest

from stellwerk import ConfigurationError, classify_worker
from stellwerk.graphs import create_worker_graph
from tests.fakes import always, in_turn, ladder, not_asked


def test_a_label_and_nothing_beside_it() -> None:
    worker = classify_worker(["bill", "complaint"])
    talks = in_turn('{"label": "bill", "description": "a bill is"}', '{"label": "complaint"}')
    graph = create_worker_graph(worker, ladder(talks, not_asked)).compile()

    assert worker.schema["additionalProperties"] is False
    output = graph.invoke({"instruction": "You charged me twice!"})
    assert output["value"] == {"label": "complaint"}
    assert [call["step"] for call in output["calls"]] == ["generate", "repair"]


def test_unknown_is_always_among_the_labels() -> None:
    worker = classify_worker({"bill": "wants to pay", "complaint": "is angry"}, examples=[("Pay!", "bill")])
    graph = create_worker_graph(worker, ladder(always('{"label": "unknown"}'), not_asked)).compile()

    assert graph.invoke({"instruction": "Hm."})["value"] == {"label": "unknown"}


def test_a_single_label_is_no_choice() -> None:
    with pytest.raises(ConfigurationError, match="at least two"):
        classify_worker(["bill"])
    with pytest.raises(ConfigurationError, match="unknown label 'invoice'"):
        classify_worker(["bill", "complaint"], examples=[("Pay!", "invoice")])
