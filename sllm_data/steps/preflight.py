"""What can be known to fail before an hour of work is done: looked at before the first step."""

from sllm_data.chat.loading import locate
from sllm_data.config import RunConfig
from sllm_data.errors import PoolError
from sllm_data.prompting.pools import Pools
from sllm_data.steps.context import pools_of, templates_of
from sllm_data.steps.reuse import checked_dataset


def check_inputs(config: RunConfig) -> None:
    """Looks for the pools, templates, older datasets and the model that a run names.

    Raises:
        PoolError: A task has no pool in a language that is asked for, or a template is unusable.
        OutputError: A folder in `reuse` is no dataset.
        ModelError: The backbone's tokenizer can't be found.
    """
    pools = pools_of(config)
    for name, task in config.tasks.items():
        for language in config.prompts.instruction_languages:
            if task.weight > 0:
                _check_pool(pools, name, "en" if language == "utterance" else language)
    templates_of(config)
    for folder in config.reuse:
        checked_dataset(folder)
    if config.backbone.tokenizer_source is not None:
        locate(config.backbone.tokenizer_source, revision=config.backbone.tokenizer_revision)


def _check_pool(pools: Pools, task: str, language: str) -> None:
    pool = pools.get(task, language)
    if all(instruction.held_out for instruction in pool.instructions):
        raise PoolError(f"{pool.path}: at least one wording must not be held out")
