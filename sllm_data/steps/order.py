"""Which steps a configuration needs, in their order."""

from sllm_data.config import RunConfig
from sllm_data.records import PASSES, Pass


def step_names(config: RunConfig) -> list[str]:
    """Returns the steps that a configuration needs, in their order.

    `align` is there only where an aligner is configured, each pass but `main` only where
    something asks for it.
    """
    names = ["candidates", "ingest", "index"]
    if config.alignment.backend != "none":
        names.append("align")
    for turn in PASSES:
        if turn in _passes(config):
            names += [f"plan.{turn}", f"generate.{turn}"]
    return [*names, "assemble"]


def _passes(config: RunConfig) -> set[Pass]:
    needed: dict[Pass, bool] = {
        "restore": config.prompts.preparation == "restored",
        "question": config.writes_questions,
        "main": True,
        "followup": config.followup.chance > 0,
        "followup_answer": config.followup.chance > 0,
        "judge": config.filters.judge,
    }
    return {turn for turn, is_needed in needed.items() if is_needed}
