"""What can be known to fail before an hour of work is done: looked at before the first step."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sllm_data.alignment.aligner import check_backends
from sllm_data.config import RunConfig
from sllm_data.errors import CorpusError, PoolError
from sllm_data.prompting.pools import Instruction, Pool, Pools
from sllm_data.prompting.templates import Template, template_from_string
from sllm_data.prompting.twins import render_twin
from sllm_data.sampling import TaskConfig
from sllm_data.steps.context import planner_of, pools_of, sources_of, templates_of
from sllm_data.steps.planner import wording_fields
from sllm_data.steps.reuse import checked_dataset

_FORKS = ("._", ".AppleDouble")


def check_working_folder() -> None:
    """Refuses what libsndfile would take for the resource fork of a clip that it is handed.

    It looks for one in the working folder before it tries MP3, and gives up on every clip
    without an ID3 tag where it finds one: thousands of good clips would be unreadable.

    Raises:
        CorpusError: There is one.
    """
    for name in _FORKS:
        if Path(name).exists():
            raise CorpusError(
                f"{name}: must not be in the folder in which the command runs, or libsndfile "
                "takes it for a part of every MP3 and reads none; remove it, or run the same "
                "command elsewhere"
            )


def check_inputs(config: RunConfig) -> None:
    """Tries pools, templates, older datasets, aligner and tokenizer that a run names.

    Every wording that may be asked is rendered once. The tokenizer takes seconds to load,
    and stays loaded for `plan`.

    Raises:
        PoolError: A task has no pool in a language that is asked for, or a wording or a
            template can't be rendered.
        CorpusError: There are no word times where `alignment.files` says.
        OutputError: A folder in `reuse` is no dataset.
        ShardError: A part of one is no part of ours.
        ModelError: The backbone's tokenizer or chat template, or the CTC model, can't be
            found or used.
    """
    pools = pools_of(config)
    layouts = [templates_of(config)[name] for name in config.prompts.templates]
    for name, task in config.tasks.items():
        if task.weight > 0:
            for pool in _pools_of_task(pools, name, config.prompts.instruction_languages):
                _check_pool(pool, task, layouts)
    for folder in config.reuse:
        checked_dataset(folder)
    check_backends(config.alignment)
    if config.backbone.tokenizer_source is not None:
        planner_of(config.model_dump_json(), sources_of(config))


def _pools_of_task(pools: Pools, task: str, languages: Mapping[str, float]) -> list[Pool]:
    """The pools that the task may draw from; English stands in for the utterance's language."""
    named = {"en" if language == "utterance" else language for language in languages}
    if "utterance" in languages:
        named |= set(pools.languages(task))
    return [pools.get(task, language) for language in sorted(named)]


def _check_pool(pool: Pool, task: TaskConfig, layouts: Sequence[Template]) -> None:
    if all(instruction.held_out for instruction in pool.instructions):
        raise PoolError(f"{pool.path}: at least one wording must not be held out")
    for params in _params(task):
        for instruction in pool.instructions:
            try:
                fields = wording_fields(params, instruction)
                for side in (instruction.text, instruction.audio):
                    template_from_string(instruction.id, side).render(**fields)
                _check_variables(instruction, task)
            except PoolError as error:
                raise PoolError(f"{pool.path}: {error}") from error
        for layout in layouts:
            _check_layout(layout, pool.instructions[0], params)


def _params(task: TaskConfig) -> list[dict[str, str]]:
    """Parameters as rows of the task may have them, with every language that may be drawn."""
    rest: dict[str, str] = {} if task.question == "none" else {task.question: "?"}
    if task.needs_emotion:
        rest["emotion"] = "happy"
    return [{"to": code} | rest for code in task.to] or [rest]


def _check_variables(instruction: Instruction, task: TaskConfig) -> None:
    """A wording that leaves out what the task is about would ask for something else."""
    text, audio = (
        template_from_string(instruction.id, side).variables
        for side in (instruction.text, instruction.audio)
    )
    if task.question != "none" and task.question not in text & audio:
        raise PoolError(
            f"wording {instruction.id}: must use {{{{ {task.question} }}}} on both sides, or "
            "the task's `question` must be none"
        )
    if task.needs_emotion and ("emotion" not in text or "emotion" in audio):
        raise PoolError(
            f"wording {instruction.id}: must use {{{{ emotion }}}} on the text side and not on "
            "the audio side, which is to hear it, or the task's `needs_emotion` must be false"
        )


def _check_layout(layout: Template, instruction: Instruction, params: dict[str, str]) -> None:
    fields = wording_fields(params, instruction)
    try:
        render_twin(
            template=layout, instruction=instruction, transcript="", fields=fields, system=None
        )
    except PoolError as error:
        raise PoolError(f"prompts.templates: {error}") from error
