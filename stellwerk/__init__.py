"""LangGraph agents that run on small language models first.

Each name below is imported from its module at first use: LangGraph alone takes most of a second to
import, and a program that asks for the version or for one exception should not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import version

    from stellwerk.budget import Budget, RunBudget
    from stellwerk.capabilities import Capabilities
    from stellwerk.chat import LadderChatModel, TierRouterMiddleware
    from stellwerk.conversion.recorder import TraceRecorder
    from stellwerk.decision import Decision
    from stellwerk.document import Document, read_document
    from stellwerk.effects import Effect, EffectJournal, InMemoryEffectJournal, effect
    from stellwerk.error_policy import ErrorPolicy
    from stellwerk.errors import (
        BudgetError,
        ConfigurationError,
        ContextOverflowError,
        DatabaseError,
        DocumentError,
        ExpressionError,
        InputError,
        LeaseError,
        MissingExtraError,
        ModelFileError,
        OutcomeUnknownError,
        PlanError,
        RunCancelledError,
        StellwerkError,
        TierAccessError,
        TierError,
        TierTimeoutError,
        TierUnavailableError,
        UntrustedDataError,
    )
    from stellwerk.graphs import Orchestrator, create_orchestrator, create_worker_graph
    from stellwerk.graphs.as_tool import orchestrator_tool
    from stellwerk.graphs.default import default_ladder, default_orchestrator
    from stellwerk.logs import JsonFormatter, RunFilter
    from stellwerk.nodes.judge import Judge
    from stellwerk.nodes.results_cache import ResultsCache
    from stellwerk.observer import Observer
    from stellwerk.observing.otel import OpenTelemetry
    from stellwerk.observing.prometheus import Prometheus
    from stellwerk.outcome import Attempt
    from stellwerk.persistence.capabilities import AsyncSQLAlchemyCapabilityStore, SQLAlchemyCapabilityStore
    from stellwerk.persistence.effects import SQLAlchemyEffectJournal
    from stellwerk.persistence.routers import AsyncSQLAlchemyRouterRegistry, SQLAlchemyRouterRegistry
    from stellwerk.persistence.runs import AsyncRunStore, RunStore
    from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver
    from stellwerk.persistence.serde import StrictEncryptedSerializer, StrictSerializer
    from stellwerk.persistence.store import AsyncSQLAlchemyStore, SQLAlchemyStore
    from stellwerk.persistence.traces import TraceStore
    from stellwerk.plan import Plan, Subtask
    from stellwerk.rails import Rails
    from stellwerk.routers import Fixed, Router, SmallestFirst
    from stellwerk.routers.exploring import Exploring
    from stellwerk.routers.shadowed import Shadowed
    from stellwerk.run_options import RunOptions
    from stellwerk.settings import Settings
    from stellwerk.tiers import ChatLlamaCpp, Ladder, Price, Tier, embedded_ladder, openai_tier
    from stellwerk.tiers.adapters import (
        Adapter,
        alist_adapters,
        aload_adapter,
        aunload_adapter,
        list_adapters,
        load_adapter,
        unload_adapter,
    )
    from stellwerk.tiers.probe_ladder import aprobe_ladder, probe_ladder
    from stellwerk.tiers.vllm import ChatVLLM
    from stellwerk.tiers.vllm_tier import vllm_tier
    from stellwerk.worker import Brief, Example, Worker
    from stellwerk.workers import (
        calculate_worker,
        call_function_worker,
        classify_worker,
        create_worker,
        extract_worker,
        look_up_worker,
        summarise_worker,
        write_worker,
    )
    from stellwerk.workers.mcp import mcp_tools
    from stellwerk.workers.remote import remote_worker

    __version__ = version("stellwerk")

__all__ = [
    "Adapter",
    "AsyncRunStore",
    "AsyncSQLAlchemyCapabilityStore",
    "AsyncSQLAlchemyRouterRegistry",
    "AsyncSQLAlchemySaver",
    "AsyncSQLAlchemyStore",
    "Attempt",
    "Brief",
    "Budget",
    "BudgetError",
    "Capabilities",
    "ChatLlamaCpp",
    "ChatVLLM",
    "ConfigurationError",
    "ContextOverflowError",
    "DatabaseError",
    "Decision",
    "Document",
    "DocumentError",
    "Effect",
    "EffectJournal",
    "ErrorPolicy",
    "Example",
    "Exploring",
    "ExpressionError",
    "Fixed",
    "InMemoryEffectJournal",
    "InputError",
    "JsonFormatter",
    "Judge",
    "Ladder",
    "LadderChatModel",
    "LeaseError",
    "MissingExtraError",
    "ModelFileError",
    "Observer",
    "OpenTelemetry",
    "Orchestrator",
    "OutcomeUnknownError",
    "Plan",
    "PlanError",
    "Price",
    "Prometheus",
    "Rails",
    "ResultsCache",
    "Router",
    "RunBudget",
    "RunCancelledError",
    "RunFilter",
    "RunOptions",
    "RunStore",
    "SQLAlchemyCapabilityStore",
    "SQLAlchemyEffectJournal",
    "SQLAlchemyRouterRegistry",
    "SQLAlchemySaver",
    "SQLAlchemyStore",
    "Settings",
    "Shadowed",
    "SmallestFirst",
    "StellwerkError",
    "StrictEncryptedSerializer",
    "StrictSerializer",
    "Subtask",
    "Tier",
    "TierAccessError",
    "TierError",
    "TierRouterMiddleware",
    "TierTimeoutError",
    "TierUnavailableError",
    "TraceRecorder",
    "TraceStore",
    "UntrustedDataError",
    "Worker",
    "__version__",
    "alist_adapters",
    "aload_adapter",
    "aprobe_ladder",
    "aunload_adapter",
    "calculate_worker",
    "call_function_worker",
    "classify_worker",
    "create_orchestrator",
    "create_worker",
    "create_worker_graph",
    "default_ladder",
    "default_orchestrator",
    "effect",
    "embedded_ladder",
    "extract_worker",
    "list_adapters",
    "load_adapter",
    "look_up_worker",
    "mcp_tools",
    "openai_tier",
    "orchestrator_tool",
    "probe_ladder",
    "read_document",
    "remote_worker",
    "summarise_worker",
    "unload_adapter",
    "vllm_tier",
    "write_worker",
]

if not TYPE_CHECKING:  # a type checker would take any name for granted, given `__getattr__`
    _HOME = {
        "Adapter": "tiers.adapters",
        "AsyncRunStore": "persistence.runs",
        "AsyncSQLAlchemyCapabilityStore": "persistence.capabilities",
        "AsyncSQLAlchemyRouterRegistry": "persistence.routers",
        "AsyncSQLAlchemySaver": "persistence.saver",
        "AsyncSQLAlchemyStore": "persistence.store",
        "Attempt": "outcome",
        "Brief": "worker",
        "Budget": "budget",
        "Capabilities": "capabilities",
        "ChatLlamaCpp": "tiers.llamacpp",
        "ChatVLLM": "tiers.vllm",
        "Decision": "decision",
        "Document": "document",
        "Effect": "effects",
        "EffectJournal": "effects",
        "ErrorPolicy": "error_policy",
        "Example": "worker",
        "Exploring": "routers.exploring",
        "Fixed": "routers.smallest_first",
        "InMemoryEffectJournal": "effects",
        "JsonFormatter": "logs",
        "Judge": "nodes.judge",
        "Ladder": "tiers.ladder",
        "LadderChatModel": "chat.ladder_chat",
        "Observer": "observer",
        "OpenTelemetry": "observing.otel",
        "Orchestrator": "graphs.orchestrator",
        "Plan": "plan",
        "Price": "tiers.tier",
        "Prometheus": "observing.prometheus",
        "Rails": "rails",
        "ResultsCache": "nodes.results_cache",
        "Router": "routers.router",
        "RunBudget": "budget",
        "RunFilter": "logs",
        "RunOptions": "run_options",
        "RunStore": "persistence.runs",
        "SQLAlchemyCapabilityStore": "persistence.capabilities",
        "SQLAlchemyEffectJournal": "persistence.effects",
        "SQLAlchemyRouterRegistry": "persistence.routers",
        "SQLAlchemySaver": "persistence.saver",
        "SQLAlchemyStore": "persistence.store",
        "Settings": "settings",
        "Shadowed": "routers.shadowed",
        "SmallestFirst": "routers.smallest_first",
        "StrictEncryptedSerializer": "persistence.serde",
        "StrictSerializer": "persistence.serde",
        "Subtask": "plan",
        "Tier": "tiers.tier",
        "TierRouterMiddleware": "chat.tier_router",
        "TraceRecorder": "conversion.recorder",
        "TraceStore": "persistence.traces",
        "Worker": "worker",
        "alist_adapters": "tiers.adapters",
        "aload_adapter": "tiers.adapters",
        "aprobe_ladder": "tiers.probe_ladder",
        "aunload_adapter": "tiers.adapters",
        "calculate_worker": "workers.calculate",
        "call_function_worker": "workers.call_function",
        "classify_worker": "workers.classify",
        "create_orchestrator": "graphs.orchestrator",
        "create_worker": "workers.create",
        "create_worker_graph": "graphs.worker",
        "default_ladder": "graphs.default",
        "default_orchestrator": "graphs.default",
        "effect": "effects",
        "embedded_ladder": "tiers.embedded",
        "extract_worker": "workers.extract",
        "list_adapters": "tiers.adapters",
        "load_adapter": "tiers.adapters",
        "look_up_worker": "workers.look_up",
        "mcp_tools": "workers.mcp",
        "openai_tier": "tiers.openai",
        "orchestrator_tool": "graphs.as_tool",
        "probe_ladder": "tiers.probe_ladder",
        "remote_worker": "workers.remote",
        "read_document": "document",
        "summarise_worker": "workers.text",
        "unload_adapter": "tiers.adapters",
        "vllm_tier": "tiers.vllm_tier",
        "write_worker": "workers.text",
    }

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "__version__":
            value = import_module("importlib.metadata").version(__name__)
        else:
            value = getattr(import_module(f"{__name__}.{_HOME.get(name, 'errors')}"), name)
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
