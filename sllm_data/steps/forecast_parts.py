"""What a probe asks, in parts as a run would have them, in the order of a hash."""

import math
from collections.abc import Sequence
from pathlib import Path

from sllm_data.generation import BackboneConfig
from sllm_data.seeding import hash128
from sllm_data.shards import TABLES, part_name, read_part, write_part
from sllm_data.steps.answering import Job
from sllm_data.steps.dataset import Dataset
from sllm_data.steps.gpu_workers import worker_devices

_MIN_PART = 128
_BATCH_OF_GPU, _BATCH_OF_CPU = 1024, 256


def write_parts(
    dataset: Dataset, folder: Path, job: Job, left: Sequence[str], *, share: float
) -> int:
    """Writes requests of a small dataset to `folder`, and returns the number of parts.

    Args:
        dataset: The small one, of one part.
        folder: Of the parts.
        job: Of the pass.
        left: request_id of each request to ask, at least one.
        share: What a part of the real dataset is of the small one.
    """
    size = min(_batch_of(dataset.config.backbone), math.ceil(share * len(left)))
    requests = read_part(dataset.part(f"requests/{job.turn}", 0)).to_pylist()
    rows = {row["request_id"]: row for row in requests}
    order = sorted(left, key=lambda request_id: hash128("forecast", request_id))
    starts = range(0, len(order), size)
    for number, start in enumerate(starts):
        write_part(
            folder,
            f"requests/{job.turn}/{part_name(number)}",
            (rows[request_id] for request_id in order[start : start + size]),
            table=TABLES["requests"],
            identity=job.step.identity,
        )
    return len(starts)


def _batch_of(backbone: BackboneConfig) -> int:
    """Requests in the largest part that is probed: four of them must fill the engine.

    A run's parts may be larger. The longest answers of a part are asked for first, so a probe
    that ends within its first part would see no others.
    """
    if backbone.engine != "vllm":
        return max(_MIN_PART, backbone.max_in_flight)
    if backbone.max_num_seqs != "auto":
        return max(_MIN_PART, backbone.max_num_seqs)
    return _BATCH_OF_CPU if worker_devices(backbone) == [""] else _BATCH_OF_GPU
