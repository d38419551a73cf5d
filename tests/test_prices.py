from datetime import date, timedelta
from urllib.parse import urlsplit

import pytest

from stellwerk.prices import (
    AS_OF,
    OLD_AFTER,
    PRICES,
    ListedPrice,
    age_notice,
    listed_price,
    price_named,
    price_names,
)


def test_a_model_is_priced_at_its_provider() -> None:
    price = listed_price("gpt-4.1", None)
    assert price is not None
    assert (price.input, price.cached, price.output) == (2.0, 0.5, 8.0)
    assert listed_price("gpt-4.1", "https://api.openai.com/v1") is price
    groq = listed_price("openai/gpt-oss-20b", "https://api.groq.com/openai/v1")
    assert groq is not None
    assert groq.provider == "groq"


@pytest.mark.parametrize(
    ("model", "url"),
    [
        ("gpt-4.1", "http://127.0.0.1:8000/v1"),  # any server may call its model so
        ("gpt-4.1", "https://gateway.example.com/v1"),
        ("gpt-4.1", "https://api.groq.com/openai/v1"),
        ("gpt-4.1", "https://api.openai.com.example.com/v1"),
        ("gpt-4.1-nano-of-2031", None),
        ("Qwen/Qwen2.5-3B-Instruct", None),
    ],
)
def test_the_same_name_elsewhere_has_no_price(model: str, url: str | None) -> None:
    assert listed_price(model, url) is None


def test_names_are_unique_and_found() -> None:
    assert len(set(price_names())) == len(PRICES)
    for price in PRICES:
        assert price_named(price.name) is price


@pytest.mark.parametrize("price", PRICES, ids=lambda price: price.name)
def test_every_price_is_plausible_and_has_a_page(price: ListedPrice) -> None:
    assert 0 < price.input <= price.output
    assert price.cached is None or 0 < price.cached < price.input
    # A slip of a factor of a thousand or a million is the usual one.
    assert 0.01 <= price.input <= 20
    assert 0.01 <= price.output <= 100
    assert urlsplit(price.source).scheme == "https"
    assert urlsplit(price.source).hostname


def test_an_old_list_says_so() -> None:
    assert age_notice(AS_OF + timedelta(days=OLD_AFTER)) is None
    notice = age_notice(AS_OF + timedelta(days=OLD_AFTER + 1))
    assert notice is not None
    assert notice.startswith(f"the price list is of {AS_OF}, 181 days old")
    assert age_notice(date.max) is not None
