"""Where parts are worked on: one seam, `map_parts`, and what stands behind it."""

from sllm_data.runners.config import RunnerConfig
from sllm_data.runners.mapping import map_parts, num_workers, start_worker, uninterrupted

__all__ = ["RunnerConfig", "map_parts", "num_workers", "start_worker", "uninterrupted"]
