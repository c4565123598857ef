"""Level 1, row by row: the bounds that a row was made under, and those of the contract."""

from collections.abc import Iterator

from sllm_data.config import RunConfig
from sllm_data.records.request import ANSWER_PASSES
from sllm_data.validation import row_rules
from sllm_data.validation.conditions import Condition, not_in, texts, wrong
from sllm_data.validation.contract import Contract
from sllm_data.validation.published import PublishedTable
from sllm_data.validation.rules import Rule

RULES = (
    Rule(
        name="duration_bounds",
        level=1,
        meaning="a clip lasts no less and no longer than the run's `audio` and its corpus entry "
        "allow, and the contract",
    ),
    Rule(
        name="prompt_length",
        level=1,
        meaning="a prompt has no more tokens than `prompts.max_prompt_tokens` and the contract "
        "allow",
    ),
    Rule(
        name="known_task",
        level=1,
        meaning="every task is one that run.yaml asks with a weight above 0",
        foreign="off",
    ),
    Rule(
        name="allowed_task",
        level=1,
        meaning="every task is one of the contract's `tasks`",
    ),
    Rule(
        name="allowed_language",
        level=1,
        meaning="every language of speech is one of the contract's `languages`",
    ),
    Rule(
        name="allowed_licence",
        level=1,
        meaning="every row stands under one of the contract's `licences`",
    ),
)


def conditions(
    table: str,
    turn: str,
    published: PublishedTable,
    *,
    config: RunConfig | None,
    contract: Contract,
) -> tuple[Condition, ...]:
    """Returns all conditions for the rows of a folder.

    Args:
        table: Its table.
        turn: Its pass, for requests and responses; empty elsewhere.
        published: The table's schema.
        config: The run's configuration, where there is one.
        contract: The dataset's contract.
    """
    found = [
        *row_rules.nulls(table, published),
        *row_rules.FIXED.get(table, ()),
        *_configured(table, turn, config, contract),
        *(_likeliest(table, turn, config.backbone.top_logprobs) if config else ()),
        *_listed(table, turn, contract),
    ]
    names = published.columns.keys()
    return tuple(c for c in found if c.column.partition(".")[0] in names)


def _configured(
    table: str, turn: str, config: RunConfig | None, contract: Contract
) -> Iterator[Condition]:
    match table:
        case "audio":
            yield from _durations(config, contract)
        case "requests":
            if turn:
                yield wrong(
                    "id_format",
                    "request_id",
                    f"request_id <> sample_id || {texts([f':{turn}'])}",
                    f"must be <sample_id>:{turn}",
                )
            limits = [contract.max_prompt_tokens] if contract.max_prompt_tokens else []
            limits += [config.prompts.max_prompt_tokens] if config else []
            if limits:
                yield wrong(
                    "prompt_length",
                    "prompt_token_ids",
                    f"len(prompt_token_ids) > {min(limits)}",
                    f"must have at most {min(limits)} tokens",
                    value="len(prompt_token_ids)",
                )
        case "responses" | "samples" if contract.max_response_tokens:
            yield wrong(
                "response_length",
                "num_response_tokens",
                f"num_response_tokens > {contract.max_response_tokens}",
                f"must be at most {contract.max_response_tokens}",
            )
        case _:
            pass
    if config and (table == "samples" or (table == "requests" and turn in ("question", "main"))):
        asked = sorted(name for name, task in config.tasks.items() if task.weight > 0)
        yield not_in("known_task", "task", "task", asked)


def _likeliest(table: str, turn: str, wanted: int) -> Iterator[Condition]:
    """As many of the likeliest tokens as the run asked for, where an engine was asked."""
    match table:
        case "samples":
            column, engine = "response_top_token_ids", "generator.engine"
        case "responses":
            column, engine = "top_token_ids", "engine"
            wanted = wanted if turn in ANSWER_PASSES else 0
        case _:
            return
    lacking = f"{column} IS NULL OR len({column}[1]) <> {wanted}" if wanted else "false"
    yield wrong(
        "likeliest_tokens",
        column,
        f"CASE WHEN {wanted} = 0 OR {engine} = 'none' THEN {column} IS NOT NULL "
        f"ELSE {lacking} END",
        f"must be {wanted} tokens of each place where an engine was asked, and missing elsewhere"
        if wanted
        else "must be missing: backbone.top_logprobs is 0, or no row's response comes from here",
        value=f"len({column}[1])",
    )


def _durations(config: RunConfig | None, contract: Contract) -> Iterator[Condition]:
    for entry, corpus in enumerate(config.corpora if config else ()):
        bounds = config.audio.for_entry(corpus) if config else None
        if bounds is not None:
            yield _lasting(bounds.min_duration_s, bounds.max_duration_s, f"entry = {entry}")
    yield _lasting(contract.min_duration_s or 0.0, contract.max_duration_s, "true")


def _lasting(shortest: float, longest: float | None, where: str) -> Condition:
    # a clip of exactly the bound was let in: the last sample may make the difference
    too_long = f"OR num_samples > floor({longest} * sampling_rate)" if longest else ""
    most = f" and at most {longest:g}" if longest else ""
    return wrong(
        "duration_bounds",
        "duration_s",
        f"{where} AND (duration_s < {shortest} {too_long})",
        f"must last at least {shortest:g} s{most}",
    )


def _listed(table: str, turn: str, contract: Contract) -> Iterator[Condition]:
    asks = table == "requests" and turn in ("question", "main")
    if contract.tasks is not None and (asks or table == "samples"):
        yield not_in("allowed_task", "task", "task", contract.tasks)
    if contract.languages is not None and table in ("samples", "audio", "candidates"):
        allowed = texts(contract.languages)
        yield wrong(
            "allowed_language",
            "language",
            f"language NOT IN ({allowed}) AND split_part(language, '-', 1) NOT IN ({allowed})",
            f"must be one of {', '.join(contract.languages)}",
        )
    if contract.licences is not None and table in ("samples", "audio", "candidates"):
        yield not_in("allowed_licence", "source.licence", "source.licence", contract.licences)
