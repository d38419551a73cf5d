from pathlib import Path
from typing import Any

import pytest

from stellwerk import document
from stellwerk.document import as_documents, read_document
from stellwerk.errors import DocumentError


def test_a_text_file_is_read_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    path.write_bytes("\ufeffUmsatz: 1.234 €\r\n".encode())
    assert read_document(path) == {"name": "report.txt", "text": "Umsatz: 1.234 €\r\n"}
    assert read_document(str(path)) == read_document(path)


def test_an_empty_file_is_an_empty_document(tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.touch()
    assert read_document(path)["text"] == ""


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"cannot read .*gone\.txt: No such file"):
        read_document(tmp_path / "gone.txt")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=f"cannot read {tmp_path}: Is a directory"):
        read_document(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"%PDF-1.7\n\xe2\xe3", "not UTF-8 text .byte 9 is 0xe2"), (b"a\0b", "contains a NUL byte")],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(data)
    with pytest.raises(DocumentError, match=rf"report\.pdf is not .*{message[8:]}"):
        read_document(path)


def test_a_file_past_the_limit_is_refused_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "MAX_BYTES", 1_000)
    path = tmp_path / "long.txt"
    path.write_bytes(b"x" * 1_001)
    with pytest.raises(DocumentError, match="1,001 bytes; the limit is 1,000; split it"):
        read_document(path)


def test_texts_get_names_and_named_ones_keep_theirs() -> None:
    assert as_documents(["one", {"name": "b", "text": "two"}, {"name": "", "text": ""}]) == [
        {"name": "document 1", "text": "one"},
        {"name": "b", "text": "two"},
        {"name": "document 3", "text": ""},
    ]
    assert as_documents(None) == as_documents([]) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([{"name": "a"}], "'a' has no text .found NoneType.; pass"),
        ([{"name": "a", "text": b"x"}], "'a' has no text .found bytes."),
        ([{"name": "a", "text": "x"}, {"name": "a", "text": "y"}], "two documents are named 'a'"),
        (["x", Path("report.txt")], r"document 2 is a \w*Path"),
        ([b"x"], "document 1 is a bytes"),
        ([None], "document 1 is a NoneType"),
        ([{"name": 7, "text": "x"}], "document 1 has the name 7"),
        ("a text", "documents is a str; pass a list"),
        ({"name": "a", "text": "x"}, "documents is a dict; pass a list"),
        (7, "documents is a int; pass a list"),
    ],
)
def test_what_is_no_document_is_refused(values: Any, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        as_documents(values)
