"""RunConfig: the one document that says what a run makes.

It composes the configurations that stand beside their owners. Three layers are merged, the
later wins: the recipe, the user's run.yaml, `--set a.b=c`. Every field is of one of three
kinds (its `change` in the JSON Schema):

identity      rows depend on it; a change on an existing dataset is refused
operational   where and how fast; free to change
additive      may grow by an extension: corpora, tasks
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from sllm_data.alignment.config import AlignmentConfig
from sllm_data.assembly.config import InterleaveConfig
from sllm_data.budget import BudgetConfig
from sllm_data.corpora.config import Bounds, CorpusConfig, HuggingFaceConfig, ManifestConfig
from sllm_data.documents import (
    Document,
    apply_override,
    merged,
    read_document,
    sentence_of,
)
from sllm_data.errors import ConfigError
from sllm_data.files import sha256_of_text, shipped_folder
from sllm_data.filtering.config import FilterConfig
from sllm_data.generation.config import BackboneConfig
from sllm_data.prompting.config import PromptConfig
from sllm_data.runners.config import RunnerConfig
from sllm_data.sampling.config import DrawConfig, FollowupConfig, SplitConfig, TaskConfig
from sllm_data.sampling.quotas import MAX_TASKS
from sllm_data.storage.config import StorageConfig
from sllm_data.storage.places import Place, url_of
from sllm_data.watch import WatchConfig

_IDENTITY: Document = {"change": "identity"}
_OPERATIONAL: Document = {"change": "operational"}
_ADDITIVE: Document = {"change": "additive"}
_TAGS = frozenset(
    {"librispeech", "common_voice", "huggingface", "manifest", "vllm", "openai", "scripted"}
)
_DIGEST = "sha256:"
_REPLACED = ("templates", "instruction_languages")  # shares: they belong together


class RunConfig(BaseModel):
    """Everything a run depends on, checked and complete."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: int = Field(ge=0, description="of all chance in the run", json_schema_extra=_IDENTITY)
    output: Place = Field(
        description="the dataset's folder, or its URL in object storage",
        json_schema_extra=_OPERATIONAL,
    )
    recipe: str = Field(
        "self_powered",
        description="which published system: a name, or the path of a recipe of your own",
        json_schema_extra=_IDENTITY,
    )
    kind: str = Field("instruct", description="kind of the samples", json_schema_extra=_IDENTITY)
    corpora: tuple[CorpusConfig, ...] = Field(
        min_length=1, description="what is read", json_schema_extra=_ADDITIVE
    )
    backbone: BackboneConfig = Field(description="the text LLM and what runs it")
    part_size: int = Field(
        2000, ge=1, description="candidates in a part", json_schema_extra=_IDENTITY
    )
    speaker_salt: str = Field(
        "sllm-data",
        description="mixed into the hash of speaker ids where a corpus forbids identifying "
        "people; choose a secret one before publishing",
        json_schema_extra=_IDENTITY,
    )
    audio: Bounds = Field(Bounds(), description="which audio is usable")
    splits: SplitConfig = Field(SplitConfig(), description="shares of validation and test")
    alignment: AlignmentConfig = Field(AlignmentConfig(), description="when each word is said")
    tasks: dict[str, TaskConfig] = Field(
        min_length=1, description="what is asked", json_schema_extra=_ADDITIVE
    )
    draw: DrawConfig = Field(DrawConfig(), description="how tasks are drawn")
    prompts: PromptConfig = Field(PromptConfig(), description="wordings and templates")
    followup: FollowupConfig = Field(
        FollowupConfig(), description="which answers get a second turn"
    )
    interleave: InterleaveConfig = Field(
        InterleaveConfig(), description="which clips are cut into speech and text"
    )
    filters: FilterConfig = Field(FilterConfig(), description="verdicts on responses")
    runner: RunnerConfig = Field(RunnerConfig(), description="where steps run")
    budget: BudgetConfig = Field(
        BudgetConfig(),
        description="what a run may cost, forecast before it starts",
        json_schema_extra=_OPERATIONAL,
    )
    storage: StorageConfig = Field(StorageConfig(), description="places that are URLs")
    watch: WatchConfig = Field(WatchConfig(), description="who is told what a run does")
    reuse: tuple[Place, ...] = Field(
        (),
        description="older datasets whose responses are taken where the request key is equal",
        json_schema_extra=_OPERATIONAL,
    )
    max_rejected_fraction: float = Field(
        0.5,
        ge=0,
        le=1,
        description="a step that rejects a larger share of its rows fails",
        json_schema_extra=_OPERATIONAL,
    )

    @property
    def cuts_clips(self) -> bool:
        """Whether any row may be cut into speech and text."""
        return self.interleave.chance > 0 or any(
            task.weight > 0 and task.supervision != "answer" for task in self.tasks.values()
        )

    @property
    def writes_questions(self) -> bool:
        """Whether the backbone writes something for any wording to ask about."""
        return any(self.asks_about(name) for name, task in self.tasks.items() if task.weight > 0)

    def asks_about(self, task: str) -> bool:
        """Whether the wordings of a task ask about something that the backbone writes first."""
        return self.tasks[task].question != "none"

    @property
    def recipe_name(self) -> str:
        """The recipe's name, also where it was given as a path."""
        return Path(self.recipe).stem if self.recipe.endswith((".yaml", ".yml")) else self.recipe

    @field_validator("output")
    @classmethod
    def _is_no_repository(cls, output: Path) -> Path:
        if (url_of(output) or "").startswith("hf://"):
            raise ValueError(
                "must not be on the hub, where each part would be a commit: make the dataset "
                "elsewhere, then `sllm-data publish` it"
            )
        return output

    @field_validator("tasks")
    @classmethod
    def _something_to_ask(cls, tasks: dict[str, TaskConfig]) -> dict[str, TaskConfig]:
        if not any(task.weight > 0 for task in tasks.values()):
            raise ValueError("at least one task must have a weight above 0")
        return tasks

    @field_validator("corpora")
    @classmethod
    def _told_apart(cls, corpora: tuple[CorpusConfig, ...]) -> tuple[CorpusConfig, ...]:
        """Refuses corpora whose rows would have the same ids: numbers or paths under one name."""
        taken: dict[tuple[str | None, ...], str] = {}
        for position, corpus in enumerate(corpora):
            if isinstance(corpus, HuggingFaceConfig):
                ids = (corpus.corpus, corpus.audio_version, corpus.config_name)
                if taken.setdefault(ids, corpus.where) != corpus.where:
                    raise ValueError(
                        f"entry {position} must have a name of its own: another dataset is "
                        f"{corpus.corpus}/{corpus.audio_version} already"
                    )
            if isinstance(corpus, ManifestConfig):
                name = corpus.name or corpus.kind
                if taken.setdefault((name, corpus.version), corpus.where) != corpus.where:
                    raise ValueError(
                        f"entry {position} must have a name of its own: audio of another folder "
                        f"is {name}/{corpus.version} already"
                    )
        return corpora

    @model_validator(mode="after")
    def _train_has_tasks(self) -> Self:
        if all(task.held_out or task.weight == 0 for task in self.tasks.values()):
            raise ValueError("at least one task with a weight must not be held out")
        if self.cuts_clips and self.alignment.backend == "none":
            raise ValueError(
                "cutting clips (interleave.chance, or supervision repeat or next of a task) needs "
                "word times: alignment.backend must not be none"
            )
        asked = sum(task.weight > 0 for task in self.tasks.values())
        if self.draw.mode == "quota" and asked > MAX_TASKS:
            raise ValueError(f"quotas must be over at most {MAX_TASKS} tasks, got {asked}")
        return self


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Reads run.yaml, puts it over its recipe and applies `--set a.b=c` overrides.

    Raises:
        ConfigError: The file can't be read, a key is unknown, or a value is out of range.
    """
    document = read_document(path)
    for override in overrides:
        apply_override(document, override)
    return resolve(document, where=str(path))


def resolve(document: Document, *, where: str) -> RunConfig:
    """Puts a run's document over its recipe and checks the result.

    Raises:
        ConfigError: A key is unknown, or a value is out of its range.
    """
    name = str(document.get("recipe", "self_powered"))
    return _checked(merged(read_document(_recipe_path(name)), document, replaced=_REPLACED), where)


def stored_config(document: Document, overrides: Sequence[str] = (), *, where: str) -> RunConfig:
    """Checks a complete configuration, as it stands in a dataset, after `--set` overrides.

    Raises:
        ConfigError: A key is unknown, or a value is out of its range.
    """
    changed = copy.deepcopy(document)
    for override in overrides:
        apply_override(changed, override)
    return _checked(changed, where)


def _checked(document: Document, where: str) -> RunConfig:
    try:
        return RunConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{where}: {sentence_of(error, RunConfig, tags=_TAGS)}") from error


def document_schema() -> Document:
    """Returns the JSON Schema of run.yaml as people write it: the recipe gives the tasks."""
    schema: Document = RunConfig.model_json_schema()
    schema["required"] = [name for name in schema["required"] if name != "tasks"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def recipe_names() -> list[str]:
    """Names of the recipes that ship with the package."""
    return sorted(path.stem for path in (shipped_folder("recipes")).glob("*.yaml"))


def _recipe_path(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    if name not in recipe_names():
        raise ConfigError(
            f"recipe must be one of {', '.join(recipe_names())} or the path of a .yaml file, "
            f"got {name!r}"
        )
    return shipped_folder("recipes") / f"{name}.yaml"


def resolved_document(config: RunConfig) -> Document:
    """Returns the complete configuration as plain values, for run.yaml in the dataset."""
    document: Document = config.model_dump(mode="json")
    return document | {"speaker_salt": shown_salt(config.speaker_salt)}


def shown_salt(salt: str) -> str:
    """Returns what is written of a salt: a digest of one that may be secret.

    Whoever has the salt and a corpus can tell which speaker an id is of.

    >>> shown_salt("sllm-data")
    'sllm-data'
    """
    if salt == RunConfig.model_fields["speaker_salt"].default or salt.startswith(_DIGEST):
        return salt
    return _DIGEST + sha256_of_text(f"speaker_salt\0{salt}")
