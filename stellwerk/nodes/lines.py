"""The lines of a task: whether it is one request, or a list of them."""

from collections.abc import Sequence


def lines_of(task: str) -> list[str]:
    """The lines that are not blank."""
    return [line.strip() for line in task.splitlines() if line.strip()]


def are_requests(lines: Sequence[str]) -> bool:
    """Whether several lines each ask for something by themselves, and are not wrapped prose."""
    return len(lines) > 1 and all(line.endswith((".", "?", "!")) for line in lines)
