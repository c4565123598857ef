"""A frozen test set with three groups, and systems that are scored on it.

    seen instruction      a task and a wording of the training, about speech that is not in it
    held-out instruction  a wording that no training row has
    held-out task         a task that no training row has

Here: choosing the rows, freezing them with their scoring, reading what any system answered, and
the table of scores. Not here: metrics (`evaluation`), and asking a trained model, which
`evaluate` does with a benchmark as with any dataset.
"""

from sllm_data.benchmark.building import build_benchmark
from sllm_data.benchmark.frozen import Benchmark, read_benchmark
from sllm_data.benchmark.scoring import score
from sllm_data.benchmark.selecting import Wanted

__all__ = ["Benchmark", "Wanted", "build_benchmark", "read_benchmark", "score"]
