"""What LangGraph's server serves besides its own routes, as `langgraph.json` names it: the report."""

from __future__ import annotations

from starlette.applications import Starlette

from stellwerk.graphs.studio_storage import traces
from stellwerk.serving.door import Door
from stellwerk.serving.problem import Problem, problem_response
from stellwerk.serving.report_page import mount_report
from stellwerk.settings import Settings


def _made() -> Starlette:
    made = Starlette(exception_handlers={Problem: problem_response})
    if (page := mount_report(made, Door(Settings.load().serve))) is not None:
        page.open(traces())
    return made


app = _made()
"""Has the report at `/report`, on the database of the settings."""
