import inspect
import re

import pytest

from stellwerk import errors


def drawn() -> list[tuple[int, str]]:
    """Depth and name of each line of the tree in the docstring."""
    assert errors.__doc__ is not None
    lines = [line for line in errors.__doc__.splitlines() if line.startswith("    ")]
    return [
        (match.start() // 4 - 1, match[0]) for line in lines if (match := re.search(r"[A-Z]\w+Error", line))
    ]


def real(kind: type[errors.StellwerkError], depth: int = 0) -> list[tuple[int, str]]:
    below = [row for child in kind.__subclasses__() for row in real(child, depth + 1)]
    return [(depth, kind.__name__), *below] if kind.__module__ == errors.__name__ else []


def test_the_drawn_tree_is_the_real_one() -> None:
    assert drawn() == real(errors.StellwerkError)


def test_every_error_of_the_module_is_in_the_tree() -> None:
    classes = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert classes == {name for _, name in drawn()}


def test_a_missing_extra_says_what_to_install() -> None:
    with pytest.raises(errors.ConfigurationError, match=r"pip install 'stellwerk\[embedded\]'"):
        raise errors.MissingExtraError("xllamacpp", "embedded")
