import os
from decimal import Decimal
from pathlib import Path

import pytest

from benchmarks.data import VARIABLE, data_dir
from benchmarks.tatqa.metric import Score, score
from benchmarks.tatqa.pages import AnswerType, Page, Question, Scale, load_pages, render
from stellwerk.errors import ConfigurationError, DocumentError

RIGHT = Score(1.0, 1.0)
WRONG = Score(0.0, 0.0)


def asked(
    answer: list[str] | str | float, scale: Scale = "", answer_type: AnswerType | None = None
) -> Question:
    if answer_type is None:
        answer_type = "span" if isinstance(answer, list) else "arithmetic"
    return Question(
        uid="q",
        text="How many barges sailed?",
        answer=answer,
        scale=scale,
        derivation="",
        answer_type=answer_type,
        answer_from="table",
    )


@pytest.mark.parametrize(
    "predicted",
    ["41.5", "$41.5", "41.50", "€ 41.5", 41.5, Decimal("41.50"), ["41.5"], "41.504", "41.5 million"],
)
def test_the_spelling_of_a_number_does_not_matter(predicted: str | list[str] | float | Decimal) -> None:
    scale = "" if predicted == "41.5 million" else "million"
    assert score(asked(41.5, "million"), predicted, scale) == RIGHT


def test_thousands_separators_do_not_matter() -> None:
    assert score(asked(["$8,120"]), "8120", "") == RIGHT


def test_numbers_are_compared_to_two_decimals() -> None:
    assert score(asked(3.33), "3.3333", "") == RIGHT
    assert score(asked(3.33), "3.34", "") == WRONG


def test_a_wrong_scale_is_wrong() -> None:
    assert score(asked(41.5, "million"), "41.5", "thousand") == WRONG


def test_the_same_amount_in_another_scale_is_right() -> None:
    assert score(asked(41.5, "million"), "41500", "thousand") == RIGHT
    assert score(asked(41.5, "million"), 41_500_000, "") == RIGHT


@pytest.mark.parametrize(
    ("predicted", "scale"), [("12.34", "percent"), ("12.34%", "percent"), ("12.34%", ""), ("0.1234", "")]
)
def test_a_percentage_may_be_a_fraction_or_carry_its_sign(predicted: str, scale: str) -> None:
    assert score(asked(12.34, "percent"), predicted, scale) == RIGHT


@pytest.mark.parametrize(
    ("predicted", "scale"), [("12.34", ""), ("0.1234", "percent"), ("-12.34", "percent")]
)
def test_a_percentage_in_the_wrong_unit_is_wrong(predicted: str, scale: str) -> None:
    assert score(asked(12.34, "percent"), predicted, scale) == WRONG


def test_brackets_mean_negative_unless_the_number_has_a_thousands_separator() -> None:
    assert score(asked(-12.5), "(12.5)", "") == RIGHT
    assert score(asked(-1250), "(1250)", "") == RIGHT
    assert score(asked(-1250), "(1,250)", "") == WRONG


def test_a_minus_sign_that_is_no_ascii_hyphen_is_not_read() -> None:
    assert score(asked(-12.5), "−12.5", "") == WRONG


def test_a_decimal_is_read_in_full_whatever_its_exponent() -> None:
    assert score(asked(3000), Decimal("3E+3"), "") == RIGHT


def test_a_count_is_a_whole_number() -> None:
    assert score(asked("3", answer_type="count"), "3", "") == RIGHT
    assert score(asked("3", answer_type="count"), "three", "") == WRONG


def test_a_computed_answer_earns_no_partial_credit() -> None:
    question = asked(7)
    assert score(question, ["7", "8"], "") == WRONG
    assert score(asked(["7"]), ["7", "8"], "") == Score(0.0, 0.67)


def test_case_punctuation_and_articles_do_not_matter_in_text() -> None:
    assert score(asked(["The tugs, and a barge."]), "tugs and Barge", "") == RIGHT


def test_part_of_a_text_earns_the_f1_of_its_words() -> None:
    assert score(asked(["steel hulls built in Emden"]), "built in Emden", "") == Score(0.0, 0.75)


def test_spans_may_come_in_any_order() -> None:
    question = asked(["Emden", "Kiel", "$2.5"], answer_type="multi-span")
    assert score(question, ["2.5", "Kiel", "Emden"], "") == RIGHT


def test_a_missing_span_earns_partial_credit() -> None:
    question = asked(["Emden", "Kiel", "Lübeck"], answer_type="multi-span")
    assert score(question, ["Kiel", "Emden"], "") == Score(0.0, 0.8)


def test_a_scale_applies_to_each_span() -> None:
    question = asked(["1,200", "(35)"], "thousand", "multi-span")
    assert score(question, ["-35", "1200"], "thousand") == RIGHT
    assert score(question, ["-35000", "1200000"], "") == RIGHT


def test_spans_whose_spelling_changes_their_sort_order_match_in_f1_only() -> None:
    question = asked(["$773", "2,055"], answer_type="multi-span")
    assert score(question, ["$773", "2,055"], "") == RIGHT
    assert score(question, ["773", "2,055"], "") == Score(0.0, 1.0)


def test_a_scale_beside_text_counts_as_one_more_word() -> None:
    assert score(asked(["Emden"]), "Emden", "million") == Score(0.0, 0.67)


def test_f1_ties_are_rounded_to_even_as_by_numpy() -> None:
    gold = " ".join(f"gold{n}" for n in range(40))
    predicted = " ".join([f"gold{n}" for n in range(7)] + [f"other{n}" for n in range(33)])
    assert score(asked([gold]), predicted, "") == Score(0.0, 0.18)


@pytest.mark.parametrize("predicted", [None, "", [], 0, 0.0, Decimal(0)])
def test_no_answer_and_the_bare_number_zero_score_nothing(
    predicted: str | list[str] | float | Decimal | None,
) -> None:
    assert score(asked(0), predicted, "") == WRONG


def test_zero_as_text_is_an_answer() -> None:
    assert score(asked(0, "percent"), "0", "percent") == RIGHT


@pytest.mark.parametrize("predicted", ["7" * 250, "7" * 5000, "inf", "nan", "1e999", ".", "%", "()"])
def test_nonsense_is_wrong_and_no_error(predicted: str) -> None:
    assert score(asked(7, "million"), predicted, "billion") == WRONG


def test_without_the_scale_only_the_number_counts() -> None:
    question = asked(41.5, "million")
    assert score(question, "41.5", "thousand", use_scale=False) == RIGHT
    assert score(question, "41500", "thousand", use_scale=False) == WRONG


def test_every_published_answer_is_right_against_itself() -> None:
    if not os.environ.get(VARIABLE):
        pytest.skip(f"{VARIABLE} is not set: it names the folder with TAT-QA's development set")
    questions = [question for page in load_pages() for question in page.questions]
    assert len(questions) == 1668
    missed = [
        question.uid
        for question in questions
        if score(
            question,
            question.answer if isinstance(question.answer, list) else str(question.answer),
            question.scale,
        )
        != RIGHT
    ]
    assert missed == []


def test_the_variable_that_names_the_data_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ConfigurationError, match=r"set it to .*//github\.com/NExTplusplus/TAT-QA \(MIT\)"):
        data_dir()


def test_a_data_folder_without_tatqa_is_named_with_the_place_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(DocumentError, match=r"tatqa_dev\.json does not exist.*github\.com/NExTplusplus"):
        load_pages()


def test_a_data_folder_that_does_not_exist_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError, match="not a folder"):
        data_dir()


def test_a_page_is_rendered_as_table_then_text_without_empty_rows_and_columns() -> None:
    page = Page(
        index=0,
        table=[["", "", "2021", "2020"], ["", "", "", ""], ["Tugs\nin service", "", "4", "3"]],
        paragraphs=["1 Fleet", "All tugs are owned."],
        questions=[],
    )
    assert render(page) == (
        "Table\n | 2021 | 2020\nTugs in service | 4 | 3\n\nText\n1 Fleet\nAll tugs are owned."
    )
