"""All of an evaluation: a model is asked or a file is read, and a folder is written."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sllm_data.chat.loading import locate
from sllm_data.evaluation.attended import ATTENTION
from sllm_data.evaluation.begun import BEGUN, Facts, answers_begun
from sllm_data.evaluation.config import EvaluationConfig
from sllm_data.evaluation.forced import COUNTERFACTUALS, RETENTION, added_losses, retention_of
from sllm_data.evaluation.lines import write_lines
from sllm_data.evaluation.measured import PREDICTIONS, read_measured, remove_measured
from sllm_data.evaluation.page import Evaluated
from sllm_data.evaluation.paired import STATES, write_states
from sllm_data.evaluation.predictions import Prediction, check_known, read_predictions
from sllm_data.evaluation.rows import Skipped, all_ids
from sllm_data.evaluation.tables import Report, tabulate
from sllm_data.evaluation.timed import LATENCY, latencies
from sllm_data.evaluation.writing import write_evaluation
from sllm_data.files import is_folder, output_lock, sha256_of_text, writing
from sllm_data.trainer.data.reading import digest_of
from sllm_data.trainer.provenance import code_facts, facts_of_trained

if TYPE_CHECKING:
    from sllm_data.evaluation.asking import Asking

_LISTED = 20
"""Rows that the page names, of those that were left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What an evaluation found, and where it stands."""

    report: Report
    skipped: tuple[Skipped, ...]
    """Rows that no side was asked."""
    files: tuple[Path, ...]
    """The page last."""


def evaluate(  # noqa: PLR0913 - options of a command
    model: Path,
    asking: "Asking",
    output: Path,
    *,
    config: EvaluationConfig,
    texts: Sequence[str] = (),
    num_examples: int = 2,
    watch: Callable[[int, int], None] = lambda _done, _total: None,
    say: Callable[[str], None] = lambda _sentence: None,
) -> Outcome:
    """Asks a trained model the rows of a dataset, and writes what is found.

    Answers are written as they come. Where an evaluation did not come to its end, the same one
    asks for the others alone, and finds the same to the bit.

    Args:
        model: What `sllm-data train` wrote.
        asking: Which rows, which sides.
        output: A folder; files in the way are replaced.
        config: How answers are scored.
        texts: Plain ones, by which it is measured what the training cost; none where empty.
        num_examples: Answers on the page for each task of each group.
        watch: Called with the rows that are done and their number.
        say: Told of answers that were given before, and of those that are of another evaluation.

    Raises:
        ModelError: There is no such model.
        ShardError: The dataset can't be used.
        ConfigError: The model is to transcribe for a cascade, and no row says how to ask it.
        TrainingError: A GPU is asked for and there is none.
        OutputError: The folder can't be written, or another process writes it.
    """
    import torch  # noqa: PLC0415 - its import takes seconds

    from sllm_data.evaluation.asking import ask, look_into  # noqa: PLC0415
    from sllm_data.evaluation.retention import retention  # noqa: PLC0415
    from sllm_data.trainer.distributed import chosen_device, told_of_memory  # noqa: PLC0415
    from sllm_data.trainer.trained import load_trained  # noqa: PLC0415

    where = chosen_device(asking.device)
    dtype = torch.bfloat16 if where == "cuda" else torch.float32
    written = output / PREDICTIONS
    facts_begun = _facts_of_answers(model, asking, device=where)
    with (
        output_lock(output),
        told_of_memory(
            f"the GPU's memory must hold the model and packs of {asking.budget:,} positions, and "
            "does not; choose a smaller --budget, fewer rows to --diagnose, or --device cpu"
        ),
    ):
        begun = answers_begun(output / BEGUN, facts_begun, say=say)
        trained = load_trained(model, device=where, dtype=dtype)
        asked = ask(trained, asking, name=_name(model), begun=begun, watch=watch)
        predictions, skipped = asked.predictions, asked.skipped
        remove_measured(output)
        write_lines(written, predictions)  # they took hours, and what follows may fail
        if asked.timed:
            write_lines(output / LATENCY, asked.timed)
        if asking.diagnose:
            seen = look_into(trained, asking, skipped)
            write_lines(output / COUNTERFACTUALS, seen.losses)
            write_lines(output / ATTENTION, seen.attended)
            write_states(output / STATES, seen.states)
        if texts:
            write_lines(output / RETENTION, retention(trained, texts))
        facts = {
            "dataset": _name(asking.dataset),
            "split": asking.split,
            "rows left out": _listed(skipped),
            "chat template": _compared(asked.other_templates),
            "computed": f"{where}, {str(dtype).removeprefix('torch.')}, greedy",
        }
        evaluated = _evaluated(written, predictions, config, facts, asking.dataset)
        files = write_evaluation(evaluated, output, num_examples=num_examples)
        with writing(output):
            (output / BEGUN).unlink()
    return Outcome(report=evaluated.report, skipped=tuple(skipped), files=(written, *files))


def rescore(
    source: Path,
    output: Path,
    *,
    config: EvaluationConfig,
    dataset: Path | None = None,
    num_examples: int = 2,
) -> Outcome:
    """Scores predictions that were saved, and what was measured beside a `predictions.jsonl`.

    Args:
        source: The file.
        output: A folder; files in the way are replaced.
        config: How answers are scored.
        dataset: For instructions and sound on the page; must be the one that was asked.
        num_examples: Answers on the page for each task of each group.

    Raises:
        ShardError: The file is broken or not of that dataset, or one beside it is broken,
            missing or of another evaluation.
        OutputError: The folder can't be written.
    """
    predictions = read_predictions(source)
    facts = {"predictions": source.name}
    if dataset is not None:
        check_known(source, predictions, all_ids(dataset), dataset=dataset)
        facts["dataset"] = _name(dataset)
    evaluated = _evaluated(source, predictions, config, facts, dataset)
    files = write_evaluation(evaluated, output, num_examples=num_examples)
    return Outcome(report=evaluated.report, skipped=(), files=tuple(files))


def _evaluated(
    source: Path,
    predictions: Sequence[Prediction],
    config: EvaluationConfig,
    facts: Mapping[str, str],
    dataset: Path | None,
) -> Evaluated:
    """Computes all figures of predictions, and of what was measured and saved beside them.

    Raises:
        ShardError: A file beside them is broken, missing or of another evaluation.
    """
    measured = read_measured(source, known={each.sample_id for each in predictions})
    return Evaluated(
        predictions=predictions,
        config=config,
        report=tabulate(predictions, config),
        facts=facts,
        dataset=dataset,
        diagnostics=measured.diagnostics(config.bootstrap),
        losses=added_losses(measured.changed, config.bootstrap),
        latency=latencies(measured.timed),
        retention=retention_of(measured.texts, config.bootstrap),
    )


def _facts_of_answers(model: Path, asking: "Asking", *, device: str) -> Facts:
    """Returns all that answers depend on.

    Raises:
        ModelError: There is no such model, or not the one that transcribes.
        ShardError: A manifest of the dataset is broken.
    """
    _, document = facts_of_trained(model)
    is_cascade = "cascade" in asking.sides
    return {
        "model": [_name(model), sha256_of_text(json.dumps(document, sort_keys=True))],
        "dataset": digest_of(asking.dataset),
        "split": asking.split,
        "limit": asking.limit,
        "sides": list(asking.sides),
        "budget": asking.budget,
        "max_tokens": asking.max_tokens,
        "asr": asking.asr if is_cascade else None,
        "asr_revision": locate(asking.asr, revision=None)[1]
        if is_cascade and is_folder(Path(asking.asr))
        else None,
        "device": device,
        **code_facts(),
    }


def _name(folder: Path) -> str:
    return folder.resolve().name


def _compared(others: Sequence[str]) -> str:
    if not others:
        return "that of the rows"
    found = ", ".join(other[:12] for other in others)
    return f"another than that by which rows were answered: {found}"


def _listed(skipped: list[Skipped]) -> str:
    if not skipped:
        return "none"
    shown = "; ".join(f"{each.sample_id}: {each.reason}" for each in skipped[:_LISTED])
    more = f"; and {len(skipped) - _LISTED:,} more" if len(skipped) > _LISTED else ""
    return f"{len(skipped):,}: {shown}{more}"
