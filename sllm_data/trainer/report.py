"""What a training came to: told to its caller, and written last of all."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from sllm_data.errors import TrainingError
from sllm_data.files import write_text
from sllm_data.trainer.config import TrainConfig
from sllm_data.trainer.data.loader import MAX_NAMES
from sllm_data.trainer.data.making import UNDECODABLE
from sllm_data.trainer.provenance import Facts, code_facts, facts_of, refuse_another

_NAME = "report.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Skips:
    """Rows that were left out for one reason."""

    num: int
    names: tuple[str, ...]
    """Of the first hundred."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainReport:
    """What a training did. Figures are of the last start, and of all ranks."""

    output: Path
    steps: int
    """Of the whole training."""
    steps_now: int
    """Since the last start."""
    loss: float
    """Of the last step."""
    validation_loss: float | None
    """When it was last looked at."""
    seconds: float
    labels: int
    """Tokens that were trained."""
    trained_tokens_per_second: float
    tokens_per_second: float
    audio_hours_per_hour: float
    useful_share: float
    loader_wait_share: float
    peak_memory_gib: float
    mfu: float | None
    budget: int
    """Positions of a pack."""
    skipped: Mapping[str, Skips]
    """Rows that could not be trained on, by reason; one is counted each time it is met."""
    was_done: bool = False
    """Nothing was left to do."""


def finished_report(config: TrainConfig) -> TrainReport | None:
    """Returns the report of a training that is finished; None where it is not.

    Raises:
        TrainingError: The folder holds one of another configuration or other data.
    """
    path = config.output / _NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        stored, found = document["facts"], _reports().validate_python(document["report"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(
            f"{path}: must be a report written by sllm-data: {error}; delete it and run the same "
            "command again"
        ) from error
    refuse_another(stored, facts_of(config), where=config.output)
    return replace(found, output=config.output, was_done=True)


def write_report(output: Path, report: TrainReport, facts: Facts) -> None:
    """Writes the report; from then on the training is finished."""
    plain = asdict(report) | {"output": str(report.output)}
    document = {"report": plain, "facts": facts, **code_facts()}
    write_text(output / _NAME, f"{json.dumps(document, indent=1)}\n")


def together(ranks: Iterable[Mapping[str, tuple[int, list[str]]]]) -> dict[str, Skips]:
    """Returns what was skipped by any rank.

    What the plan leaves out is the same on each rank and counted by all of them; a clip that
    can't be decoded is counted by the one whose pack it is in.
    """
    found: dict[str, Skips] = {}
    for rank in ranks:
        for reason, (num, names) in rank.items():
            before = found.get(reason, Skips(num=0, names=()))
            union = tuple(dict.fromkeys([*before.names, *names]))[:MAX_NAMES]
            total = before.num + num if reason == UNDECODABLE else max(before.num, num)
            found[reason] = Skips(num=total, names=union)
    return dict(sorted(found.items()))


@cache
def _reports() -> TypeAdapter[TrainReport]:
    return TypeAdapter(TrainReport)
