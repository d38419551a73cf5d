"""Models and routers for the tests of this part."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk

from stellwerk.budget import Budget
from stellwerk.decision import Decision
from stellwerk.outcome import Attempt
from stellwerk.plan import Subtask
from stellwerk.tiers.ladder import Ladder
from stellwerk.trace import AttemptTrace, RunTrace
from stellwerk.worker import Brief, Worker
from tests.fakes import Messages, Scripted, always

Chosen = Callable[[Brief, Sequence[Attempt]], str | None]


class Streaming(Scripted):
    """A model that streams words, one a chunk; an exception among them breaks the stream off there."""

    words: Sequence[str | Exception] = ()
    opened: int = 0
    closed: int = 0

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        self._note(messages, kwargs)
        self.opened += 1
        try:
            for number, word in enumerate(self.words):
                if isinstance(word, Exception):
                    raise word
                is_last = number == len(self.words) - 1
                usage = UsageMetadata(input_tokens=7, output_tokens=number + 1, total_tokens=8 + number)
                yield ChatGenerationChunk(
                    message=AIMessageChunk(
                        content=word,
                        usage_metadata=usage if is_last else None,
                        response_metadata={"finish_reason": "stop"} if is_last else {},
                    )
                )
        finally:
            self.closed += 1

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages, stop, None, **kwargs):
            yield chunk


def streaming(*words: str | Exception) -> Streaming:
    return Streaming(reply=always("".join(str(word) for word in words)), words=words)


class Chooses:
    """A router that a function stands for; `cascades` as given."""

    name = "chooses"
    version = "7"

    def __init__(self, chosen: Chosen, *, cascades: bool = False, serve: int | None = None) -> None:
        self._chosen = chosen
        self._serve = serve
        self.cascades = cascades
        self.asked: list[tuple[Subtask, Worker, Brief]] = []

    def decide(
        self,
        subtask: Subtask,
        worker: Worker,
        ladder: Ladder,
        budget: Budget,
        history: Sequence[Attempt],
        brief: Brief | None = None,
    ) -> Decision:
        assert brief is not None
        self.asked.append((subtask, worker, brief))
        tier = self._chosen(brief, history)
        serve = None if tier else self._serve
        return Decision(
            tier=tier, router=self.name, version=self.version, why="so chosen", propensity=0.5, serve=serve
        )


def climbs(*tiers: str) -> Chosen:
    """One tier after the other, and then none."""
    return lambda brief, history: tiers[len(history)] if len(history) < len(tiers) else None


class Sink:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.attempts: list[AttemptTrace] = []

    def attempt(self, trace: AttemptTrace, /) -> None:
        self.attempts.append(trace)

    def run(self, trace: RunTrace, /) -> None:
        raise AssertionError("a call is no run")


def last(messages: Messages) -> str:
    return str(messages[-1].text)
