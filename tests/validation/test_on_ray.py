"""Validation on a Ray cluster: what processes of this machine find, and no verdict from afar."""

from pathlib import Path

import pytest
import ray
from planting import broken, change, judged
from single_level import subject_of

from sllm_data.errors import OutputError
from sllm_data.runners import cluster_kept
from sllm_data.validation.subject import mapped

AUDIO, REQUESTS, SAMPLES = (
    f"{folder}/part-00001.parquet" for folder in ("audio", "requests/main", "samples")
)


def test_ray_finds_what_processes_find(dataset: Path) -> None:
    change(dataset, SAMPLES, lambda rows: rows[1].update(pool_sha256="ABC", recipe="other"))
    change(dataset, SAMPLES, lambda rows: rows[0].update(sample_id=rows[1]["sample_id"]))
    change(dataset, AUDIO, lambda rows: rows[2].update(sha256="0" * 64))
    change(dataset, REQUESTS, lambda rows: rows.pop())
    here = judged(dataset, 3, jobs=2)
    with cluster_kept():
        there = judged(dataset, 3, jobs=2, runner="ray")
        assert ray.is_initialized()

    assert {"hash_format", "unique_id", "audio_sha256", "accounted"} <= set(broken(here))
    assert there.outcomes == here.outcomes
    assert there.looked == here.looked


def test_a_machine_that_lacks_a_folder_judges_nothing(dataset: Path) -> None:
    subject = subject_of(dataset)  # its folder for intermediate files is gone
    with pytest.raises(OutputError, match=r"must be the same folder on each machine.*TMPDIR"):
        list(mapped(subject, "parts", str, [1]))
