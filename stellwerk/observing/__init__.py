"""Observers: OpenTelemetry (extra `otel`) and Prometheus (extra `metrics`).

conventions.py   names of OpenTelemetry's conventions for generative AI, and of our own
contents.py      prompts, answers and arguments in the form of these conventions
otel.py          spans, and the two metrics of these conventions
prometheus.py    metrics of our own
configured.py    what the settings ask for

Neither library is imported before one of the observers is made.
"""
