"""The commands of the small spoken world; `cli` puts them on the line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from sllm_data.runners import RunnerConfig
from sllm_data.steps import Progress
from sllm_data.steps.speak import speak_world
from sllm_data.steps.testbed import Training, build_models, examine_models
from sllm_data.testbed.assets import KINDS, SHIPPED, Asset, read_asset
from sllm_data.testbed.backbone_training import BackboneTraining
from sllm_data.testbed.encoder_training import EncoderTraining
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
    sentences: Annotated[
        int | None, typer.Option(help="in each text, 1 to 4; mixed where absent")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="processes; all cores where absent")
    ] = None,
) -> None:
    """Writes a corpus of stories or dialogues with exact word times."""
    corpus = WorldCorpus(
        hours=hours,
        layout=layout,
        seed=seed,
        num_voices=num_voices,
        overlap=overlap,
        num_events=sentences,
    )
    amounts = speak_world(output, corpus, RunnerConfig(workers=workers or "auto"), _progress())
    for subset, amount in amounts.items():
        hours = amount.duration_s / 3600
        typer.echo(f"{subset:<20} {amount.num_utterances:>9,} utterances {hours:>9.3f} h")
    typer.echo(f"corpus: {output}")


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(console if console.is_terminal else None)


@app.command()
def build(
    output: Annotated[Path, typer.Argument(help="folder of the models", show_default=False)],
    *,
    seed: Annotated[int, typer.Option(help="of weights, lessons and speech")] = 1,
    minutes: Annotated[float, typer.Option(min=0, help="what each model may take")] = 60.0,
    model: Annotated[
        Literal["backbone", "encoder", "both"], typer.Option(help="which to train")
    ] = "both",
) -> None:
    """Trains the models of the world from nothing, both at once; one that is there is kept."""
    trainings: dict[str, Training] = {
        "backbone": BackboneTraining(seed=seed),
        "encoder": EncoderTraining(seed=seed),
    }
    chosen = list(trainings.values()) if model == "both" else [trainings[model]]
    for asset in build_models(output, chosen, minutes=minutes, progress=_progress()):
        _say(asset)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="what `testbed build` wrote")] = SHIPPED,
) -> None:
    """Checks the files of the models, and says where they are and what they can do."""
    for kind in [kind for kind in KINDS if (folder / kind).is_dir()] or KINDS:
        _say(read_asset(folder, kind))


@app.command()
def examine(
    folder: Annotated[Path, typer.Argument(help="what `testbed build` wrote")] = SHIPPED,
    *,
    per_task: Annotated[int, typer.Option(min=1, help="questions of each task")] = 50,
    num_texts: Annotated[int, typer.Option(min=1, help="stories for the encoder")] = 100,
) -> None:
    """Asks the models again, about texts that they never met."""
    for name, share in examine_models(folder, per_task=per_task, num_texts=num_texts).items():
        typer.echo(f"{name:<32} {share:>8.2%}")


def _say(asset: Asset) -> None:
    typer.echo(f"{asset.folder}")
    for name, value in {**asset.figures, **asset.made_with}.items():
        for inner, figure in value.items() if isinstance(value, Mapping) else [("", value)]:
            typer.echo(f"  {f'{name} {inner}'.strip():<32} {figure}")
