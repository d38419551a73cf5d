"""Which of vLLM's tool parsers reads the calls of which family of models.

From vLLM's documentation (docs/features/tool_calling.md), and for qwen3, phi-4-mini, lfm2 and gemma-4 from
the registry of parsers in vLLM 0.32 (vllm/tool_parsers/__init__.py). The wrong parser makes right calls
invisible, so a family that neither names gets none: `auto` calls are off then; named and required ones work.
"""

from __future__ import annotations

import re

# (family, parser, whether vLLM's documentation asks for a chat template); the first match holds.
_FAMILIES: tuple[tuple[str, str, bool], ...] = (
    (r"functiongemma", "functiongemma", True),
    (r"gemma-?4", "gemma4", False),
    (r"qwen3-?coder", "qwen3_xml", False),
    (r"xlam", "xlam", True),
    (r"qwen-?(2\.5|3)|qwq", "hermes", False),
    (r"hermes-?(2-(pro|theta)|3)", "hermes", False),
    (r"(mi|mini|mag|code|dev)stral|mixtral", "mistral", False),
    (r"llama-?4", "llama4_pythonic", True),
    (r"llama-?3\.[123]", "llama3_json", True),
    (r"granite-?4", "granite4", False),
    (r"granite-20b-functioncalling", "granite-20b-fc", True),
    (r"granite-?3", "granite", False),
    (r"internlm2", "internlm", True),
    (r"jamba", "jamba", False),
    (r"deepseek-v3\.1", "deepseek_v31", True),
    (r"deepseek-(v3|r1-0528)", "deepseek_v3", True),
    (r"gpt-oss", "openai", False),
    (r"kimi-k2", "kimi_k2", False),
    (r"hunyuan-a13b", "hunyuan_a13b", False),
    (r"glm-4\.7", "glm47", False),
    (r"glm-4\.[56]", "glm45", False),
    (r"olmo-?3", "olmo3", False),
    (r"phi-?4-mini", "phi4_mini_json", False),
    (r"lfm2", "lfm2", False),
)


def tool_parser(model: str) -> tuple[str, bool] | None:
    """The parser for a model, and whether it wants a chat template; None if its family is not known.

    Args:
        model: hub name or path of its weights.
    """
    name = model.lower().replace("_", "-")
    for family, parser, template in _FAMILIES:
        if re.search(rf"(?<![a-z0-9])({family})", name):
            return parser, template
    return None
