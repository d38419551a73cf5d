"""LangGraph agents that run on small language models first.

Each name below is imported from its module at first use: LangGraph alone takes most of a second to
import, and a program that asks for the version or for one exception should not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import version

    from stellwerk.budget import Budget
    from stellwerk.capabilities import Capabilities
    from stellwerk.decision import Decision
    from stellwerk.document import Document, read_document
    from stellwerk.errors import (
        ConfigurationError,
        ContextOverflowError,
        DatabaseError,
        DocumentError,
        ExpressionError,
        InputError,
        LeaseError,
        MissingExtraError,
        ModelFileError,
        PlanError,
        RunCancelledError,
        StellwerkError,
        TierError,
        TierTimeoutError,
        TierUnavailableError,
        UntrustedDataError,
    )
    from stellwerk.graphs import Orchestrator, create_orchestrator, create_worker_graph
    from stellwerk.graphs.default import default_ladder, default_orchestrator
    from stellwerk.outcome import Attempt
    from stellwerk.persistence.capabilities import AsyncSQLAlchemyCapabilityStore, SQLAlchemyCapabilityStore
    from stellwerk.persistence.runs import AsyncRunStore, RunStore
    from stellwerk.persistence.saver import AsyncSQLAlchemySaver, SQLAlchemySaver
    from stellwerk.persistence.serde import StrictEncryptedSerializer, StrictSerializer
    from stellwerk.persistence.store import AsyncSQLAlchemyStore, SQLAlchemyStore
    from stellwerk.persistence.traces import TraceStore
    from stellwerk.plan import Plan, Subtask
    from stellwerk.rails import Rails
    from stellwerk.routers import Fixed, Router, SmallestFirst
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

    __version__ = version("stellwerk")

__all__ = [
    "Adapter",
    "AsyncRunStore",
    "AsyncSQLAlchemyCapabilityStore",
    "AsyncSQLAlchemySaver",
    "AsyncSQLAlchemyStore",
    "Attempt",
    "Brief",
    "Budget",
    "Capabilities",
    "ChatLlamaCpp",
    "ChatVLLM",
    "ConfigurationError",
    "ContextOverflowError",
    "DatabaseError",
    "Decision",
    "Document",
    "DocumentError",
    "Example",
    "ExpressionError",
    "Fixed",
    "InputError",
    "Ladder",
    "LeaseError",
    "MissingExtraError",
    "ModelFileError",
    "Orchestrator",
    "Plan",
    "PlanError",
    "Price",
    "Rails",
    "Router",
    "RunCancelledError",
    "RunStore",
    "SQLAlchemyCapabilityStore",
    "SQLAlchemySaver",
    "SQLAlchemyStore",
    "Settings",
    "SmallestFirst",
    "StellwerkError",
    "StrictEncryptedSerializer",
    "StrictSerializer",
    "Subtask",
    "Tier",
    "TierError",
    "TierTimeoutError",
    "TierUnavailableError",
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
    "embedded_ladder",
    "extract_worker",
    "list_adapters",
    "load_adapter",
    "look_up_worker",
    "mcp_tools",
    "openai_tier",
    "probe_ladder",
    "read_document",
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
        "Example": "worker",
        "Fixed": "routers.smallest_first",
        "Ladder": "tiers.ladder",
        "Orchestrator": "graphs.orchestrator",
        "Plan": "plan",
        "Price": "tiers.tier",
        "Rails": "rails",
        "Router": "routers.router",
        "RunStore": "persistence.runs",
        "SQLAlchemyCapabilityStore": "persistence.capabilities",
        "SQLAlchemySaver": "persistence.saver",
        "SQLAlchemyStore": "persistence.store",
        "Settings": "settings",
        "SmallestFirst": "routers.smallest_first",
        "StrictEncryptedSerializer": "persistence.serde",
        "StrictSerializer": "persistence.serde",
        "Subtask": "plan",
        "Tier": "tiers.tier",
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
        "embedded_ladder": "tiers.embedded",
        "extract_worker": "workers.extract",
        "list_adapters": "tiers.adapters",
        "load_adapter": "tiers.adapters",
        "look_up_worker": "workers.look_up",
        "mcp_tools": "workers.mcp",
        "openai_tier": "tiers.openai",
        "probe_ladder": "tiers.probe_ladder",
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
