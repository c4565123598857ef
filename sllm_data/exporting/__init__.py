"""A dataset in the layouts of other trainers and libraries, each read back after it is written.

plan_export   every row once, without sound: what is held, what is not, from which sources
write_export  the files in a temporary folder, read back, then renamed
FORMATS       the layouts by name; one module each: what it holds, writes, and must be
"""

from sllm_data.exporting.formats import FORMATS
from sllm_data.exporting.planning import Plan, plan_export
from sllm_data.exporting.rows import Selection
from sllm_data.exporting.writing import Report, read_back, write_export

__all__ = [
    "FORMATS",
    "Plan",
    "Report",
    "Selection",
    "plan_export",
    "read_back",
    "write_export",
]
