"""Opening a folder for examination: which parts are there, and what its documents say.

What makes it impossible to look (no dataset, a malformed contract, a newer schema) is an
error; a document of the dataset that is damaged is a finding, and the rest is looked at
without it.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from sllm_data.config import RunConfig
from sllm_data.documents import identity_hash
from sllm_data.errors import ConfigError, OutputError, ShardError
from sllm_data.files import TEMPORARY_SUFFIX
from sllm_data.runners import RunnerConfig
from sllm_data.shards import TABLES, Manifest, read_manifest
from sllm_data.steps import Progress
from sllm_data.steps.dataset import read_run_document
from sllm_data.validation import contract as contracts
from sllm_data.validation import published as schemas
from sllm_data.validation.contract import Contract
from sllm_data.validation.findings import Finding, Tally, shown
from sllm_data.validation.rules import Rule
from sllm_data.validation.step_folders import is_step
from sllm_data.validation.subject import Part, Subject

RULES = (
    Rule(
        name="run_document",
        level=0,
        meaning="run.yaml can be read, and its identity is that of the configurations in it",
        foreign="off",
    ),
    Rule(
        name="manifest_document",
        level=0,
        meaning="each manifest can be read, is of the step that it is named after, and of the "
        "schema version of schema.json",
        foreign="off",
    ),
    Rule(
        name="schema_document",
        level=0,
        meaning="schema.json is there and publishes the tables of its schema version",
    ),
    Rule(
        name="finished",
        level=0,
        meaning="every step that run.yaml asks for has its manifest, of the newest extension; "
        "the README is written, nothing is left of an interrupted run, and no run is going on",
        foreign="off",
    ),
    Rule(
        name="part_unexpected",
        level=0,
        meaning="every Parquet file is a part that a manifest names",
        foreign="warning",
    ),
)

_NUMBER = re.compile(r"part-(\d+)\.parquet")
_SUFFIX = ".parquet"
_MANIFEST = TypeAdapter(Manifest)
_MAX_DEPTH = 2  # requests/main, rejections/plan.main


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the caller wants: how deep to look, and by what to judge."""

    level: int = 1
    contract: Path | None = None
    """None: `contract.yaml` in the dataset, where there is one."""
    schema: Path | None = None
    """None: `schema.json` in the dataset, else the shipped tables."""
    sample: float = 1.0
    jobs: int | None = None
    """Processes, or Ray tasks at once; None: one for each core, or as the cluster has room."""
    runner: Literal["processes", "ray"] = "processes"
    """Where parts are judged: on this machine, or on those of a Ray cluster."""
    address: str | None = None
    """Of the Ray cluster, as `runner.address` in run.yaml."""
    keep: int = 20
    against: tuple[Path, ...] = ()
    """Datasets whose test rows the training rows must have nothing of; level 3 only."""
    progress: Progress = field(default_factory=lambda: Progress(None))


def contract_of(root: Path, options: Options) -> tuple[Path, Contract]:
    """Returns the contract of a dataset, and where it stands.

    Raises:
        ConfigError: It is malformed, or the one that was asked for is not there.
    """
    path = options.contract or root / contracts.FILE_NAME
    if options.contract is None and not path.exists():
        return path, Contract()
    return path, contracts.load_contract(path)


def open_subject(
    root: Path, options: Options, contract: Contract, scratch: Path, tally: Tally
) -> Subject:
    """Lists a folder and reads its documents; what is wrong with them goes to the tally.

    Raises:
        ConfigError: The address can't be that of a Ray cluster.
        OutputError: There is no dataset.
        ShardError: A published schema that was asked for can't be used.
    """
    runner = _runner(options)
    listed = sorted(listed_files(root))
    foreign = not (root / "run.yaml").exists() and not any((root / "manifest").glob("*.json"))
    parts = parts_among(listed, tally)
    if foreign and not parts:
        raise OutputError(
            f"{root}: must be a dataset (run.yaml and manifest/), or a folder that holds "
            f"Parquet parts in folders named by their tables ({', '.join(TABLES)}); found neither"
        )
    document = {} if foreign else _run_document(root, tally)
    config = _config(root, document, tally)
    published = _published(root, options, tally, foreign=foreign)
    subject = Subject(
        root=root,
        parts=parts,
        unread=(),
        manifests={} if foreign else _manifests(root, published.version, tally),
        document=document,
        config=config,
        published=published,
        contract=contract,
        foreign=foreign,
        sample=options.sample,
        runner=runner,
        threads=options.jobs or len(os.sched_getaffinity(0)),
        keep=options.keep,
        against=options.against,
        scratch=scratch,
        progress=options.progress,
    )
    if not foreign:
        _note_leftovers(root, listed, tally)
    return subject


def _runner(options: Options) -> RunnerConfig:
    if options.address is not None and options.runner != "ray":
        raise ConfigError(
            f"address names a Ray cluster, got {options.address} for the runner "
            f"{options.runner}; add --runner ray"
        )
    try:
        return RunnerConfig(
            kind=options.runner, workers=options.jobs or "auto", address=options.address
        )
    except ValidationError as error:
        raise ConfigError(
            f"address must be host:port, ray://host:port or auto, got {options.address!r}"
        ) from error


def listed_files(root: Path) -> Iterator[str]:
    """Yields all files below the folder, relative to it, with forward slashes.

    Raises:
        OutputError: There is no such folder.
    """
    if not root.is_dir():
        raise OutputError(f"{root}: must be the folder of a dataset, there is no such folder")
    for folder, folders, files in os.walk(root, followlinks=True):
        relative = Path(folder).relative_to(root)
        deepest = len(relative.parts) == _MAX_DEPTH  # a link may lead back
        folders[:] = [] if deepest else [name for name in folders if not name.startswith(".")]
        for name in files:
            yield (relative / name).as_posix()


def parts_among(listed: list[str], tally: Tally) -> tuple[Part, ...]:
    """Returns the parts among the files of a folder; those in no table's folder are findings."""
    found: list[Part] = []
    places: dict[str, int] = {}
    for file in listed:
        folder, _, name = file.rpartition("/")
        if not name.endswith(_SUFFIX) or name.startswith("."):
            continue
        table = folder.partition("/")[0]
        if table not in TABLES:
            tally.add(
                Finding(
                    rule="part_unexpected",
                    part=file,
                    message="must lie in a folder that is named by its table",
                )
            )
            continue
        place = places[folder] = places.get(folder, -1) + 1
        found.append(part_at(file, place))
    return tuple(found)


def part_at(file: str, place: int) -> Part:
    """Returns a part by its file; its place counts where its name holds no number."""
    folder, _, name = file.rpartition("/")
    named = _NUMBER.fullmatch(name)
    return Part(
        file=file, table=folder.partition("/")[0], number=int(named[1]) if named else place
    )


def _run_document(root: Path, tally: Tally) -> Mapping[str, Any]:  # Any: YAML values
    try:
        document = read_run_document(root)
    except OutputError as error:
        _add(tally, "run_document", "run.yaml", str(error))
        return {}
    if document is None:
        _add(tally, "run_document", "run.yaml", "must be there, is missing")
        return {}
    try:
        identity = identity_hash(*document["extensions"])
    except (TypeError, ValueError) as error:  # what YAML can say and JSON can't
        _add(tally, "run_document", "run.yaml", f"extensions: {error}")
        return {}
    if document.get("identity") != identity:
        tally.add(
            Finding(
                rule="run_document",
                part="run.yaml",
                column="identity",
                value=shown(document.get("identity")),
                message=f"must be the hash of its extensions, {identity}",
            )
        )
    return document


def _config(root: Path, document: Mapping[str, Any], tally: Tally) -> RunConfig | None:
    if not document:
        return None
    try:
        return RunConfig.model_validate(document.get("config")).model_copy(update={"output": root})
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(["config", *map(str, first["loc"])])
        _add(tally, "run_document", "run.yaml", f"{at}: {first['msg']}")
        return None


def _manifests(root: Path, version: int, tally: Tally) -> dict[str, Manifest]:
    found: dict[str, Manifest] = {}
    for path in sorted((root / "manifest").glob("*.json")):
        file = f"manifest/{path.name}"
        try:
            manifest = read_manifest(path)
        except ShardError as error:
            _add(tally, "manifest_document", file, str(error))
            continue
        if manifest is None:
            continue  # it went away meanwhile
        problem = _problem(path.stem, manifest, version)
        if problem:
            _add(tally, "manifest_document", file, problem)
        else:
            found[path.stem] = manifest
    return found


def _problem(step: str, manifest: Manifest, version: int) -> str:
    """What is wrong with a manifest in itself; empty where nothing is."""
    if not is_step(step):
        return "must be of a step of this version"
    try:
        _MANIFEST.validate_json(json.dumps(asdict(manifest)), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if manifest.step != step:
        return f"must be of its step, is of {manifest.step!r}"
    if manifest.schema_version != version:
        return (
            f"must have the schema version of schema.json, {version}, "
            f"has {manifest.schema_version}"
        )
    numbers = [number for pair in manifest.extra.items() for number in pair]
    if step == "index" and not all(number.isdecimal() for number in numbers):
        return "extra: must be numbers of parts"
    return ""


def _published(root: Path, options: Options, tally: Tally, *, foreign: bool) -> schemas.Published:
    if options.schema is not None:
        return schemas.read_published(options.schema)
    path = root / schemas.FILE_NAME
    shipped = schemas.shipped()
    if not path.exists():
        if not foreign:
            _add(tally, "schema_document", schemas.FILE_NAME, "must be there, is missing")
        return shipped
    try:
        published = schemas.read_published(path)
    except ShardError as error:
        _add(tally, "schema_document", schemas.FILE_NAME, str(error))
        return shipped
    for name, column, problem in schemas.differences(published, shipped):
        if foreign and not column:
            continue  # a program may publish only the tables that it writes
        tally.add(
            Finding(
                rule="schema_document",
                part=schemas.FILE_NAME,
                row=name,
                column=column,
                message=problem,
            )
        )
    return published


def _note_leftovers(root: Path, listed: list[str], tally: Tally) -> None:
    for file in listed:
        if file.endswith(TEMPORARY_SUFFIX):
            _add(tally, "finished", file, "is left of a run that was interrupted; run it again")
    if (root / ".work").exists():
        _add(tally, "finished", ".work", "is left of a run that was interrupted; run it again")
    if _is_locked(root / ".lock"):
        _add(tally, "finished", ".lock", "a run is writing this folder now; wait for its end")


def _is_locked(path: Path) -> bool:
    """Whether a run holds the dataset's lock; looking leaves nothing behind."""
    try:
        handle = path.open("rb")
    except OSError:
        return False  # no lock, or not ours to read
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False  # a file system without locks
    return False


def _add(tally: Tally, rule: str, file: str, message: str) -> None:
    tally.add(Finding(rule=rule, part=file, message=" ".join(message.split())))
