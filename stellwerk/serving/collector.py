"""Garbage collection in a process that does nothing but serve."""

from __future__ import annotations

import gc

# A full collection looks through all that runs on their way hold, and stops every one of them meanwhile: for
# a quarter of a second where there are 200. Collections of what is young take a few milliseconds.
_THRESHOLDS = (2_000, 10, 50)


def settle() -> None:
    """Keep what was made by now out of all collections to come, and make full ones rare.

    Modules, schemas and graphs stay for as long as the process does: some 250,000 objects, which would be
    looked through every few seconds under load.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
