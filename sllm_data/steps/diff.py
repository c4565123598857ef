"""diff: two finished datasets, their configurations and their samples, compared.

Only files are read; a run that is going on in one of them is not disturbed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sllm_data.documents import differences
from sllm_data.errors import OutputError
from sllm_data.reporting.comparison import diff_samples, open_pair
from sllm_data.reporting.diff import Diff
from sllm_data.steps.dataset import read_run_document
from sllm_data.steps.progress import Progress

Document = dict[str, Any]  # Any: plain YAML values

_OUTPUT = "output:"  # two datasets differ in it, and it says nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetDiff:
    """What differs between two datasets."""

    identity: tuple[str, ...]
    """Configuration that rows depend on, as `name: in a -> in b`."""
    operational: tuple[str, ...]
    """The rest of the configuration: where and how fast."""
    samples: Diff

    def as_json(self) -> dict[str, Any]:  # Any: JSON document
        """The same as plain values."""
        return self.samples.as_json() | {"configuration": self.configuration}

    @property
    def configuration(self) -> dict[str, tuple[str, ...]]:
        """Both kinds of differences in run.yaml."""
        return {"identity": self.identity, "operational": self.operational}


def diff_datasets(a: Path, b: Path, *, examples: int, progress: Progress) -> DatasetDiff:
    """Compares two finished datasets; samples are paired by sample_id.

    Args:
        a: The old one.
        b: The new one; may be the same folder.
        examples: Rows to keep of each kind of difference.
        progress: Where to show a bar.

    Raises:
        OutputError: One is no dataset, or the disk is too small for a copy of the samples.
        ShardError: One is not finished, or a part is damaged.
    """
    documents = read_document(a), read_document(b)
    left, right = open_pair(a, b)
    with progress.bar("diff", left.rows + right.rows) as bar:
        samples = diff_samples(left, right, examples=examples, watch=bar.advance)
    identity, operational = _configuration(*documents)
    return DatasetDiff(identity=identity, operational=operational, samples=samples)


def _configuration(a: Document, b: Document) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Differences of the fields that rows depend on, and of the others."""
    identity = differences(a["extensions"][-1], b["extensions"][-1])
    named = {line.partition(":")[0] for line in identity}
    rest = [
        line
        for line in differences(a.get("config"), b.get("config"))
        if line.partition(":")[0] not in named and not line.startswith(_OUTPUT)
    ]
    return tuple(identity), tuple(rest)


def read_document(root: Path) -> Document:
    """Reads the run.yaml of what must be a dataset.

    Raises:
        OutputError: It is none.
    """
    document = read_run_document(root)
    if document is None:
        raise OutputError(f"{root}: must be a dataset, found no run.yaml in it")
    return document
