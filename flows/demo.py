"""`make demo`: the whole pipeline on a small spoken corpus that it makes itself.

    python -m flows.demo [FOLDER]

1. Speech: espeak-ng reads sentences of a small grammar with several voices; half becomes a
   corpus in LibriSpeech's layout (FLAC), half one in Common Voice's (MP3).
2. Backbone: a tiny Llama with random weights. Its answers are noise; the point is that
   everything around them is real.
3. The Prefect flow `build-corpus` with the real vLLM engine.
4. The figures of the dataset, one sample, and where everything lies.
"""

import json
import sys
import time
from pathlib import Path

import yaml

from flows.build_corpus import build_corpus
from sllm_data.errors import RejectedError, SllmDataError
from sllm_data.reporting import as_text, collect_stats, first_samples
from sllm_data.testbed import write_common_voice, write_librispeech, write_random_backbone

_FOLDER = Path("out/demo")


def main(arguments: list[str]) -> int:
    """Builds the demo under a folder and shows what came of it."""
    folder = Path(arguments[0]) if arguments else _FOLDER
    start = time.monotonic()
    _say("1. a spoken corpus, synthesised by espeak-ng")
    seconds = _speak(folder)
    _say(f"   {seconds:,.0f} s of speech in {folder}/LibriSpeech and {folder}/{_COMMON_VOICE}")
    _say("2. a backbone with random weights: its answers will be noise, all else is real")
    model = folder / "backbone"
    if not (model / "config.json").exists():
        write_random_backbone(model)
    config = folder / "run.yaml"
    config.write_text(yaml.safe_dump(_config(folder), sort_keys=False), encoding="utf-8")
    _say(f"3. the Prefect flow build-corpus on {config}, with real vLLM")
    try:
        dataset = build_corpus(config)
    except SllmDataError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1 if isinstance(error, RejectedError) else 2
    _say(f"4. the dataset {dataset}, after {time.monotonic() - start:,.0f} s\n")
    _say(as_text(collect_stats(dataset)))
    for sample in first_samples(dataset, 1):
        _say(f"\none sample:\n{json.dumps(sample, indent=2, ensure_ascii=False)}")
    _say(f"\nrun it again and every step says that it is done: make demo\n{_where(folder)}")
    return 0


_COMMON_VOICE = "cv-corpus-demo"


def _speak(folder: Path) -> float:
    spoken = write_librispeech(
        folder / "LibriSpeech",
        subsets={"train-clean-demo": 50, "dev-clean-demo": 8, "test-clean-demo": 8},
        seed=1,
    )
    return spoken + write_common_voice(
        folder / _COMMON_VOICE, locales={"en": 40, "de": 24}, flaws=True, seed=1
    )


def _config(folder: Path) -> dict[str, object]:
    return {
        "seed": 1,
        "output": str(folder / "dataset"),
        "part_size": 40,
        "corpora": [
            {"kind": "librispeech", "path": str(folder / "LibriSpeech")},
            {
                "kind": "common_voice",
                "path": str(folder / _COMMON_VOICE),
                "version": "demo",
            },
        ],
        "recipe": "self_powered",
        "backbone": {
            "engine": "vllm",
            "model": str(folder / "backbone"),
            "temperature": 0.8,
            "max_model_len": 1024,
            "max_num_seqs": 64,
            "enforce_eager": True,
        },
        "tasks": {
            name: {"max_tokens": 48}
            for name in ("repetition", "intent", "sentiment", "keywords", "continuation")
        }
        | {"translation": {"max_tokens": 48, "to": ["de", "en", "fr"]}},
        # noise would be filtered away: the demo keeps it, so that there is something to see
        "filters": {"repetition": False, "wrong_language": False, "truncated": "mark"},
        "max_rejected_fraction": 1.0,
    }


def _where(folder: Path) -> str:
    return "\n".join(
        (
            f"corpora     {folder}/LibriSpeech, {folder}/{_COMMON_VOICE}",
            f"backbone    {folder}/backbone",
            f"run.yaml    {folder}/run.yaml",
            f"dataset     {folder}/dataset (start with its README.md)",
        )
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
