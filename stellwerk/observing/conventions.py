"""Names of attributes, operations and metrics.

Those that begin with `gen_ai.` are OpenTelemetry's: of the semantic conventions 1.41.0, the last release that
has them, and `plan` of the repository that they have moved to (semantic-conventions-genai 0.1.0). All are in
development, so they are written down here and not imported: the Python package marks them as deprecated, and
a release of it must not rename our spans.
"""

from __future__ import annotations

from typing import Final

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
AGENT: Final = "gen_ai.agent.name"
WORKFLOW: Final = "gen_ai.workflow.name"  # 0.1.0 has AGENT in its place
CONVERSATION: Final = "gen_ai.conversation.id"
MODEL: Final = "gen_ai.request.model"
MAX_TOKENS: Final = "gen_ai.request.max_tokens"
OUTPUT_TYPE: Final = "gen_ai.output.type"
ANSWERED_BY: Final = "gen_ai.response.model"
FINISH: Final = "gen_ai.response.finish_reasons"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
TOOL: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL: Final = "gen_ai.tool.call.id"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  # no password
ERROR: Final = "error.type"

# Contents, which nobody gets who has not asked for them.
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
ARGUMENTS: Final = "gen_ai.tool.call.arguments"
RESULT: Final = "gen_ai.tool.call.result"

CHAT: Final = "chat"
PLAN: Final = "plan"
EXECUTE_TOOL: Final = "execute_tool"
INVOKE_AGENT: Final = "invoke_agent"
INVOKE_WORKFLOW: Final = "invoke_workflow"

TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105  # no password
DURATION: Final = "gen_ai.client.operation.duration"
# As the conventions want them; the SDK's own buckets end at 10,000, which is little for tokens.
TOKEN_BUCKETS: Final = tuple(4.0**power for power in range(14))
DURATION_BUCKETS: Final = tuple(0.01 * 2**power for power in range(14))

OWN: Final = "stellwerk."
"""Before the names of attributes of our own, which docs/observing.md lists."""
