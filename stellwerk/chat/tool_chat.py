"""What the chat models here have in common: how tools and schemas are bound to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import BaseModel, ConfigDict, ValidationError

from stellwerk.chat.offered import choice_of, named
from stellwerk.errors import ConfigurationError

Form = dict[str, Any] | type
_METHODS = ("json_schema", "function_calling", "json_mode")


class ToolChat(BaseChatModel):
    """A chat model that takes tools and schemas in the form of the OpenAI chat API."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """False: tiers hold models, and routers and sinks are no data."""
        return False

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: Any = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools to whichever tier answers.

        Args:
            tools: LangChain tools, functions, pydantic classes, or the form of the OpenAI chat API.
            tool_choice: `"auto"`, `"none"`, `"any"` or `"required"`, True, or the name of a tool.
            strict: whether servers are asked to hold arguments to their schemas.
            **kwargs: further arguments of each call.

        Raises:
            ConfigurationError: if `tool_choice` names no tool of these.
        """
        made = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
        names = [str(tool.get("function", tool).get("name", "")) for tool in made]
        if (choice := choice_of(tool_choice, names)) is not None:
            kwargs["tool_choice"] = choice
        return self.bind(tools=made, **kwargs)

    def _structured(self, schema: Form, method: str, include_raw: bool) -> Runnable[LanguageModelInput, Any]:
        """The model with answers that follow a schema, parsed.

        Raises:
            ConfigurationError: if there is no such method.
        """
        if method not in _METHODS:
            raise ConfigurationError(f"method is {method!r}; there are {', '.join(_METHODS)}")
        told = {"kwargs": {"method": method}, "schema": schema}
        tool = convert_to_openai_tool(schema)
        if method == "function_calling":
            bound = self.bind_tools([tool], tool_choice="required", ls_structured_output_format=told)
        else:
            name = tool["function"]["name"]
            given = named(convert_to_json_schema(schema), name)
            form = {"type": "json_schema", "json_schema": {"name": given["title"], "schema": given}}
            if method == "json_mode":
                form = {"type": "json_object"}
            bound = self.bind(response_format=form, ls_structured_output_format=told)
        parser = RunnableLambda(lambda message: parsed(message, schema), name="parsed")
        if not include_raw:
            return bound | parser
        assign = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        without = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=bound) | assign.with_fallbacks([without], exception_key="parsing_error")


def parsed(message: AIMessage, schema: Form) -> Any:
    """The value of a reply under a schema: of the class, if that is one of pydantic's, or else a dictionary.

    Raises:
        OutputParserException: if the reply is not JSON, or does not follow the schema.
    """
    text = str(message.text)
    if message.tool_calls:
        value: Any = message.tool_calls[0]["args"]
    else:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            said = message.additional_kwargs.get("refusal") or text
            raise OutputParserException(
                f"the answer is not JSON ({error}); it begins {str(said)[:60]!r}", llm_output=text
            ) from error
    if isinstance(schema, type):
        try:
            if issubclass(schema, BaseModel):
                return schema.model_validate(value)
            if hasattr(schema, "parse_obj"):  # made with pydantic 1
                return schema.parse_obj(value)
        except (ValidationError, ValueError, TypeError) as error:
            raise OutputParserException(
                f"the answer is no {schema.__name__}: {error}", llm_output=text
            ) from error
    return value


def fits(schema: Form) -> Callable[[AIMessage], str | None]:
    """A check of replies: can they be parsed under the schema?"""

    def follows_the_schema(message: AIMessage) -> str | None:
        try:
            parsed(message, schema)
        except OutputParserException as error:
            return str(error)
        return None

    return follows_the_schema
