"""ParetoBandit's validation prompts: reward and dollars of three models on 1,785 prompts (Taberner-Miller,
2026).

Its own test rows are not read.
"""

from __future__ import annotations

from benchmarks.routing.corpus import Corpus, context
from benchmarks.routing.rows import read_rows
from stellwerk.routers.episode import Episode, Label, Outcome

SOURCE = "ParetoBandit is published at https://github.com/ParetoBandit/ParetoBandit (Apache-2.0)"
MODELS = {
    "meta-llama/llama-3.1-8b-instruct": "llama-3.1-8b",
    "mistralai/mistral-large-2512": "mistral-large",
    "google/gemini-2.5-pro": "gemini-2.5-pro",
}


def dollars() -> Corpus:
    """The prompts; a reward between 0 and 1 by a judge is how right an answer is."""
    episodes = tuple(
        Episode(
            id=f"paretobandit/{number}",
            context=context("answer", row["prompt"], max_tokens=1024),
            outcomes=tuple(
                Outcome(
                    tier=name,
                    accepted=True,
                    usd=row["arms"][model]["cost"],
                    label=Label(right=row["arms"][model]["reward"], source="judge"),
                )
                for model, name in MODELS.items()
            ),
            complete=True,
        )
        for number, row in enumerate(read_rows("paretobandit_val.jsonl", SOURCE))
    )
    return Corpus("ParetoBandit", tuple(MODELS.values()), episodes)
