"""All that is measured inside a model on a few rows, as it is saved."""

from collections.abc import Sequence
from typing import NamedTuple

from sllm_data.evaluation.attended import Attended
from sllm_data.evaluation.backbone import as_backbone
from sllm_data.evaluation.forced import ForcedLoss
from sllm_data.evaluation.paired import PairedStates
from sllm_data.evaluation.probing.attention import attend
from sllm_data.evaluation.probing.counterfactuals import counterfactual_losses
from sllm_data.evaluation.probing.rows import Probe
from sllm_data.evaluation.probing.states import paired_states
from sllm_data.trainer.trained import Trained


class Seen(NamedTuple):
    """What was measured in a model."""

    losses: list[ForcedLoss]
    """Of the references: of each row as it is, and with each change."""
    attended: list[Attended]
    """Each row on each side."""
    states: PairedStates
    """Of one row of each clip."""


def diagnose(trained: Trained, probes: Sequence[Probe]) -> Seen:
    """Looks into a model.

    Args:
        trained: The model; it is what it was afterwards.
        probes: Rows, one or more.
    """
    model = trained.model
    attended = [*attend(model, probes, side="speech"), *attend(model, probes, side="text")]
    with as_backbone(model):
        attended += attend(model, probes, side="backbone")
    return Seen(
        losses=counterfactual_losses(trained, probes),
        attended=attended,
        states=paired_states(model, probes),
    )
