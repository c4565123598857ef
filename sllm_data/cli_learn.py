"""The commands that train a speech LLM and ask it; `cli` puts them on the line.

torch and transformers take seconds to import, so only the commands themselves do.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from sllm_data.audio.decode import DecodedClip, UndecodableAudioError, decode
from sllm_data.errors import ConfigError, CorpusError
from sllm_data.steps import Progress
from sllm_data.steps.stored import fetch

if TYPE_CHECKING:
    from sllm_data.trainer.report import TrainReport


def train(
    config: Annotated[Path, typer.Argument(help="train.yaml", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="name=value over the file; repeat it")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Trains a speech LLM on datasets, or goes on with a training that was stopped."""
    from sllm_data.trainer.config import load_train_config  # noqa: PLC0415 - as below
    from sllm_data.trainer.loop import train as train_model  # noqa: PLC0415 - takes seconds

    loaded = load_train_config(config, overrides or ())
    for place in loaded.places:
        fetch(place, _progress())
    report = train_model(loaded, _progress(), say=lambda text: typer.echo(text, err=True))
    if not _is_first():
        return
    if as_json:
        typer.echo(json.dumps({**asdict(report), "output": str(report.output)}))
    else:
        typer.echo(_as_text(report))


def infer(  # noqa: PLR0913 - options of a command
    model: Annotated[
        Path, typer.Argument(help="what `train` wrote: its output", show_default=False)
    ],
    *,
    instruction: Annotated[str, typer.Option(help="what to do with the speech")],
    audio: Annotated[
        list[Path] | None,
        typer.Option(help="a sound file; repeat it for more answers, leave it out for text alone"),
    ] = None,
    audio_first: Annotated[
        bool, typer.Option("--audio-first", help="speech before the instruction")
    ] = False,
    system: Annotated[str, typer.Option(help="a system turn in front")] = "",
    max_tokens: Annotated[int, typer.Option(min=1, help="of the answer")] = 256,
    device: Annotated[str, typer.Option(help="cpu or cuda; a GPU where there is one")] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="a JSON object a line, with audio and answer")
    ] = False,
) -> None:
    """Prints the answer to an instruction about a sound file, or about each of several."""
    paths: list[Path | None] = [*audio] if audio else [None]
    if audio and len(audio) > 1 and not as_json:
        raise ConfigError(
            f"--json must be given where there are several files, got {len(audio)}: an answer "
            "may have several lines"
        )
    missing = [path for path in audio or () if not path.is_file()]
    if missing:
        raise CorpusError(f"{missing[0]}: can't be read: there is no such file")
    from sllm_data.trainer.asking import Question, answers_to  # noqa: PLC0415 - takes seconds
    from sllm_data.trainer.data.conversation import ask  # noqa: PLC0415 - takes seconds

    def asked(path: Path | None) -> Question:
        clip = None if path is None else _clip_of(path)
        turns = ask(instruction, clip=clip, audio_first=audio_first, system=system)
        return Question(turns, () if clip is None else (clip,))

    answers = answers_to(model, map(asked, paths), max_tokens=max_tokens, device=device)
    for path, answer in zip(paths, answers, strict=True):
        named = {} if path is None else {"audio": str(path)}
        typer.echo(json.dumps(named | {"answer": answer}) if as_json else answer)


def export_model(
    model: Annotated[
        Path, typer.Argument(help="what `train` wrote: its output", show_default=False)
    ],
    folder: Annotated[Path, typer.Argument(help="a new folder", show_default=False)],
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option(help="of the weights")
    ] = "float32",
) -> None:
    """Writes a folder that transformers loads; with an `mlp` connector vLLM serves it, too."""
    from sllm_data.trainer.model.export import export_model as write  # noqa: PLC0415 - as below
    from sllm_data.trainer.trained import load_trained  # noqa: PLC0415 - takes seconds

    trained = load_trained(model)
    own = trained.config.llm.chat_template
    write(
        trained.model,
        folder,
        chat_template=own.read_text(encoding="utf-8") if own else None,
        stop_ids=trained.renderer.stop_ids,
        dtype=dtype,
    )
    typer.echo(f"model: {folder}")


def _clip_of(path: Path) -> DecodedClip:
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise CorpusError(f"{path}: can't be read: {error.strerror or error}") from error
    except UndecodableAudioError as error:
        raise CorpusError(
            f"{path}: must be a sound file that libsndfile reads: {error}"
        ) from error


def _as_text(report: "TrainReport") -> str:
    if report.was_done:
        return f"{report.steps:,} steps were done before\nmodel: {report.output}/model"
    mfu = "" if report.mfu is None else f"   MFU {report.mfu:.1%}"
    seen = "" if report.validation_loss is None else f", validation {report.validation_loss:.4f}"
    skipped = ", ".join(f"{reason} {skips.num:,}" for reason, skips in report.skipped.items())
    lines = [
        (
            f"{report.steps_now:,} of {report.steps:,} steps in {report.seconds:,.1f} s, "
            f"loss {report.loss:.4f}{seen}"
        ),
        (
            f"{report.trained_tokens_per_second:,.0f} trained tokens/s   "
            f"{report.tokens_per_second:,.0f} positions/s   "
            f"{report.audio_hours_per_hour:,.0f} hours of audio an hour{mfu}"
        ),
        (
            f"packs of {report.budget:,} positions, {report.useful_share:.1%} useful   "
            f"waited for packs {report.loader_wait_share:.1%}   "
            f"peak memory {report.peak_memory_gib:.2f} GiB"
        ),
        f"skipped rows: {skipped or 'none'}",
        f"model: {report.output}/model",
    ]
    return "\n".join(lines)


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(console if console.is_terminal and _is_first() else None)


def _is_first() -> bool:
    """Whether this is the one of several processes (`torchrun`) that tells."""
    return os.environ.get("RANK", "0") == "0"
