"""The price list: what common hosted models cost, so that a tier on one of them needs no price of its own.

Prices and pages are those that LiteLLM 1.110.2 carries in its model list; `AS_OF` is the newest date in that
release. Input and output prices of Anthropic's models (but for claude-sonnet-5) were also compared with its
own pages. Left out: models that retire within the month, and those whose price names no page.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from urllib.parse import urlsplit

AS_OF = date(2026, 11, 2)
OLD_AFTER = 180  # days

_OPENAI = "https://developers.openai.com/api/docs/pricing"
_ANTHROPIC = "https://platform.claude.com/docs/en/about-claude/pricing"
_HAIKU = "https://platform.claude.com/docs/en/models/haiku-5-5/overview"
_GEMINI = "https://ai.google.dev/gemini-api/docs/pricing"
# Its prices are those of the dear hours; the others cost half.
_DEEPSEEK = "https://api-docs.deepseek.com/quick_start/pricing"
_TOGETHER = "https://api.together.ai/v1/models"

# A model's name means a price only at its provider: the same name elsewhere may cost anything.
_HOSTS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "generativelanguage.googleapis.com": "gemini",
    "api.groq.com": "groq",
    "api.together.xyz": "together",
    "api.together.ai": "together",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPrice:
    """What a hosted model costs, in USD per million tokens.

    Args:
        provider: who hosts it.
        model: its name in the provider's API.
        input: prompt tokens that were not cached.
        cached: prompt tokens read from the provider's cache; None where the page names no such price.
        output: output tokens.
        source: the page that says so.
        above: prompts of more tokens than this cost more, and are counted too low.
    """

    provider: str
    model: str
    input: float
    cached: float | None
    output: float
    source: str
    above: int | None = None

    @property
    def name(self) -> str:
        """How settings call it: `provider/model`."""
        return f"{self.provider}/{self.model}"


def _price(
    provider: str,
    model: str,
    input: float,
    cached: float | None,
    output: float,
    source: str,
    above: int | None = None,
) -> ListedPrice:
    return ListedPrice(
        provider=provider,
        model=model,
        input=input,
        cached=cached,
        output=output,
        source=source,
        above=above,
    )


# fmt: off
PRICES: tuple[ListedPrice, ...] = (
    _price("openai", "gpt-6.1-sol", 2, 0.1, 10, _OPENAI, above=272_000),
    _price("openai", "gpt-6.1-terra", 1, 0.05, 5, _OPENAI, above=272_000),
    _price("openai", "gpt-6-astra", 10, 1, 50, _OPENAI, above=272_000),
    _price("openai", "gpt-6-sol", 2, 0.2, 10, _OPENAI, above=272_000),
    _price("openai", "gpt-6-luna", 0.1, 0.01, 0.5, _OPENAI, above=272_000),
    _price("openai", "gpt-5.6-sol", 4, 0.4, 20, _OPENAI, above=272_000),
    _price("openai", "gpt-5.6-terra", 2, 0.2, 12, _OPENAI, above=272_000),
    _price("openai", "gpt-5.6-luna", 0.2, 0.02, 1.2, _OPENAI, above=272_000),
    _price("openai", "gpt-5.5", 5, 0.5, 30, _OPENAI, above=272_000),
    _price("openai", "gpt-5.4", 2.5, 0.25, 15, _OPENAI, above=272_000),
    _price("openai", "gpt-5.4-mini", 0.75, 0.075, 4.5, _OPENAI),
    _price("openai", "gpt-5.4-nano", 0.2, 0.02, 1.25, _OPENAI),
    _price("openai", "gpt-5.2", 1.75, 0.175, 14, _OPENAI),
    _price("openai", "gpt-5.1", 1.25, 0.125, 10, _OPENAI),
    _price("openai", "gpt-5", 1.25, 0.125, 10, _OPENAI),
    _price("openai", "gpt-5-mini", 0.25, 0.025, 2, _OPENAI),
    _price("openai", "gpt-5-nano", 0.05, 0.005, 0.4, _OPENAI),
    _price("openai", "gpt-4.1", 2, 0.5, 8, _OPENAI),
    _price("openai", "gpt-4.1-mini", 0.4, 0.1, 1.6, _OPENAI),
    _price("openai", "gpt-4o", 2.5, 1.25, 10, _OPENAI),
    _price("openai", "gpt-4o-mini", 0.15, 0.075, 0.6, _OPENAI),
    _price("openai", "o3", 2, 0.5, 8, _OPENAI),
    _price("anthropic", "claude-haiku-5-5", 0.1, 0.01, 0.5, _HAIKU, above=100_000),
    _price("anthropic", "claude-haiku-4-5", 1, 0.1, 5, _ANTHROPIC),
    _price("anthropic", "claude-sonnet-5-5", 2, 0.1, 10, _ANTHROPIC),
    _price("anthropic", "claude-sonnet-5", 2, 0.2, 10, _ANTHROPIC),
    _price("anthropic", "claude-sonnet-4-6", 3, 0.3, 15, _ANTHROPIC),
    _price("anthropic", "claude-opus-5-5", 4, 0.2, 20, _ANTHROPIC),
    _price("anthropic", "claude-opus-5", 5, 0.5, 25, _ANTHROPIC),
    _price("anthropic", "claude-opus-4-8", 5, 0.5, 25, _ANTHROPIC),
    _price("anthropic", "claude-opus-4-5", 5, 0.5, 25, _ANTHROPIC),
    _price("gemini", "gemini-2.5-flash-lite", 0.1, 0.01, 0.4, _GEMINI),
    _price("gemini", "gemini-3.1-flash-lite", 0.25, 0.025, 1.5, _GEMINI),
    _price("gemini", "gemini-3.5-flash-lite", 0.3, 0.03, 2.5, _GEMINI),
    _price("gemini", "gemini-3.8-flash", 0.75, 0.075, 3.75, _GEMINI),
    _price("gemini", "gemini-3.1-pro-preview", 2, 0.2, 12, _GEMINI, above=200_000),
    _price("gemini", "gemini-4-argon", 2, 0.1, 10, _GEMINI),
    _price("gemini", "gemini-4-hydrogen", 1.5, 0.075, 7.5, "https://aistudio.google.com/docs/pricing#gemini-4-hydrogen"),
    _price("mistral", "ministral-3b-2512", 0.1, 0.01, 0.1, "https://docs.mistral.ai/models/ministral-3-3b-25-12"),
    _price("mistral", "ministral-3b-latest", 0.1, 0.01, 0.1, "https://docs.mistral.ai/models/ministral-3-3b-25-12"),
    _price("mistral", "ministral-8b-2512", 0.15, 0.015, 0.15, "https://mistral.ai/pricing"),
    _price("mistral", "ministral-8b-latest", 0.15, 0.015, 0.15, "https://mistral.ai/pricing"),
    _price("mistral", "ministral-14b-2512", 0.2, 0.02, 0.2, "https://docs.mistral.ai/models/ministral-3-14b-25-12"),
    _price("mistral", "ministral-14b-latest", 0.2, 0.02, 0.2, "https://docs.mistral.ai/models/ministral-3-14b-25-12"),
    _price("mistral", "mistral-small-2603", 0.15, 0.015, 0.6, "https://docs.mistral.ai/models/model-cards/mistral-small-4-0-26-03"),
    _price("mistral", "mistral-small-latest", 0.15, 0.015, 0.6, "https://docs.mistral.ai/models/model-cards/mistral-small-4-0-26-03"),
    _price("mistral", "mistral-medium-2604", 1.5, 0.15, 7.5, "https://docs.mistral.ai/models/model-cards/mistral-medium-3-5-26-04"),
    _price("mistral", "mistral-medium-latest", 1.5, 0.15, 7.5, "https://docs.mistral.ai/models/model-cards/mistral-medium-3-5-26-04"),
    _price("mistral", "mistral-large-2512", 0.5, 0.05, 1.5, "https://docs.mistral.ai/models/mistral-large-3-25-12"),
    _price("mistral", "mistral-large-latest", 0.5, 0.05, 1.5, "https://docs.mistral.ai/models/mistral-large-3-25-12"),
    _price("mistral", "mistral-large-4-0", 0.7, 0.07, 2.1, "https://docs.mistral.ai/models/mistral-large-4-0"),
    _price("mistral", "codestral-2508", 0.3, 0.03, 0.9, "https://docs.mistral.ai/models/model-cards/codestral-25-08"),
    _price("mistral", "codestral-latest", 0.3, 0.03, 0.9, "https://docs.mistral.ai/models/model-cards/codestral-25-08"),
    _price("deepseek", "deepseek-flash", 0.3, 0.006, 1.2, _DEEPSEEK),
    _price("deepseek", "deepseek-v4-flash", 0.3, 0.006, 1.2, _DEEPSEEK),
    _price("deepseek", "deepseek-v4-pro", 1.32, 0.044, 3.96, _DEEPSEEK),
    _price("groq", "openai/gpt-oss-20b", 0.075, None, 0.3, "https://console.groq.com/docs/models"),
    _price("groq", "openai/gpt-oss-120b", 0.15, None, 0.6, "https://console.groq.com/docs/models"),
    _price("groq", "qwen/qwen3.8-27b", 0.8, None, 4, "https://console.groq.com/docs/model/qwen/qwen3.8-27b"),
    _price("together", "meta-llama/Llama-3.2-1B-Instruct", 0.06, None, 0.06, _TOGETHER),
    _price("together", "meta-llama/Llama-3.2-3B-Instruct", 0.06, None, 0.06, _TOGETHER),
    _price("together", "Qwen/Qwen2-1.5B-Instruct", 0.02, None, 0.02, _TOGETHER),
    _price("together", "Qwen/Qwen3.5-9B", 0.17, None, 0.25, _TOGETHER),
    _price("together", "mistralai/Ministral-3-14B-Instruct-2512", 0.2, None, 0.2, _TOGETHER),
    _price("together", "zai-org/GLM-5.3-Flash", 0.15, 0.03, 0.5, _TOGETHER),
    _price("together", "openai/gpt-oss-120b", 0.15, None, 0.6, _TOGETHER),
    _price("together", "deepseek-ai/DeepSeek-V4.1-Flash", 0.3, 0.006, 1.2, _TOGETHER),
    _price("together", "arcee-ai/trinity-mini", 0.045, None, 0.15, _TOGETHER),
)
# fmt: on

_BY_NAME = {price.name: price for price in PRICES}


def listed_price(model: str, url: str | None) -> ListedPrice | None:
    """The price of a model at the server of a URL; None where the list does not know it.

    Args:
        model: its name in the server's API.
        url: of the server; OpenAI's own if None.
    """
    host = "api.openai.com" if url is None else urlsplit(url).hostname
    provider = _HOSTS.get(host or "")
    return _BY_NAME.get(f"{provider}/{model}")


def price_named(name: str) -> ListedPrice | None:
    """The price of `provider/model`; None if the list does not have it."""
    return _BY_NAME.get(name)


def price_names() -> tuple[str, ...]:
    """Every `provider/model` of the list."""
    return tuple(_BY_NAME)


def age_notice(today: date | None = None) -> str | None:
    """What to say of a list that has become old; None while it is not.

    Args:
        today: the date to compare with; that of the clock if None.
    """
    days = ((today or date.today()) - AS_OF).days
    if days <= OLD_AFTER:
        return None
    return (
        f"the price list is of {AS_OF.isoformat()}, {days} days old; compare it with the providers' pages "
        "(stellwerk prices list names them), and set input_price and output_price where it is wrong"
    )
