"""From a request and its response to a training row."""

from sllm_data.assembly.instruct import Clip, Provenance, instruct_sample

__all__ = ["Clip", "Provenance", "instruct_sample"]
