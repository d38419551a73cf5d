"""RouteLLM's evaluation: MMLU and GSM8K, each answered by Mixtral-8x7B and by GPT-4 (Ong et al., 2024,
arXiv 2406.18665); for GSM8K also by four small models that may check Mixtral (ZeroEval, Lin, 2024).

Prices are the track's, in USD per million tokens, the same for prompt and answer. Tokens come from the length
of texts: a question's own, and an answer's as ZeroEval records it, of that model where it has it, else the
mean of the models that it has.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean

from benchmarks.routing.corpus import Corpus, context
from benchmarks.routing.rows import Row, read_rows
from stellwerk.routers.episode import Episode, Label, Outcome

SOURCE = "RouteLLM is published at https://github.com/lm-sys/RouteLLM (Apache-2.0)"
ZEROEVAL = "ZeroEval is published at https://github.com/WildEval/ZeroEval (Apache-2.0)"
MIXTRAL, GPT4 = "mixtral-8x7b", "gpt-4-1106"
VERIFIERS = {
    "gemma-2-2b": "gemma-2-2b-it",
    "llama-3-8b": "Meta-Llama-3-8B-Instruct",
    "qwen2-7b": "Qwen2-7B-Instruct",
    "gemma-2-9b": "gemma-2-9b-it",
}
USD_PER_MILLION = {
    "gemma-2-2b": 0.04,
    "llama-3-8b": 0.10,
    "qwen2-7b": 0.10,
    "gemma-2-9b": 0.10,
    MIXTRAL: 0.24,
    GPT4: 24.7,
}
CHARACTERS_PER_TOKEN = 4
_CHOICE = 1  # tokens of an answer that names one of four


def mmlu() -> Corpus:
    """14,037 questions with four choices; a group is a subject, which no context tells."""
    episodes = []
    for number, row in enumerate(read_rows("routellm_mmlu.parquet", SOURCE)):
        tokens = len(row["query"]) / CHARACTERS_PER_TOKEN
        outcomes = tuple(
            Outcome(
                tier=tier,
                accepted=True,
                usd=(tokens + _CHOICE) * USD_PER_MILLION[tier] / 1e6,
                input=round(tokens),
                output=_CHOICE,
                label=Label(right=float(row[f"{size}_correct"]), source="gold"),
            )
            for tier, size in ((MIXTRAL, "small"), (GPT4, "large"))
        )
        episodes.append(
            Episode(
                id=f"mmlu/{number}",
                context=context("multiple_choice", row["query"], max_tokens=8),
                outcomes=outcomes,
                complete=True,
                group=row["subject"],
            )
        )
    return Corpus("MMLU", (MIXTRAL, GPT4), tuple(episodes))


def gsm8k(*, verifiers: bool = False) -> Corpus:
    """1,307 problems whose answer is a number; with the four verifiers as tiers below Mixtral, or without."""
    rows = read_rows("routellm_gsm8k.parquet", SOURCE)
    lengths = _answer_lengths()
    small = tuple(VERIFIERS) if verifiers else ()
    episodes = tuple(
        Episode(
            id=f"gsm8k/{number}",
            context=context("solve", row["query"], max_tokens=512),
            outcomes=tuple(_solved(row, tier, lengths[row["query"]]) for tier in (*small, MIXTRAL, GPT4)),
            complete=True,
        )
        for number, row in enumerate(rows)
    )
    return Corpus("GSM8K", (*small, MIXTRAL, GPT4), episodes)


def _solved(row: Row, tier: str, lengths: dict[str, int]) -> Outcome:
    prompt = len(row["query"]) / CHARACTERS_PER_TOKEN
    own = lengths.get(VERIFIERS.get(tier, ""))
    output = (own or fmean(lengths.values())) / CHARACTERS_PER_TOKEN
    if tier in VERIFIERS:
        number, correct = row[f"answer:{VERIFIERS[tier]}"], row[f"correct:{VERIFIERS[tier]}"]
    else:
        size = "small" if tier == MIXTRAL else "large"
        number, correct = row[f"{size}_answer"], row[f"{size}_correct"]
    return Outcome(
        tier=tier,
        accepted=True,
        usd=(prompt + output) * USD_PER_MILLION[tier] / 1e6,
        input=round(prompt),
        output=round(output),
        answer="" if number is None or number != number else f"{number:.10g}",
        label=Label(right=float(correct), source="gold"),
    )


def _answer_lengths() -> dict[str, dict[str, int]]:
    """Per question, the characters of each model's answer."""
    asked = {row["qid"]: row["query"] for row in read_rows("zeroeval_queries.parquet", ZEROEVAL)}
    lengths: dict[str, dict[str, int]] = defaultdict(dict)
    for row in read_rows("zeroeval_outcomes.parquet", ZEROEVAL):
        if row["dataset"] == "gsm":
            lengths[asked[row["qid"]]][row["model"]] = row["out_chars"]
    return lengths
