"""LangServe's routes for the graphs, within the limits and for the owners of all others.

chosen.py      what a client may choose for a run, of a config and of a hash in the path
bodies.py      what clients send
forms.py       schemas that the playground can show
given.py       inputs, as clients send them and as graphs take them
shown.py       outputs, and everything else, as JSON
visit.py       the runs of a request, and how they are stopped
graph.py       a graph as LangServe calls it
orchestrator.py, workers.py  the two kinds
answer.py      responses: at once, or as events
playground.py  the page to try it in
handlers.py    LangServe's handlers, one for each graph
asking.py      a request, with all that answers it
routes.py      the routes

LangServe is an optional package under a licence of its own, so nothing else imports this one.
"""
