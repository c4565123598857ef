"""The command that publishes a dataset; `cli` puts it on the line."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sllm_data.cli_places import dataset_place
from sllm_data.steps import Progress

if TYPE_CHECKING:
    from sllm_data.publishing import Published


def publish(  # noqa: PLR0913 - options of a command
    dataset: Annotated[
        Path,
        typer.Argument(
            parser=dataset_place, metavar="DATASET", help="a dataset", show_default=False
        ),
    ],
    target: Annotated[
        str,
        typer.Argument(
            help="hf://datasets/OWNER/NAME, s3://BUCKET/FOLDER, gs://..., or a folder",
            show_default=False,
        ),
    ],
    *,
    private: Annotated[
        bool, typer.Option("--private/--public", help="of a repository of the hub")
    ] = True,
    revision: Annotated[str, typer.Option(help="branch of a repository of the hub")] = "main",
    message: Annotated[
        str, typer.Option(help="of the commits on the hub", show_default=False)
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="public also where a licence may forbid it")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="processes that validate; all cores where absent")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Validates a dataset and sends it to the hub, a storage or a folder; resumes."""
    # the libraries of storages and of the hub take most of a second
    from sllm_data.publishing import Options  # noqa: PLC0415
    from sllm_data.publishing import publish as publish_dataset  # noqa: PLC0415

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    options = Options(private=private, revision=revision, message=message, is_sure=yes, jobs=jobs)
    published = publish_dataset(
        dataset,
        target,
        options,
        progress=Progress(console if console.is_terminal else None),
        say=lambda text: console.print(text, markup=False),
    )
    typer.echo(json.dumps(published.as_json()) if as_json else _as_text(published))


def _as_text(published: "Published") -> str:
    whole = published.sent_bytes + published.kept_bytes
    sizes = f"{published.sent_bytes / 1e9:,.3f} of {whole / 1e9:,.3f} GB"
    counts = f"{published.kept:,} there before, {published.removed:,} removed"
    lines = [f"files: {published.sent:,} sent ({sizes}), {counts}"]
    lines += [
        f"left out, {reason}: {names[0]}" + (f" and {len(names) - 1:,} more" if names[1:] else "")
        for reason, names in published.left_out.items()
    ]
    return "\n".join((*lines, f"published: {published.target}"))
