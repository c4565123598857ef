"""Asking the backbone: one seam, `Engine`, and the three engines behind it.

Here: what run.yaml says about the backbone, and what turns requests into responses. Not
here: prompts (`prompting`), parts and their files (`steps`), verdicts (`filtering`).

vllm      in process, on GPU or CPU; the only module of the package that knows vLLM
openai    any server that speaks the OpenAI protocol
scripted  a Python function, for dry runs and tests
"""

from sllm_data.generation.config import (
    BackboneConfig,
    OpenaiConfig,
    ScriptedConfig,
    VllmConfig,
)
from sllm_data.generation.engine import Engine, start_engine

__all__ = [
    "BackboneConfig",
    "Engine",
    "OpenaiConfig",
    "ScriptedConfig",
    "VllmConfig",
    "start_engine",
]
