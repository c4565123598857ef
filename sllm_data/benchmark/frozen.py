"""The folder of a benchmark.

    benchmark.json         what it is: groups, tasks, rows, scoring, digests; written last
    questions.jsonl        what is asked, by speech: a line a row, `clips/` beside it
    questions.text.jsonl   the same by text, for the score that speech is compared with
    clips/                 the speech, in the codec of the corpus
    samples/ audio/        the same rows in the tables of any dataset, with their references
    schema.json            what each column is
    README.md ATTRIBUTION  for people: what it is, under which licences, who is to be named

So it is a dataset that `evaluate`, `validate`, `render` and `export` take, and a folder that any
other system can answer without this package.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sllm_data.errors import ShardError
from sllm_data.evaluation.config import EvaluationConfig
from sllm_data.files import inside, sha256_of_file
from sllm_data.shards import read_part

DOCUMENT = "benchmark.json"
SAMPLES = "samples/part-00000.parquet"
AUDIO = "audio/part-00000.parquet"
QUESTIONS = "questions.jsonl"
TEXT_QUESTIONS = "questions.text.jsonl"
VERSION = 2
"""History: 1 listed no wordings that ask nothing of length and form, so that a later package
could ask something of them; 2 lists them with null."""
MAX_BYTES = 64 * 2**20

_COLUMNS = (
    *("sample_id", "task", "task_params", "kind", "variant", "instruction_id", "language"),
    *("response", "response_language", "split", "eval_group", "transcript"),
    *("transcript_prepared", "finish_reason", "messages"),
)

Row = Mapping[str, Any]  # Any: values of the samples table


class Made(BaseModel):
    """What a benchmark was made of."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    name: str
    digest: str
    """Of its parts."""


class Description(BaseModel):
    """What `benchmark.json` says."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    benchmark_version: int
    name: str
    sllm_data: str
    """Version that made it."""
    source: Made
    against: tuple[Made, ...]
    """Further training sets that it has nothing in common with."""
    split: str
    backbones: tuple[str, ...]
    """Who wrote the references: `name@revision`."""
    cells: Mapping[str, Mapping[str, int]]
    """Rows by group and task."""
    left_out: Mapping[str, int]
    """Rows of the split that are not in it, by reason."""
    rows: int
    clips: int
    hours: float
    speakers: int
    languages: tuple[str, ...]
    scoring: EvaluationConfig
    """Frozen with the rows, so that scores stay comparable."""
    files: Mapping[str, str]
    """SHA-256 of each file but this one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """A benchmark that can be scored on."""

    root: Path
    description: Description
    rows: Mapping[str, Row]
    """By sample_id: what is asked, and the reference."""
    sha256: str
    """Of `benchmark.json`, which has those of all other files: equal ones are one benchmark."""


def read_benchmark(root: Path) -> Benchmark:
    """Reads a benchmark and checks that every file of it is the one that was frozen.

    Raises:
        ShardError: There is none, it is of a newer version, or a file was changed.
    """
    description = read_description(root)
    for file in sorted({*description.files, SAMPLES, AUDIO, QUESTIONS, TEXT_QUESTIONS}):
        check_file(root, description, file)
    table = read_part(root / SAMPLES, list(_COLUMNS))
    return Benchmark(
        root=root,
        description=description,
        sha256=sha256_of_file(root / DOCUMENT),
        rows={row["sample_id"]: row for row in table.to_pylist()},
    )


def read_description(root: Path) -> Description:
    """Reads `benchmark.json`.

    Raises:
        ShardError: It is not there, can't be read, or is of a newer version.
    """
    path = root / DOCUMENT
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ShardError(f"{path}: must be smaller than {MAX_BYTES:,} bytes, is not")
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ShardError(
            f"{path}: must be what `sllm-data benchmark build` wrote, can't be read: "
            f"{error.strerror or error}; name the folder of a benchmark"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ShardError(
            f"{path}: must be JSON, is not: {error}; put back the file that was built"
        ) from error
    version = document.get("benchmark_version") if isinstance(document, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise ShardError(
            f"{path}: has version {version}, this sllm-data reads up to {VERSION}; update "
            "sllm-data"
        )
    try:
        return Description.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise ShardError(
            f"{path}: must be what `sllm-data benchmark build` wrote, {where}: {first['msg']}; "
            "put back the file that was built"
        ) from error


def check_file(root: Path, description: Description, file: str) -> None:
    """Compares a file with its digest.

    Raises:
        ShardError: It is missing or was changed.
    """
    path = inside(root, file)
    try:
        found = "no file of the folder" if path is None else sha256_of_file(path)
    except OSError as error:
        found = error.strerror or str(error)
    if found != description.files.get(file):
        raise ShardError(
            f"{root}/{file}: must be the file that was frozen, with SHA-256 "
            f"{description.files.get(file)}, found: {found}; copy the benchmark again"
        )
