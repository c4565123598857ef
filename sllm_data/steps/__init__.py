"""The stages on disk: each step maps part k to part k of a dataset folder.

listing, ingest, index, plan, generate, assemble are the steps; `run` puts them in order;
`parts` is what they share: resume, rejections, manifests. `forecast` tells beforehand what a
run takes.
"""

from sllm_data.steps.dataset import Dataset, open_dataset
from sllm_data.steps.engines import Engines
from sllm_data.steps.forecast import check_budget
from sllm_data.steps.order import step_names
from sllm_data.steps.parts import StepReport
from sllm_data.steps.progress import Progress
from sllm_data.steps.run import run_all, run_step

__all__ = [
    "Dataset",
    "Engines",
    "Progress",
    "StepReport",
    "check_budget",
    "open_dataset",
    "run_all",
    "run_step",
    "step_names",
]
