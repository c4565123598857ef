"""Instruction pools: the wordings of each task, read from `<task>.<language>.yaml` files.

A pool is checked at the door: a key that is unknown or missing, a value of a wrong type, a
wording that is no template, an id that is used twice end in a sentence with file and line.
What loads but is poor (too few wordings, none held out, near-duplicates) is for `lint`;
which wording a request gets is for the sampling stage.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import pydantic

from sllm_data.errors import PoolError
from sllm_data.files import is_folder, sha256_of_bytes
from sllm_data.prompting.templates import template_from_string
from sllm_data.yaml_file import MAX_BYTES, YamlFile, read_bounded, yaml_of

_Id = Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z0-9_.-]+$", max_length=100)]
_Task = Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z0-9_]+$", max_length=50)]
_Language = Annotated[
    str, pydantic.StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]+)*$", max_length=50)
]
_Words = Annotated[
    str, pydantic.StringConstraints(strip_whitespace=True, min_length=1, max_length=5_000)
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Instruction:
    """One wording of a task, in its two forms."""

    id: str
    """Unique over all pools: `translation.en.01`."""
    task: str
    language: str
    """Of the wording, not of the transcript that it is used on."""
    text: str
    """What the backbone reads; may hold variables such as {{ target_language }}."""
    audio: str
    """What the speech model reads beside the audio; the same variables."""
    held_out: bool
    """Kept out of training, to measure how well unseen wordings are followed."""
    tags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """The instructions of one task in one language: one file."""

    task: str
    language: str
    instructions: tuple[Instruction, ...]
    """In the order of the file; at least one."""
    sha256: str
    """Of the file's bytes."""
    path: Path
    licence: str
    source: str


@dataclass(frozen=True, slots=True)
class Pools:
    """All pools of a run; iterates in order of task and language."""

    by_task_and_language: Mapping[tuple[str, str], Pool]

    def __iter__(self) -> Iterator[Pool]:
        for key in sorted(self.by_task_and_language):
            yield self.by_task_and_language[key]

    def __len__(self) -> int:
        return len(self.by_task_and_language)

    def tasks(self) -> tuple[str, ...]:
        """Returns the tasks that have a pool, sorted."""
        return tuple(sorted({task for task, _ in self.by_task_and_language}))

    def languages(self, task: str) -> tuple[str, ...]:
        """Returns the languages in which a task has a pool, sorted; empty where it has none."""
        return tuple(sorted(lang for name, lang in self.by_task_and_language if name == task))

    def get(self, task: str, language: str) -> Pool:
        """Returns the pool of a task in a language.

        Raises:
            PoolError: There is none; the sentence names those that there are.
        """
        pool = self.by_task_and_language.get((task, language))
        if pool is not None:
            return pool
        languages = self.languages(task)
        if languages:
            raise PoolError(
                f"there is no pool for task {task} in language {language}; there is one in: "
                f"{', '.join(languages)}; add {task}.{language}.yaml to a pool folder"
            )
        raise PoolError(
            f"there is no pool for task {task}; there is one for: "
            f"{', '.join(self.tasks()) or 'none'}; add {task}.{language}.yaml to a pool folder"
        )


def load_pools(folders: Sequence[Path]) -> Pools:
    """Loads all pools of the folders; a later folder replaces whole pools of an earlier one.

    Args:
        folders: For the shipped pools, `files.shipped_folder("instruction_pools")` first.

    Raises:
        PoolError: A folder is missing or holds no pool, a file is malformed, or two pools
            share an id.
    """
    found: dict[tuple[str, str], Pool] = {}
    for folder in folders:
        for path in _pool_files(folder):
            pool = load_pool(path)
            found[pool.task, pool.language] = pool
    owners: dict[str, Path] = {}
    for pool in found.values():
        for instruction in pool.instructions:
            other = owners.setdefault(instruction.id, pool.path)
            if other != pool.path:
                raise PoolError(
                    f"{pool.path}: the id {instruction.id} must be unique, but {other} "
                    "uses it too; rename one of them"
                )
    return Pools(found)


def load_pool(path: Path) -> Pool:
    """Loads one pool.

    Raises:
        PoolError: The file is malformed; the sentence says on which line and what to do.
    """
    return _pool_of(path, read_bounded(path, MAX_BYTES))


@lru_cache(maxsize=512)  # each step reads all pools; to parse them takes longer than the rest
def _pool_of(path: Path, text: bytes) -> Pool:
    file = yaml_of(path, text)
    try:
        content = _PoolFile.model_validate(file.data)
    except pydantic.ValidationError as error:
        raise _malformed(file, error) from error
    expected = f"{content.task}.{content.language}.yaml"
    if path.name != expected:
        raise PoolError(
            f"{path}: a pool of task {content.task} in language {content.language} must be "
            f"called {expected}; rename the file or correct its task and language"
        )
    _check_wordings(file, content)
    return Pool(
        task=content.task,
        language=content.language,
        instructions=tuple(
            Instruction(
                id=entry.id,
                task=content.task,
                language=content.language,
                text=entry.text,
                audio=entry.audio,
                held_out=entry.held_out,
                tags=tuple(entry.tags),
            )
            for entry in content.instructions
        ),
        sha256=sha256_of_bytes(file.content),
        path=path,
        licence=content.licence,
        source=content.source,
    )


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


class _Entry(_Strict):
    id: _Id
    text: _Words
    audio: _Words
    held_out: bool
    tags: list[_Id] = []


class _PoolFile(_Strict):
    task: _Task
    language: _Language
    licence: _Words
    source: _Words
    instructions: Annotated[list[_Entry], pydantic.Field(min_length=1)]


def _pool_files(folder: Path) -> list[Path]:
    if not is_folder(folder):
        raise PoolError(f"{folder}: must be a folder of instruction pools")
    misnamed = sorted(folder.glob("*.yml"))
    if misnamed:
        raise PoolError(f"{misnamed[0]}: a pool's file name must end in .yaml; rename it")
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise PoolError(f"{folder}: must hold a pool, a file <task>.<language>.yaml")
    return files


def _malformed(file: YamlFile, error: pydantic.ValidationError) -> PoolError:
    first = error.errors()[0]
    location = first["loc"]
    name = ".".join(str(step) for step in location) or "the file"
    if first["type"] == "missing":
        fault = "is required"
    elif first["type"] == "extra_forbidden":
        fault = "is not a key that is known here"
    else:
        fault = f"{first['msg'][0].lower()}{first['msg'][1:]}, found {_shown(first['input'])}"
    return PoolError(f"{file.path}, line {file.line_of(location)}: {name}: {fault}")


def _shown(value: object) -> str:
    """Returns a value as YAML would name it: `no` and `12` are a boolean and a number."""
    if isinstance(value, (dict, list)):
        return f"a {'mapping' if isinstance(value, dict) else 'list'}"
    return f"{type(value).__name__} {str(value)!r:.80}"


def _check_wordings(file: YamlFile, content: _PoolFile) -> None:
    used: set[str] = set()
    for number, entry in enumerate(content.instructions):
        if entry.id in used:
            line = file.line_of(("instructions", number))
            raise PoolError(f"{file.path}, line {line}: the id {entry.id} must be unique")
        used.add(entry.id)
        for side in ("text", "audio"):
            try:
                template_from_string(entry.id, getattr(entry, side))
            except PoolError as error:
                line = file.line_of(("instructions", number, side))
                raise PoolError(f"{file.path}, line {line}: {side}: {error}") from error
