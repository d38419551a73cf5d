"""Stellwerk's graphs over HTTP.

app.py            `create_app`
server.py         uvicorn, and how it ends
service.py        what all requests share: the database, the graphs, the limits
door.py           who is served: keys, tokens, or this machine alone
credentials.py    whose key or token it is
browser.py        what browsers send, by themselves too
api_keys.py       the file of keys
tokens.py         JSON Web Tokens
threads.py        whose threads there are
running.py        runs on their way, and when they are stopped
event_stream.py   what a client is told while a run goes on
bodies.py         what clients may send
answers.py        of people
body_limit.py     how much of it
problem.py        errors as clients see them
thread_routes.py  the orchestrator on threads
worker_routes.py  single workers
chat_routes.py    the orchestrator as OpenAI's chat API has it
report_page.py    what ran, as pages, to each owner of their own
studio_auth.py    who is served by LangGraph's server
studio_app.py     the report beside its routes
health_routes.py  whether it is up, and metrics
langserve/        LangServe's routes, where it is installed
"""
