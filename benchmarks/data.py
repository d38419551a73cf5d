"""Where the benchmarks find the data they measure on; none of it is part of this repository."""

import os
from pathlib import Path

from stellwerk.errors import ConfigurationError

VARIABLE = "STELLWERK_DATA"
TATQA_SOURCE = "TAT-QA is published at https://github.com/NExTplusplus/TAT-QA (MIT)"


def data_dir() -> Path:
    """The folder that `STELLWERK_DATA` names.

    Raises:
        ConfigurationError: The variable is not set, or names no folder.
    """
    value = os.environ.get(VARIABLE, "")
    if not value:
        raise ConfigurationError(
            f"{VARIABLE} is not set; set it to the folder with the benchmark data. {TATQA_SOURCE}."
        )
    folder = Path(value)
    if not folder.is_dir():
        raise ConfigurationError(
            f"{VARIABLE} is {value!r}, which is not a folder; set it to the folder with the benchmark data."
            f" {TATQA_SOURCE}."
        )
    return folder
