"""What people read about a dataset; made from it, never part of its identity."""

from sllm_data.reporting.examples import first_samples
from sllm_data.reporting.stats import Stats, collect_stats
from sllm_data.reporting.text import as_text

__all__ = ["Stats", "as_text", "collect_stats", "first_samples"]
