"""Predictions become a folder: figures as JSON, pictures, and the page."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sllm_data.evaluation.forced import AS_IT_IS
from sllm_data.evaluation.page import Evaluated, page
from sllm_data.evaluation.plots import figure_plots
from sllm_data.evaluation.report import as_json
from sllm_data.evaluation.timed import latency_plot
from sllm_data.files import atomic_path, write_text


def write_evaluation(evaluated: Evaluated, output: Path, *, num_examples: int) -> list[Path]:
    """Writes `evaluation.json`, `<plot>.png` and `index.html`; files in the way are replaced.

    Args:
        evaluated: The figures and what they were made of.
        output: A folder; made where missing.
        num_examples: Answers to show of each task in each group.

    Returns:
        The files, the page last.

    Raises:
        ShardError: The dataset lacks the clip of an example.
        OutputError: The folder can't be written.
    """
    losses = evaluated.losses
    plots = figure_plots(evaluated.report, losses)
    document: dict[str, Any] = {  # Any: JSON document
        "facts": dict(evaluated.facts),
        "config": evaluated.config.model_dump(mode="json"),
        **as_json(evaluated.report),
    }
    if losses:
        document["diagnostics"] = {
            "rows": losses[AS_IT_IS].rows,
            "losses": {name: asdict(found) for name, found in losses.items()},
        }
    if evaluated.diagnostics is not None:
        plots |= evaluated.diagnostics.plots
        document["diagnostics"] |= evaluated.diagnostics.as_json()
    if evaluated.latency:
        plots["latency"] = latency_plot(evaluated.latency)
        document["latency"] = [asdict(each) for each in evaluated.latency]
    if evaluated.retention is not None:
        document["retention"] = asdict(evaluated.retention)
    shown = page(evaluated, plots=plots, num_examples=num_examples)
    files = [output / "evaluation.json"]
    write_text(files[0], json.dumps(document, indent=1, allow_nan=False) + "\n")
    for name, content in plots.items():
        files.append(output / f"{name}.png")
        with atomic_path(files[-1]) as temporary:
            temporary.write_bytes(content)
    files.append(output / "index.html")
    write_text(files[-1], shown)
    return files
