"""The commands of the small spoken world; `cli` puts them on the line."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from sllm_data.runners import RunnerConfig
from sllm_data.steps import Progress
from sllm_data.steps.speak import speak_world
from sllm_data.testbed.spoken_world import WorldCorpus
from sllm_data.testbed.voices import WORLD_VOICES

app = typer.Typer(help="The small spoken world: speech without a download.", no_args_is_help=True)


@app.command()
def speak(  # noqa: PLR0913 - options of a command
    output: Annotated[
        Path, typer.Argument(help="folder of the corpus, empty or begun", show_default=False)
    ],
    *,
    hours: Annotated[float, typer.Option(help="of all subsets together")] = 1.0,
    layout: Annotated[
        Literal["librispeech", "common-voice", "dialogues"], typer.Option(help="of the corpus")
    ] = "librispeech",
    seed: Annotated[int, typer.Option(help="of texts, voices and pauses")] = 1,
    num_voices: Annotated[
        int, typer.Option(help="who speaks; the held-out voices come on top")
    ] = len(WORLD_VOICES),
    overlap: Annotated[
        float, typer.Option(help="share of turns that begin before the other ends; in dialogues")
    ] = 0.0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="processes; all cores where absent")
    ] = None,
) -> None:
    """Writes a corpus of stories or dialogues with exact word times."""
    corpus = WorldCorpus(
        hours=hours, layout=layout, seed=seed, num_voices=num_voices, overlap=overlap
    )
    amounts = speak_world(output, corpus, RunnerConfig(workers=workers or "auto"), _progress())
    for subset, amount in amounts.items():
        hours = amount.duration_s / 3600
        typer.echo(f"{subset:<20} {amount.num_utterances:>9,} utterances {hours:>9.3f} h")
    typer.echo(f"corpus: {output}")


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(console if console.is_terminal else None)
