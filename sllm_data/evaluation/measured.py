"""What an evaluation measures beside its answers: the files that stand beside the predictions.

    counterfactuals.jsonl, attention.jsonl, states.safetensors   inside the model, all or none
    latency.jsonl                                                by the clock
    retention.jsonl                                              on plain texts

All figures of these are computed from what is read here, by the evaluation that wrote them, too.
Older versions saved the first and the last alone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sllm_data.errors import ShardError
from sllm_data.evaluation.attended import ATTENTION, Attended, read_attended
from sllm_data.evaluation.config import BootstrapConfig
from sllm_data.evaluation.diagnostics import Diagnostics, diagnostics_of
from sllm_data.evaluation.forced import COUNTERFACTUALS, RETENTION, ForcedLoss, read_forced
from sllm_data.evaluation.paired import STATES, PairedStates, read_states
from sllm_data.evaluation.timed import LATENCY, Timed, read_timed
from sllm_data.files import is_file, writing

PREDICTIONS = "predictions.jsonl"
_INSIDE = (COUNTERFACTUALS, ATTENTION, STATES)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What stands beside predictions; empty or None where it was not asked for."""

    changed: Sequence[ForcedLoss] = ()
    """Of rows as they are, and with each change."""
    attended: Sequence[Attended] = ()
    states: PairedStates | None = None
    timed: Sequence[Timed] = ()
    texts: Sequence[ForcedLoss] = ()
    """Of plain ones."""

    def diagnostics(self, config: BootstrapConfig) -> Diagnostics | None:
        """Returns what was seen inside the model; the map begins where the seed says."""
        if self.states is None:
            return None
        return diagnostics_of(self.attended, self.states, seed=config.seed)


def read_measured(predictions: Path, *, known: Collection[str]) -> Measured:
    """Reads what `evaluate` saved beside its predictions; nothing where it saved none.

    A file of another name than `predictions.jsonl` holds other answers, of which what lies there
    says nothing.

    Args:
        predictions: Their file.
        known: Their sample_ids.

    Raises:
        ShardError: A file is broken, or of rows that are not known; of those about the inside of
            the model one is missing, or of other rows than the others.
    """
    if predictions.name != PREDICTIONS:
        return Measured()
    names = (COUNTERFACTUALS, ATTENTION, STATES, LATENCY, RETENTION)
    found = {name: path for name in names if is_file(path := predictions.with_name(name))}
    changed = read_forced(found[COUNTERFACTUALS], known=known) if COUNTERFACTUALS in found else ()
    attended: Sequence[Attended] = ()
    states = None
    if ATTENTION in found or STATES in found:
        _check_together(predictions, found)
        attended = read_attended(found[ATTENTION], known=known)
        _check_same_rows(found, changed, attended)
        states = read_states(found[STATES], known={each.row for each in attended})
    return Measured(
        changed=changed,
        attended=attended,
        states=states,
        timed=read_timed(found[LATENCY], known=known) if LATENCY in found else (),
        texts=read_forced(found[RETENTION]) if RETENTION in found else (),
    )


def remove_measured(output: Path) -> None:
    """Removes what an evaluation before left, which is not of the predictions to come.

    Raises:
        OutputError: One can't be removed.
    """
    with writing(output):
        for name in (*_INSIDE, LATENCY, RETENTION):
            (output / name).unlink(missing_ok=True)


def _check_together(predictions: Path, found: Mapping[str, Path]) -> None:
    missing = [name for name in _INSIDE if name not in found]
    if missing:
        others = " and ".join(name for name in _INSIDE if name in found)
        raise ShardError(
            f"{predictions.with_name(missing[0])}: must stand beside {others}, is missing; put "
            "it back, or remove them"
        )


def _check_same_rows(
    found: Mapping[str, Path], changed: Sequence[ForcedLoss], attended: Sequence[Attended]
) -> None:
    differing = {each.row for each in changed} ^ {each.row for each in attended}
    if differing:
        raise ShardError(
            f"{found[ATTENTION]}: must be of the rows of {COUNTERFACTUALS}, they differ in "
            f"{min(differing)}; put back the files of one evaluation, or remove them"
        )
