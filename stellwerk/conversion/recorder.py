"""`TraceRecorder`: collects the model calls of any LangChain or LangGraph program."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult
from langgraph.errors import GraphBubbleUp

from stellwerk.conversion.asked import Asked, is_cancelled, kind_of, model_of
from stellwerk.conversion.call_site import CALL_SITE, Persons, named, nodes_of
from stellwerk.conversion.foreign_call import ForeignCall
from stellwerk.conversion.pending import Pending
from stellwerk.conversion.reply import definitions, form_of, texts
from stellwerk.conversion.running import Part, Running, origin_of, thread_of
from stellwerk.tiers.tier import Price
from stellwerk.trace import TRACED, TraceSink


class TraceRecorder(BaseCallbackHandler):
    """Records the model calls of any LangChain or LangGraph program as traces, from which to convert it.

    A call is told to the sink once what came of its tools is known, or the run ends. Its site is the path of
    the LangGraph nodes and tools around it; outside of LangGraph, the name of the chain, or of the model's
    run. The metadata `stellwerk_call_site` names it otherwise. Left out are attempts of Stellwerk's own
    graphs and chat models, which tell a sink themselves, answers of LangChain's cache, calls that were
    cancelled, and those whose metadata say `stellwerk_consent: False`.

    Example:
        ```python
        with TraceStore.from_url("traces.sqlite") as traces:
            recorder = TraceRecorder(traces, hci=["chat"])
            graph.invoke({"messages": [("user", "...")]}, {"callbacks": [recorder]})
        ```

    Args:
        traces: is told; such as a `TraceStore`.
        program: stands before each call site, where several programs share a sink.
        hci: call sites that talk to a person, as `chat/*`: their calls are left out, as are those with the
            metadata `stellwerk_hci: True`.
        prices: by the name of a model, before those of the price list.
    """

    run_inline = True  # an event takes microseconds, a thread for it a hundred of them

    def __init__(
        self,
        traces: TraceSink,
        *,
        program: str = "",
        hci: Sequence[str] = (),
        prices: Mapping[str, Price] | None = None,
    ) -> None:
        super().__init__()
        self._program = program
        self._persons = Persons(hci)
        self._prices = dict(prices or {})
        self._running = Running()
        self._pending = Pending(traces)
        self._asked: dict[UUID, Asked] = {}
        self._counts: Counter[str] = Counter()
        self._counting = threading.Lock()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many calls were `recorded`, and left out as `hci`, `own`, `kept`, `cancelled` or `denied`."""
        return dict(self._counts)

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A chain, a graph or a node begins."""
        self._running.begin(run_id, parent_run_id, kwargs.get("name"), metadata or {}, inputs)
        for root in self._running.overdue():
            self._pending.end(root, "interrupted")

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """It has ended."""
        _, root = self._running.end(run_id)
        if root is not None:
            self._pending.end(root, "interrupted" if root.interrupted else "ok")

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It failed, waits for a person, or was cancelled."""
        part, root = self._running.end(run_id)
        waits = isinstance(error, GraphBubbleUp)
        if part is not None and waits:
            part.root.interrupted = True
        if root is not None:
            broken_off = waits or is_cancelled(error)
            self._pending.end(root, "interrupted" if broken_off else "failed", kind_of(error))

    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """A tool begins."""
        name = kwargs.get("name") or (serialized or {}).get("name") or ""
        use = kwargs.get("tool_call_id") or ""
        self._running.begin_tool(run_id, parent_run_id, str(name), str(use), perf_counter())

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A tool has given something."""
        part, _ = self._running.end(run_id)
        if part is not None and part.use:
            failed = getattr(output, "status", "") == "error"
            said, seconds = str(getattr(output, "text", output)), perf_counter() - part.began
            self._pending.came(part.root, part.use, said, failed=failed, seconds=seconds)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A tool failed; it may be called again, and the model is told of it in its next prompt."""
        part, _ = self._running.end(run_id)
        if part is None or not part.use or isinstance(error, GraphBubbleUp) or is_cancelled(error):
            return
        said, seconds = f"{type(error).__name__}: {error}", perf_counter() - part.began
        self._pending.came(part.root, part.use, said, failed=True, seconds=seconds, last=False)

    def on_chat_model_start(
        self,
        serialized: dict[str, Any] | None,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A model is asked."""
        began, known = perf_counter(), metadata or {}
        part = self._running.part(parent_run_id)
        root = part.root if part is not None else None
        prompt = messages[0] if messages else []
        if root is not None and root.waiting:
            self._pending.read(root, prompt)
        site, origin = self._site(part, known, kwargs.get("name")), origin_of(known, root)
        if (why := self._left_out(site, known, allowed=origin.consent is not False)) is not None:
            self._count(why)
            return
        options, ours = kwargs.get("invocation_params") or {}, known.get("stellwerk_run_id")
        if ours is not None:
            origin = replace(origin, private=False)  # as the traces of that run
        form, by_tool = form_of(kwargs.get("options") or {}, options)
        call = ForeignCall(
            trace_id=run_id.hex,
            call_site=site,
            model=model_of(known, options),
            prompt=prompt,
            offered=definitions(options),
            form=form,
            run_id=str(ours or (root.run_id if root is not None else parent_run_id or run_id)),
            thread_id=root.thread_id if root is not None else thread_of(known),
            origin=origin,
        )
        provider = str(known.get("ls_provider") or "")
        self._asked[run_id] = Asked(part, call, provider, by_tool, ours is not None, began)

    def on_llm_start(
        self, serialized: dict[str, Any] | None, prompts: list[str], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """A model that takes a text is asked."""
        self.on_chat_model_start(serialized, texts(prompts), run_id=run_id, **kwargs)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """A model has answered."""
        asked = self._asked.pop(run_id, None)
        if asked is None:
            return
        if asked.answered(response, self._prices):
            self._tell(asked)
        else:
            self._count("kept")

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A model did not answer."""
        asked = self._asked.pop(run_id, None)
        if asked is None:
            return
        if is_cancelled(error):
            self._count("cancelled")
        else:
            asked.failed(error)
            self._tell(asked)

    def _count(self, what: str) -> None:
        with self._counting:
            self._counts[what] += 1

    def _left_out(self, site: str, metadata: Mapping[str, Any], *, allowed: bool) -> str | None:
        if "stellwerk_worker" in metadata or metadata.get(TRACED):
            return "own"
        if self._persons.are_asked(site, metadata):
            return "hci"
        return None if allowed else "denied"

    def _site(self, part: Part | None, metadata: Mapping[str, Any], name: object) -> str:
        given = metadata.get(CALL_SITE)
        path = part.path if part is not None else nodes_of(metadata.get("langgraph_checkpoint_ns"))
        own = (part.name if part is not None else "") or named(name) or "model"
        site = str(given) if given else "/".join(path) or own
        return f"{self._program}/{site}" if self._program else site

    def _tell(self, asked: Asked) -> None:
        self._count("recorded")
        root = asked.part.root if asked.part is not None else None
        if root is not None and not asked.is_ours:
            self._pending.begin(root)
        self._pending.add(asked.call, root, waits=not asked.by_tool)
