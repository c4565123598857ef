"""`make demo`: the whole pipeline on a small spoken world that it makes itself.

    python -m flows.demo [FOLDER]

1. Speech: espeak-ng tells stories of the spoken world with a dozen voices; half becomes a
   corpus in LibriSpeech's layout (FLAC), half one in Common Voice's (MP3).
2. Backbone: the small Llama that ships with the package. It follows the world's
   instructions, so what it answers can be judged.
3. The Prefect flow `build-corpus` with the recipe `testbed` and the real vLLM engine.
4. Five answers beside their transcripts, and the figures of the dataset.
5. A short training on it, and an evaluation of what came of it.
"""

import json
import sys
import time
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.arguments import Arguments
from flows.build_corpus import build_corpus
from flows.demo_training import train_and_evaluate
from sllm_data.errors import RejectedError, SllmDataError
from sllm_data.reporting import as_text, collect_stats, first_samples
from sllm_data.runners import RunnerConfig
from sllm_data.steps import Progress
from sllm_data.steps.speak import speak_world
from sllm_data.testbed.assets import shipped
from sllm_data.testbed.spoken_world import WorldCorpus, WorldLayout

_FOLDER = Path("out/demo")
_LIBRISPEECH, _COMMON_VOICE = "LibriSpeech", "cv-corpus-demo"
_LAYOUTS: dict[str, WorldLayout] = {
    _LIBRISPEECH: "librispeech",
    _COMMON_VOICE: "common-voice",
}
_CREDIT = {"licence": "CC0-1.0", "attribution": "synthetic speech by espeak-ng"}
_HOURS = 0.1
_SHOWN = ("keywords", "politeness", "sentiment", "summary", "translation")


def main(arguments: list[str]) -> int:
    """Builds the demo under a folder and shows what came of it."""
    parser = Arguments("demo", "Builds a small dataset, trains on it and evaluates that.")
    parser.add_argument("folder", metavar="FOLDER", type=Path, nargs="?", default=_FOLDER)
    start = time.monotonic()
    try:
        folder: Path = parser.parse_args(arguments).folder
        _say("1. two spoken corpora, synthesised by espeak-ng")
        for name, seconds in _speak(folder).items():
            _say(f"   {seconds:,.0f} s of speech in {folder}/{name}")
        model = shipped("backbone")
        _say(f"2. a backbone that knows this world: {model}")
        config = folder / "run.yaml"
        config.write_text(yaml.safe_dump(_config(folder, model), sort_keys=False), "utf-8")
        _say(f"3. the Prefect flow build-corpus on {config}, with real vLLM")
        dataset = build_corpus(config)
    except SllmDataError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1 if isinstance(error, RejectedError) else 2
    _say(f"4. the dataset {dataset}, after {time.monotonic() - start:,.0f} s\n")
    _show_answers(dataset)
    _say(as_text(collect_stats(dataset)))
    for sample in first_samples(dataset, 1):
        _say(f"\none sample:\n{json.dumps(sample, indent=2, ensure_ascii=False)}")
    try:
        _say("\n5. a short training of a connector and LoRA, and what came of it\n")
        page = train_and_evaluate(dataset, folder)
    except SllmDataError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    _say(f"\nrun it again and every step says that it is done: make demo\n{_where(folder)}")
    _say(f"evaluation  {page}")
    return 0


def _speak(folder: Path) -> dict[str, float]:
    spoken: dict[str, float] = {}
    for seed, (name, layout) in enumerate(_LAYOUTS.items(), start=1):
        corpus = WorldCorpus(hours=_HOURS, layout=layout, seed=seed)
        amounts = speak_world(folder / name, corpus, RunnerConfig(), Progress(None))
        spoken[name] = sum(amount.duration_s for amount in amounts.values())
    return spoken


def _config(folder: Path, model: Path) -> dict[str, object]:
    return {
        "seed": 1,
        "output": str(folder / "dataset"),
        "part_size": 40,
        "corpora": [
            {"kind": kind, "path": str(folder / name), "version": "demo", **_CREDIT}
            for kind, name in (("librispeech", _LIBRISPEECH), ("common_voice", _COMMON_VOICE))
        ],
        "recipe": "testbed",
        "backbone": {
            "engine": "vllm",
            "model": str(model),
            "max_model_len": 512,
            "max_num_seqs": 64,
            "enforce_eager": True,
            "dtype": "float32",  # on a processor without instructions for bfloat16 far faster
        },
    }


def _show_answers(dataset: Path) -> None:
    table = Table("what is said", "instruction", "answer", title="five answers", show_lines=True)
    by_task = {sample["task"]: sample for sample in reversed(first_samples(dataset, 200))}
    for sample in (by_task[task] for task in _SHOWN if task in by_task):
        said = sample["transcript"].lower()
        (asked,) = [m["content"] for m in sample["text_messages"] if m["role"] == "user"]
        table.add_row(*map(Text, (said, asked.replace(said, "").strip(), sample["response"])))
    Console(file=sys.stdout, width=100).print(table)


def _where(folder: Path) -> str:
    return "\n".join(
        (
            f"corpora     {folder}/{_LIBRISPEECH}, {folder}/{_COMMON_VOICE}",
            f"run.yaml    {folder}/run.yaml",
            f"dataset     {folder}/dataset (start with its README.md)",
            f"train.yaml  {folder}/train.yaml",
            f"model       {folder}/model",
        )
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
