"""A chat model behind a vLLM server, with what `ChatOpenAI` leaves out of the requests and the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from stellwerk.errors import ConfigurationError
from stellwerk.tiers.http_clients import client_per_loop, limited_client
from stellwerk.tiers.logprobs import summarise_logprobs
from stellwerk.tiers.openai_chat import ChatServed
from stellwerk.tiers.structured import StructuredOutputs, check_structured_outputs, refuse_guided
from stellwerk.tiers.vllm_answer import keep_parsed, keep_reasoning, messages_of

_PROVIDER = "vllm"


class ChatVLLM(ChatServed):
    """A model served by vLLM through its OpenAI-compatible API.

    As `ChatOpenAI`, and besides: reasoning text is kept, in `additional_kwargs["reasoning_content"]` and in
    `content_blocks`; streams carry their usage, with cached tokens where the server has
    `--enable-prompt-tokens-details`; log-probabilities are summed up in
    `response_metadata["logprobs_summary"]`; and a stream that ends without a reason to stop is an error.
    Nothing that the environment holds for OpenAI is sent: no key, no organization, no project.

    `adapter`, `priority`, `cache_salt` and `structured_outputs` may also be given to one call, or bound.

    Args:
        model: the base model's name at the server.
        base_url: of the server, up to and with `/v1`.
        api_key: what the server was started with as `--api-key`; `EMPTY` if None.
        adapter: name of a LoRA adapter at the server, which then answers in place of the base model.
        priority: lower is served earlier; the server needs `--scheduling-policy priority`.
        cache_salt: prompts share the server's prefix cache only with those of the same salt.
        structured_outputs: one constraint on the answer: `json`, `regex`, `choice`, `grammar`,
            `json_object` or `structural_tag`.
        strict_tools: whether tools are sent with `strict: true`, unless they say otherwise themselves. vLLM
            holds the arguments of a call to their schema only then.
        temperature: 0 makes answers repeatable; vLLM's own default is the model's.
        seed: for temperatures above 0.

    Raises:
        ConfigurationError: if there is no `base_url`, if a constraint is not one, or if an option begins
            with `guided_`, which vLLM ignores since 0.12.
    """

    openai_api_key: Any = Field(default=SecretStr("EMPTY"), alias="api_key")
    openai_proxy: str | None = None
    temperature: float | None = 0.0
    seed: int | None = 0
    stream_usage: bool | None = True
    use_responses_api: bool | None = False
    adapter: str | None = None
    priority: int | None = None
    cache_salt: SecretStr | None = None
    structured_outputs: StructuredOutputs | None = None
    strict_tools: bool = True

    @model_validator(mode="before")
    @classmethod
    def _check_given(cls, values: dict[str, Any]) -> dict[str, Any]:
        for place in (values, values.get("model_kwargs"), values.get("extra_body")):
            refuse_guided(place)
        if not (values.get("base_url") or values.get("openai_api_base")):
            raise ConfigurationError(
                "ChatVLLM has no base_url; give it the server's, such as base_url='http://127.0.0.1:8000/v1'"
            )
        if not (values.get("http_async_client") or values.get("openai_proxy")):
            values = {**values, "http_async_client": client_per_loop()}
        if not (values.get("http_client") or values.get("openai_proxy")):
            values = {**values, "http_client": limited_client()}
        return values

    @field_validator("openai_api_key", mode="before")
    @classmethod
    def _keep_key(cls, key: Any) -> Any:
        # None would make the client take OPENAI_API_KEY, which is meant for another server.
        return SecretStr(key) if isinstance(key, str) else key or SecretStr("EMPTY")

    @field_validator("structured_outputs", mode="before")
    @classmethod
    def _check_structured_outputs(cls, given: Any) -> StructuredOutputs | None:
        return check_structured_outputs(given)

    @model_validator(mode="after")
    def _forget_openai(self) -> ChatVLLM:
        self.openai_organization = None
        for client in (self.root_client, self.root_async_client):
            if client is not None:
                client.organization = client.project = None
        return self

    @property
    def lc_secrets(self) -> dict[str, str]:
        """None: no variable of the environment belongs to every vLLM server."""
        return {}

    @property
    def _llm_type(self) -> str:
        return "vllm-chat"

    @property
    def _default_params(self) -> dict[str, Any]:
        own = {
            "adapter": self.adapter,
            "priority": self.priority,
            "structured_outputs": self.structured_outputs,
        }
        return super()._default_params | {name: value for name, value in own.items() if value is not None}

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        # These are told to tracers.
        params = super()._get_invocation_params(stop=stop, **kwargs)
        params.pop("cache_salt", None)
        return params

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = _PROVIDER
        if adapter := self._adapter(kwargs):
            params["ls_model_name"] = adapter
        return params

    def _resolve_model_profile(self) -> None:
        # A served name says nothing about the model: OpenAI's profile of a namesake would be wrong.
        return None

    def _adapter(self, options: Mapping[str, Any]) -> str | None:
        """The adapter that a call with these options goes to; a `model` of the call goes past the field's."""
        given = options.get("adapter")
        return given if given or "model" in options else self.adapter

    def _get_request_payload(
        self, input_: LanguageModelInput, *, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        payload: dict[str, Any] = super()._get_request_payload(input_, stop=stop, **kwargs)
        body = dict(payload.pop("extra_body", None) or {})
        for place in (payload, body):
            refuse_guided(place)
        payload.pop("adapter", None)
        if adapter := self._adapter(kwargs):
            payload["model"] = adapter
        if (priority := payload.pop("priority", None)) is not None:
            body["priority"] = priority
        if (salt := payload.pop("cache_salt", None) or self.cache_salt) is not None:
            body["cache_salt"] = salt.get_secret_value() if isinstance(salt, SecretStr) else salt
        structured = check_structured_outputs(payload.pop("structured_outputs", None))
        if structured is not None:
            if kwargs.get("structured_outputs") and kwargs.get("response_format"):
                raise ConfigurationError(
                    "a call has both structured_outputs and response_format; an answer follows one of them"
                )
            if not (kwargs.get("response_format") or self.model_kwargs.get("response_format")):
                body["structured_outputs"] = structured
        if self.strict_tools and payload.get("tools"):
            payload["tools"] = [_strict(tool) for tool in payload["tools"]]
        if form := payload.pop("response_format", None):  # a class; a schema is in the body already
            body["response_format"] = _form(form)
        if body:
            payload["extra_body"] = body
        return payload

    def _create_chat_result(self, response: Any, generation_info: dict[str, Any] | None = None) -> ChatResult:
        result = super()._create_chat_result(response, generation_info)
        for generation, message in zip(result.generations, messages_of(response), strict=True):
            keep_reasoning(generation, message)
        if result.llm_output is not None:
            result.llm_output["model_provider"] = _PROVIDER
        return result

    def _convert_chunk_to_generation_chunk(
        self,
        chunk: dict[str, Any],
        default_chunk_class: type,
        base_generation_info: dict[str, Any] | None,
    ) -> ChatGenerationChunk | None:
        made = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        if made is not None and (choices := chunk.get("choices")):
            keep_reasoning(made, choices[0].get("delta"))
            made.message.response_metadata["model_provider"] = _PROVIDER
        return made

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        return self._with_metadata(super()._generate(*args, **kwargs), kwargs)

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        return self._with_metadata(await super()._agenerate(*args, **kwargs), kwargs)

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        ending = _Ending(self, kwargs)
        for chunk in super()._stream(*args, **kwargs):
            yield ending.mark(chunk)

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        ending = _Ending(self, kwargs)
        async for chunk in super()._astream(*args, **kwargs):
            yield ending.mark(chunk)

    def _with_metadata(self, result: ChatResult, options: Mapping[str, Any]) -> ChatResult:
        for generation in result.generations:
            info = generation.generation_info or {}
            generation.generation_info = info | self._metadata(info.get("logprobs"), options)
            keep_parsed(generation, generation.text, options)
        return result

    def _metadata(self, logprobs: object, options: Mapping[str, Any]) -> dict[str, Any]:
        """What an answer's metadata has besides what `ChatOpenAI` puts there."""
        metadata: dict[str, Any] = {}
        if adapter := self._adapter(options):
            metadata = {"adapter": adapter, "base_model": self.model_name}
        if summary := summarise_logprobs(logprobs):
            metadata["logprobs_summary"] = summary
        return metadata


class _Ending:
    """Watches a stream for its end, whose chunk gets the metadata: chunks add up, so only one may have it."""

    def __init__(self, model: ChatVLLM, options: Mapping[str, Any]) -> None:
        self._model, self._options = model, options
        self._tokens: list[Any] = []
        self._text = ""
        self._ended = False

    def mark(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        """The chunk, with the metadata if it is the one that has the reason to stop."""
        info = chunk.generation_info or {}
        self._tokens += (info.get("logprobs") or {}).get("content") or ()
        self._text += chunk.text
        if info.get("finish_reason") and not self._ended:
            self._ended = True
            metadata = self._model._metadata({"content": self._tokens}, self._options)
            chunk.generation_info = info | metadata
            keep_parsed(chunk, self._text, self._options)
        return chunk


def _strict(tool: Any) -> Any:
    function = tool.get("function")
    return {**tool, "function": {"strict": True, **function}} if isinstance(function, dict) else tool


def _form(given: Any) -> Any:
    """The `response_format` as it is sent; a Pydantic class stands for its schema."""
    if not (isinstance(given, type) and issubclass(given, BaseModel)):
        return given
    return {
        "type": "json_schema",
        "json_schema": {"name": given.__name__, "schema": given.model_json_schema(), "strict": True},
    }
