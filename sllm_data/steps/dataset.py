"""The dataset folder: where each file stands, what it was made with, and how it may grow.

run.yaml is written before any row and names the configuration of every *extension*: the
first run is extension 0, each later growth adds one. Parts belong to the extension that
made them, and no later one touches them.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import sllm_data
from sllm_data.config import RunConfig, resolved_document, shown_salt
from sllm_data.documents import differences, identity_hash, identity_of
from sllm_data.errors import OutputError, PoolError, ShardError
from sllm_data.files import is_folder, remove_temporaries, write_text
from sllm_data.shards import SCHEMA_VERSION, Manifest, PartRecord, part_name, read_manifest
from sllm_data.shards.database import check_path
from sllm_data.steps.identities import step_of_field
from sllm_data.steps.watching import Listener, unheard
from sllm_data.yaml_file import read_yaml

if TYPE_CHECKING:  # a storage's library takes most of a second
    from sllm_data.storage.mirror import Mirror

Document = dict[str, Any]  # Any: plain YAML values

_MAX_BYTES = 64 * 2**20  # an extension takes some 10 kB


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """One dataset folder together with the configuration that this run gives it."""

    root: Path
    config: RunConfig
    extensions: tuple[Document, ...]
    """Identity of each extension's configuration, oldest first; the last is this run's."""
    mirror: "Mirror | None" = None
    """What sends to the storage, where the output has a URL."""
    tell: Listener = unheard
    """Told what a step does, see `steps.watching`."""

    @property
    def extension(self) -> int:
        """Number of the extension that this run makes, 0 for a first run."""
        return len(self.extensions) - 1

    @property
    def is_finished(self) -> bool:
        """Whether the last step is done for this run's extension."""
        last = self.manifest("assemble")
        return last is not None and last.extension == self.extension

    def part(self, table: str, number: int) -> Path:
        """Path of a part; `table` may have a pass: `requests/main`."""
        return self.root / table / part_name(number)

    def manifest_path(self, step: str) -> Path:
        """Path of a step's manifest."""
        return self.root / "manifest" / f"{step}.json"

    def manifest(self, step: str) -> Manifest | None:
        """The manifest of a step, None before it was ever finished."""
        return read_manifest(self.manifest_path(step))

    def finished(self, step: str) -> Manifest:
        """The manifest of a step that must have been finished.

        Raises:
            ShardError: It has not.
        """
        manifest = self.manifest(step)
        if manifest is None:
            raise ShardError(
                f"{self.root}: the step {step} must be finished first; "
                f"run `sllm-data run` or the steps in their order"
            )
        return manifest

    def send_soon(self, records: Iterable[PartRecord]) -> None:
        """Sends files that were committed to the storage, where there is one.

        Raises:
            StorageError: An earlier one could not be sent.
        """
        if self.mirror is not None:
            self.mirror.send_soon(record.file for record in records)

    @property
    def work(self) -> Path:
        """Folder for intermediate files; may be deleted whenever no run is going on."""
        return self.root / ".work"


def open_dataset(config: RunConfig, *, extend: bool = False) -> Dataset:
    """Opens or starts the dataset of a configuration, and writes its run.yaml.

    The caller holds `files.output_lock`.

    Raises:
        OutputError: The folder holds a dataset of another configuration, can't be written, or
            has a name that DuckDB can't read from.
    """
    dataset = looked_at(config, extend=extend)
    if (dataset.root / "run.yaml").exists():
        remove_temporaries(dataset.root)
    shutil.rmtree(dataset.work / "spill", ignore_errors=True)  # of a run that was killed
    write_run_document(dataset)
    return dataset


def looked_at(config: RunConfig, *, extend: bool = False) -> Dataset:
    """Does the same without writing anything; nobody need hold the lock.

    Raises:
        OutputError: As above.
    """
    root = config.output
    check_path(root)
    identity = run_identity(config)
    stored = read_run_document(root)
    extensions: tuple[Document, ...] = (identity,)
    if stored is not None:
        extensions = _continued(root, stored, identity, extend=extend)
    elif any(root.glob("*/part-*.parquet")):
        raise OutputError(
            f"{root}: holds parts but no run.yaml; choose another output or empty the folder"
        )
    return Dataset(root=root, config=config, extensions=extensions)


def read_run_document(root: Path) -> Document | None:
    """Reads a dataset's run.yaml; None where there is none.

    Raises:
        OutputError: It can't be read as one.
    """
    path = root / "run.yaml"
    if not path.exists():
        return None
    try:
        document = read_yaml(path, max_bytes=_MAX_BYTES).data
    except PoolError as error:
        raise OutputError(f"{error}; put back the run.yaml that sllm-data wrote") from error
    if not isinstance(document, dict) or not _are_extensions(document.get("extensions")):
        raise OutputError(
            f"{path}: must be the run.yaml of a dataset, with its extensions; put back the one "
            "that sllm-data wrote"
        )
    return document


def _are_extensions(found: Any) -> bool:  # Any: YAML that somebody may have edited
    return (
        isinstance(found, list)
        and bool(found)
        and all(
            isinstance(each, dict)
            and isinstance(each.get("tasks"), dict)
            and isinstance(each.get("corpora"), list)
            and all(isinstance(corpus, dict) for corpus in each["corpora"])
            for each in found
        )
        and all(map(_has_text_keys, found[:-1]))  # the last is compared, which names the key
    )


def _has_text_keys(value: Any) -> bool:  # Any: YAML that somebody may have edited
    """Whether all keys are text, at every level; they could not be hashed in order otherwise."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _has_text_keys(inner) for key, inner in value.items())
    return not isinstance(value, list) or all(map(_has_text_keys, value))


def run_identity(config: RunConfig) -> Document:
    """Returns what the rows of a dataset depend on, as plain values."""
    identity = identity_of(config)
    identity["recipe"] = config.recipe_name
    identity["speaker_salt"] = shown_salt(config.speaker_salt)
    for field in ("model", "tokenizer"):
        if isinstance(name := identity["backbone"].get(field), str):
            # a model folder may move: what is in it goes into the request keys
            identity["backbone"][field] = model_name(name)
    # a task that is never asked is no part of what the rows depend on
    identity["tasks"] = {
        name: identity_of(task) for name, task in config.tasks.items() if task.weight > 0
    }
    return identity


def _continued(
    root: Path, stored: Document, identity: Document, *, extend: bool
) -> tuple[Document, ...]:
    extensions = tuple(stored["extensions"])
    changed = differences(extensions[-1], identity)
    if not any(_has_begun(root, line) for line in changed):
        return (*extensions[:-1], identity)
    refused = [line for line in changed if not _is_growth(line, extensions[-1], identity)]
    if refused or not extend:
        remedy = (
            "choose another output"
            if refused
            else "run it with --extend to add to the dataset, or choose another output"
        )
        raise OutputError(
            f"{root}: holds a dataset of another configuration; {'; '.join(changed)}; {remedy}"
        )
    last = read_manifest(root / "manifest/assemble.json")
    if last is None or last.extension != len(extensions) - 1:
        raise OutputError(
            f"{root}: must be finished before it can be extended; run it with the "
            "configuration in its run.yaml first"
        )
    return (*extensions, identity)


_MAIN_TABLES = {
    "candidates": "candidates",
    "ingest": "audio",
    "index": "index",
    "align": "alignments",
    "plan": "requests",
    "generate": "responses",
    "assemble": "samples",
}


def _has_begun(root: Path, changed: str) -> bool:
    """Whether the step that a changed field belongs to has written a part already."""
    step = step_of_field(changed.partition(":")[0].partition(".")[0])
    return any(root.glob(f"{_MAIN_TABLES[step]}/**/part-*.parquet"))


def _is_growth(line: str, old: Document, new: Document) -> bool:
    """Whether a difference only adds: a corpus, a task, or a higher limit of a corpus."""
    at = line.split(":", maxsplit=1)[0].split(".")
    match at:
        case ["tasks", name]:
            return name not in old["tasks"]
        case ["corpora"]:
            before, after = old["corpora"], new["corpora"]
            return len(after) > len(before) and not [
                inner
                for inner in differences(before, after[: len(before)], "corpora")
                if not _is_growth(inner, old, new)
            ]
        case ["corpora", position, ("limit" | "sample") as name]:
            before = old["corpora"][int(position)].get(name)
            after = new["corpora"][int(position)][name]
            return isinstance(before, int | float) and (after is None or after > before)
        case _:
            return False


def write_run_document(dataset: Dataset) -> None:
    """Writes the run.yaml of a dataset, where it is another than the one that is there.

    Raises:
        OutputError: It can't be written.
    """
    document = {
        "sllm_data": {"version": sllm_data.__version__, "schema_version": SCHEMA_VERSION},
        "identity": identity_hash(*dataset.extensions),
        "config": resolved_document(dataset.config),
        "extensions": list(dataset.extensions),
    }
    text = (
        "# What this dataset was made with. Written by sllm-data; do not edit.\n"
        + yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    )
    path = dataset.root / "run.yaml"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def model_name(model: str) -> str:
    """Returns a model's name without the folders of this machine.

    >>> model_name("Qwen/Qwen2.5-7B-Instruct")
    'Qwen/Qwen2.5-7B-Instruct'
    """
    path = Path(model)
    return path.name if is_folder(path) else model
