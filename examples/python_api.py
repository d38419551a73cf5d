"""Two questions about a page of an annual report, answered by models in this process.

Run it from the folder that holds `examples`, after `stellwerk models pull`.
"""

from stellwerk import (
    calculate_worker,
    create_orchestrator,
    embedded_ladder,
    extract_worker,
    look_up_worker,
    read_document,
    write_worker,
)

graph = create_orchestrator(
    [look_up_worker(), calculate_worker(), extract_worker(), write_worker()],
    embedded_ladder(),
).compile()

state = graph.invoke(
    {
        "task": "What was the operating profit in 2024?\n"
        "By what percentage did revenue change from 2023 to 2024?",
        "documents": [read_document("examples/annual_report/page.md")],
    }
)

print(state["answer"])
for tier, line in state["ledger"]["by_tier"].items():
    print(f"{tier}: {line['calls']} calls, {line['output']} tokens written, {line['usd']:.6f} USD")
