"""Which identity each step's manifest must have now: the files that it read count as well.

A wording or a template that was edited changes what `plan` would make, and with it all that
comes after; so its text is part of the identity from `plan` on.
"""

from sllm_data.documents import identity_hash
from sllm_data.steps.context import pools_of, templates_of
from sllm_data.steps.dataset import Dataset
from sllm_data.steps.identities import identities


def expected_identity(dataset: Dataset, name: str) -> str:
    """Returns the identity of a step (`ingest`, `plan.main`) for this run's extension.

    Raises:
        PoolError: A pool or a template is missing or unusable.
    """
    step, _, turn = name.partition(".")
    own = identities(dataset.extensions)[step]
    if step in ("candidates", "ingest", "index", "align"):
        return own
    config = dataset.config
    # a pool that is never asked from is no part of what the rows depend on
    asked = {name for name, task in config.tasks.items() if task.weight > 0}
    languages = frozenset(config.prompts.instruction_languages)
    pools = [
        [pool.task, pool.language, pool.sha256]
        for pool in pools_of(config)
        if pool.task in asked and ("utterance" in languages or pool.language in languages)
    ]
    templates = {key: template.sha256 for key, template in templates_of(config).items()}
    return identity_hash(own, turn, pools, templates)
