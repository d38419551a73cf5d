"""A chat model in this process: llama.cpp through xllamacpp."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    InvalidToolCall,
    ToolCall,
    convert_to_openai_messages,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

from stellwerk.errors import ContextOverflowError, MissingExtraError, ModelFileError, TierError
from stellwerk.tiers.tokenizers import served_tokenizer


class ChatLlamaCpp(BaseChatModel):
    """A GGUF model run by llama.cpp inside this process.

    The file is opened at the first call, not before, so that a ladder costs nothing until it is used.
    A JSON schema is enforced by grammar with compact separators: the grammar that
    llama.cpp derives by itself lets a small model spend a third of its output on indentation.

    Args:
        path: a GGUF file, or a function that gives one at the first call.
        name: the model's name in metadata.
        context_window: tokens of prompt and answer together.
        threads: CPU threads; llama.cpp's default if None.
        temperature: 0 makes answers repeatable.
        seed: for temperatures above 0.
        max_tokens: of an answer, unless a call says otherwise.
    """

    path: Path | Callable[[], Path]
    model_name: str = "llama.cpp"
    context_window: int = 8192
    threads: int | None = None
    temperature: float = 0.0
    seed: int = 0
    max_tokens: int = 1024

    _server: Any = PrivateAttr(default=None)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return "stellwerk-llamacpp"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "context_window": self.context_window, "seed": self.seed}

    def load(self) -> None:
        """Open the model file now rather than at the first call.

        Raises:
            ModelFileError: if the file is absent, damaged, or not a model.
            MissingExtraError: if xllamacpp is not installed.
        """
        self._model()

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, counted by the model's own tokenizer.

        Raises:
            ModelFileError: if the file is absent, damaged, or not a model.
            MissingExtraError: if xllamacpp is not installed.
            TierError: if llama.cpp does not count.
        """
        # xllamacpp has no tokenizer of its own, but its server has one, on a port of this machine only.
        return served_tokenizer(self._model().listening_address)(text)

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools to the model, in the form of the OpenAI chat API."""
        if tool_choice is not None:
            choice = "required" if tool_choice == "any" else tool_choice
            named = {"type": "function", "function": {"name": choice}}
            kwargs["tool_choice"] = choice if choice in ("auto", "none", "required") else named
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _model(self) -> Any:
        with self._lock:
            if self._server is None:
                path = self.path() if callable(self.path) else self.path
                self._server = self._open(path)
            return self._server

    def _open(self, path: Path) -> Any:
        # OpenMP's default is to spin at its barriers. When anything else wants the cores, another process
        # with a model above all, spinning threads wait for threads that are not scheduled: two processes
        # on two cores took 55 s for what takes 14 s when they sleep. Read once, when the library loads.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        try:
            import xllamacpp
        except ImportError as error:
            raise MissingExtraError("xllamacpp", "embedded") from error
        if not path.is_file():
            raise ModelFileError(f"there is no model file at {path}; run: stellwerk models pull")
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx = self.context_window
        parameters.n_parallel = 1
        parameters.n_gpu_layers = 0
        parameters.use_jinja = True
        parameters.ctx_shift = False  # an overlong prompt is an error, never silently cut
        parameters.warmup = False
        parameters.verbosity = -1
        if self.threads is not None:
            parameters.cpuparams.n_threads = self.threads
            parameters.cpuparams_batch.n_threads = self.threads
        try:
            return xllamacpp.Server(parameters)
        except RuntimeError as error:
            raise ModelFileError(f"llama.cpp cannot open {path}: {error}") from error

    def _body(
        self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> dict[str, Any]:
        body: dict[str, Any] = {
            "messages": convert_to_openai_messages(messages),
            "temperature": self.temperature,
            "seed": self.seed,
            "max_tokens": self.max_tokens,
            "cache_prompt": True,
            **options,
        }
        if stop:
            body["stop"] = stop
        match body.get("response_format"):
            case {"type": "json_schema", "json_schema": {"schema": schema}}:
                del body["response_format"]
                body["grammar"] = _grammar(schema)
            case _:
                pass
        return body

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        answer = self._model().handle_chat_completions(self._body(messages, stop, kwargs))
        self._raise_for(answer)
        choice = answer["choices"][0]
        tool_calls: list[ToolCall] = []
        invalid: list[InvalidToolCall] = []
        for raw in choice["message"].get("tool_calls") or ():
            try:
                if call := parse_tool_call(raw, return_id=True):
                    tool_calls.append(ToolCall(name=call["name"], args=call["args"], id=call["id"]))
            except ValueError as error:
                invalid.append(make_invalid_tool_call(raw, str(error)))
        message = AIMessage(
            content=choice["message"].get("content") or "",
            tool_calls=tool_calls,
            invalid_tool_calls=invalid,
            usage_metadata=_usage(answer),
            response_metadata={"finish_reason": choice["finish_reason"], "model_name": self.model_name},
        )
        if choice.get("logprobs"):
            message.response_metadata["logprobs"] = choice["logprobs"]
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        body = self._body(messages, stop, kwargs) | {
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        server = self._model()
        pieces: queue.SimpleQueue[dict[str, Any] | Exception | None] = queue.SimpleQueue()
        stopped = threading.Event()

        def take(piece: dict[str, Any]) -> bool:
            pieces.put(piece)
            return stopped.is_set()  # True ends the generation, when nobody reads it any more

        def work() -> None:
            try:
                server.handle_chat_completions(body, take)
            except Exception as error:
                pieces.put(error)
            finally:
                pieces.put(None)

        thread = threading.Thread(target=work, name=f"llama.cpp {self.model_name}", daemon=True)
        thread.start()
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                self._raise_for(piece)
                chunk = self._chunk(piece)
                if run_manager is not None:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
        finally:
            stopped.set()
            thread.join()

    def _chunk(self, piece: dict[str, Any]) -> ChatGenerationChunk:
        choice = piece["choices"][0] if piece["choices"] else {"delta": {}}
        delta = choice["delta"]
        metadata = {}
        if choice.get("finish_reason"):
            metadata = {"finish_reason": choice["finish_reason"], "model_name": self.model_name}
        message = AIMessageChunk(
            content=delta.get("content") or "",
            tool_call_chunks=[
                tool_call_chunk(
                    name=call["function"].get("name"),
                    args=call["function"].get("arguments"),
                    id=call.get("id"),
                    index=call["index"],
                )
                for call in delta.get("tool_calls") or ()
            ],
            usage_metadata=_usage(piece) if "usage" in piece else None,
            response_metadata=metadata,
        )
        return ChatGenerationChunk(message=message)

    def _raise_for(self, answer: dict[str, Any]) -> None:
        if (error := answer.get("error")) is None:
            return
        if error.get("type") == "exceed_context_size_error":
            raise ContextOverflowError(
                f"the prompt has {error['n_prompt_tokens']:,} tokens; {self.model_name} holds "
                f"{error['n_ctx']:,}: split the documents or add a tier with a larger context window"
            )
        raise TierError(f"llama.cpp refused the call to {self.model_name}: {error.get('message', error)}")


def _grammar(schema: dict[str, Any]) -> str:
    # xllamacpp is built with llguidance; 'x-guidance' is its documented way to set the separators. A keyword
    # that it does not know ('uniqueItems', some formats) would free the answer from the whole schema, without
    # a word; 'lenient' leaves out just that keyword, and `verify` checks it anyway.
    guidance = {
        "whitespace_flexible": False,
        "item_separator": ", ",
        "key_separator": ": ",
        "lenient": True,
    }
    return "%llguidance {}\nstart: %json " + json.dumps({**schema, "x-guidance": guidance})


def _usage(answer: dict[str, Any]) -> UsageMetadata:
    usage = answer["usage"]
    details = usage.get("prompt_tokens_details") or {}
    return UsageMetadata(
        input_tokens=usage["prompt_tokens"],
        output_tokens=usage["completion_tokens"],
        total_tokens=usage["total_tokens"],
        input_token_details={"cache_read": details.get("cached_tokens", 0)},
    )
