"""The report of a dataset: one page that tells what is in it, and lets one listen.

    tables ──> amounts, losses, anchors ──> figures ──> sections ──> page
       └────────────────────────> examples ──> players ───────────────┘

Everything is read from the dataset and nothing is asked of a clock: one dataset, one page.
"""

from sllm_data.reporting.report.figures import NUM_STAGES, Figures
from sllm_data.reporting.report.writing import MAX_AUDIO_BYTES, write_report

__all__ = ["MAX_AUDIO_BYTES", "NUM_STAGES", "Figures", "write_report"]
