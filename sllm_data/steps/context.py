"""What a worker process loads once per configuration: pools, templates, the renderer."""

from functools import lru_cache

from sllm_data.chat import ChatRenderer
from sllm_data.chat.loading import locate
from sllm_data.config import RunConfig
from sllm_data.documents import identity_hash
from sllm_data.files import shipped_folder
from sllm_data.prompting.pools import Pools, load_pools
from sllm_data.prompting.templates import Template, load_template
from sllm_data.steps.dataset import model_name
from sllm_data.steps.planner import Backbone, Planner

RESTORE_TEMPLATE = "restore"
JUDGE_TEMPLATE = "judge"
FOLLOWUP_TEMPLATE = "followup"
QUESTION_TEMPLATES = ("question", "statement_false", "statement_true")


@lru_cache(maxsize=2)
def _parsed(document: str) -> RunConfig:
    return RunConfig.model_validate_json(document)


def pools_of(config: RunConfig) -> Pools:
    """Loads the shipped pools with the run's own over them.

    Raises:
        PoolError: A pool is malformed.
    """
    return load_pools((shipped_folder("instruction_pools"), *config.prompts.pools))


def templates_of(config: RunConfig) -> dict[str, Template]:
    """Loads every template that the run may use, by the name it is configured under.

    Raises:
        PoolError: A template is missing or unsafe.
    """
    names = [*config.prompts.templates, RESTORE_TEMPLATE, JUDGE_TEMPLATE]
    if config.writes_questions:
        names += QUESTION_TEMPLATES
    if config.followup.chance > 0:
        names.append(FOLLOWUP_TEMPLATE)
    return {name: load_template(name) for name in names}


def backbone_of(config: RunConfig) -> Backbone:
    """Loads the tokenizer and chat template of the run's backbone, where it has one.

    Raises:
        ModelError: They can't be found or used.
    """
    backbone = config.backbone
    source = backbone.tokenizer_source
    renderer = None
    if source is not None:
        renderer = ChatRenderer.load(
            source,
            revision=backbone.tokenizer_revision,
            template_kwargs=backbone.template_kwargs,
            chat_template=backbone.chat_template,
        )
    return Backbone(
        model=model_name(backbone.model_name),
        revision=renderer.revision if renderer else "",
        numeric_mode=backbone.numeric_mode,
        renderer=renderer,
    )


def sources_of(config: RunConfig) -> str:
    """Returns a hash of the files that a planner is made of: pools, templates, tokenizer.

    Raises:
        PoolError: A pool or a template is missing or unusable.
        ModelError: The tokenizer can't be found.
    """
    tokenizer, revision = config.backbone.tokenizer_source, config.backbone.tokenizer_revision
    return identity_hash(
        [pool.sha256 for pool in pools_of(config)],
        [template.sha256 for template in templates_of(config).values()],
        "" if tokenizer is None else locate(tokenizer, revision=revision)[1],
    )


@lru_cache(maxsize=2)
def planner_of(document: str, sources: str) -> Planner:
    """Returns the planner of a configuration (as JSON), loaded once per process.

    Args:
        document: The configuration.
        sources: What `sources_of` says, so that files that were edited are loaded anew.
    """
    del sources
    config = _parsed(document)
    return Planner(config, pools_of(config), templates_of(config), backbone_of(config))
