"""What a checkpointer or the journal raised: no failure of a subtask, as the run can be resumed."""

from __future__ import annotations

import traceback

from langgraph.checkpoint.base import BaseCheckpointSaver

from stellwerk.errors import DatabaseError


class JournalError(DatabaseError):
    """The journal cannot say whether a write was made."""


def is_outage(error: BaseException) -> bool:
    """Whether an error is the journal's, or came out of a method of a checkpointer.

    LangGraph raises the latter out of the graph as it is, with no word of where it is from; of which class it
    is depends on the checkpointer.
    """
    if isinstance(error, JournalError):
        return True
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(isinstance(frame.f_locals.get("self"), BaseCheckpointSaver) for frame in frames)
