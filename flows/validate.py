"""Validation as a flow: the report is an artifact, and errors fail the run.

python -m flows.validate out/my-corpus --level 3
"""

import sys
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from flows.arguments import Arguments
from flows.places import not_fetched, place_of
from sllm_data.errors import RejectedError, SllmDataError
from sllm_data.validation.formats import FORMATS
from sllm_data.validation.opening import Options
from sllm_data.validation.runner import validate


@flow(name="validate-dataset", flow_run_name="{dataset} level {level}")
def validate_dataset(
    dataset: str | Path,
    level: Annotated[int, Field(ge=0, le=3)] = 1,
    against: list[str | Path] | None = None,
) -> State[Any]:  # Any: of the whole, or of a task that failed
    """Judges a dataset; findings of weight error fail the run.

    Args:
        dataset: Its folder or URL.
        level: How deep to look: 0 footers, 1 columns, 2 all bytes, 3 across parts.
        against: Benchmarks or datasets that the training rows must have nothing of (level 3).

    Returns:
        The dataset's folder, on this disk.
    """
    try:
        place, *others = map(place_of, (dataset, *(against or ())))
        if (failed := not_fetched([place, *others])) is not None:
            return failed
        report = validate(place, Options(level=level, against=tuple(others)))
    except SllmDataError as error:
        return Failed(message=str(error), data=error)
    create_markdown_artifact(
        FORMATS["markdown"](report), "validation", f"Validation of {dataset}, level {level}"
    )
    errors, warnings = report.number("error"), report.number("warning")
    said = f"{dataset}: level {level} finds {errors:,} errors and {warnings:,} warnings"
    if not report.passed:
        refused = RejectedError(f"{said}; the artifact validation lists them")
        return Failed(message=str(refused), data=refused)
    return Completed(message=said, data=place)


def main(arguments: list[str]) -> int:
    """Runs the flow from the command line."""
    parser = Arguments("validate", "Judges a dataset.")
    parser.add_argument("dataset", metavar="DATASET")
    parser.add_argument("--level", type=int, choices=range(4), default=1, help="how deep to look")
    try:
        given = parser.parse_args(arguments)
        validate_dataset(given.dataset, given.level)
    except SllmDataError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1 if isinstance(error, RejectedError) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
