"""`sllm-data train` on a GPU at the shapes of real models, with random weights.

    python benchmarks/bench_gpu_train.py                         # 7B and whisper-large, a GPU
    python benchmarks/bench_gpu_train.py --shape small           # in little, on a CPU
    python benchmarks/bench_gpu_train.py DATASET --llm-folder Qwen2.5-7B --encoder-folder whisper

Both models are made here with random weights, so nothing is downloaded; speed does not depend on
what they know. The LLM has the tokenizer of the small spoken world and the vocabulary of a real
one. Trained are LoRA of rank 16 on the LLM and a window Q-Former, the encoder is frozen and
encodes each clip anew. Without a dataset the small spoken world is spoken, whose clips of 2 to 16
seconds have short answers.

The figures are those of the trainer's own `metrics.jsonl`, over the second half of the steps: MFU
counts real tokens only (docs/training.md says how), against the dense peak of the GPU in bf16, or
of `--peak-tflops`. Targets on one H200: MFU 0.40, 300 audio hours an hour.
"""

import argparse
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from measuring import header, machine, row, spread
from spoken import spoken_dataset
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from sllm_data.steps import Progress
from sllm_data.testbed.assets import shipped
from sllm_data.trainer.config import resolve_train
from sllm_data.trainer.figures import METRICS
from sllm_data.trainer.loop import train

_TOKENIZER = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
_NO_TOKENS = dict.fromkeys(
    ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0
)
_FIGURES = {
    "mfu": 3,
    "audio_hours_per_hour": 0,
    "tokens_per_second": 0,
    "trained_tokens_per_second": 0,
    "useful_share": 3,
    "loader_wait_share": 4,
    "seconds": 3,
    "peak_memory_gib": 1,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """Sizes of both models, and of a pack."""

    llm: dict[str, int]
    encoder: dict[str, int]
    budget: int


_SHAPES = {
    "7b": Shape(
        llm={
            "vocab_size": 152_064,
            "hidden_size": 3_584,
            "intermediate_size": 18_944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
        },
        encoder={
            "num_mel_bins": 128,
            "d_model": 1_280,
            "encoder_layers": 32,
            "encoder_attention_heads": 20,
            "encoder_ffn_dim": 5_120,
        },
        budget=16_384,
    ),
    "small": Shape(
        llm={
            "vocab_size": 4_096,
            "hidden_size": 256,
            "intermediate_size": 768,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
        },
        encoder={
            "num_mel_bins": 128,
            "d_model": 128,
            "encoder_layers": 4,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 512,
        },
        budget=1_024,
    ),
}


def main() -> None:
    options = _options()
    shape = _SHAPES[options.shape]
    on_gpu = torch.cuda.is_available()
    dtype = torch.bfloat16 if on_gpu else torch.float32
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        folder = Path(scratch)
        torch.manual_seed(1)
        dataset = options.dataset or spoken_dataset(folder, hours=options.hours)
        llm = options.llm_folder or _random_llm(folder / "llm", shape, dtype)
        encoder = options.encoder_folder or _random_encoder(folder / "encoder", shape, dtype)
        report = train(
            resolve_train(
                {
                    "output": str(folder / "out"),
                    "seed": 1,
                    "precision": "bf16" if on_gpu else "fp32",
                    "data": {
                        "datasets": [{"path": str(dataset), "allow_other_template": True}],
                        "budget": options.budget or shape.budget,
                        "workers": options.workers,
                    },
                    "model": {
                        "encoder": {"model": str(encoder)},
                        "connector": {"kind": "window_qformer"},
                        "llm": {
                            "model": str(llm),
                            "mode": "lora",
                            "activation_checkpointing": options.activation_checkpointing,
                        },
                    },
                    "stages": [{"steps": options.steps}],
                    "checkpoints": {"every_steps": options.steps},
                    "logging": {"boards": [], "peak_tflops": options.peak_tflops},
                },
                where="bench_gpu_train",
            ),
            Progress(None),
        )
        steps = [json.loads(line) for line in (report.output / METRICS).read_text().splitlines()]
    device = torch.cuda.get_device_name() if on_gpu else "CPU"
    print(f"{options.shape}, {device}, packs of {report.budget:,} positions, second half\n")
    print(header("figure", "median (lowest to highest)"))
    for name, digits in _FIGURES.items():
        values = [step[name] for step in steps[len(steps) // 2 :] if step[name] is not None]
        print(row(name, spread(values, digits) if values else "not known"))
    total = sum(step["seconds"] for step in steps[len(steps) // 2 :])
    heard = sum(step["audio_seconds"] for step in steps[len(steps) // 2 :])
    print(f"\n{heard / 3_600:,.2f} h of audio in {total:,.1f} s, {heard / total:,.0f} h an hour")
    print(f"skipped rows: {sum(skips.num for skips in report.skipped.values())}")
    print(f"\n{machine('torch', 'transformers')}")


def _random_llm(folder: Path, shape: Shape, dtype: torch.dtype) -> Path:
    model = AutoModelForCausalLM.from_config(LlamaConfig(**shape.llm), dtype=dtype)
    model.save_pretrained(folder)
    for name in _TOKENIZER:
        shutil.copy(shipped("backbone") / name, folder / name)
    return folder


def _random_encoder(folder: Path, shape: Shape, dtype: torch.dtype) -> Path:
    config = WhisperConfig(**shape.encoder, decoder_layers=0, vocab_size=1, **_NO_TOKENS)
    WhisperModel(config).to(dtype).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=shape.encoder["num_mel_bins"]).save_pretrained(folder)
    return folder


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "dataset", type=Path, nargs="?", help="the small spoken world where absent"
    )
    default = "7b" if torch.cuda.is_available() else "small"
    parser.add_argument("--shape", choices=_SHAPES, default=default, help="of both models")
    parser.add_argument("--llm-folder", type=Path, help="a model of your own")
    parser.add_argument("--encoder-folder", type=Path, help="a Whisper of your own")
    parser.add_argument("--hours", type=float, default=0.5, help="of speech, where it is made")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--budget", type=int, help="positions of a pack; the shape's where absent")
    parser.add_argument("--workers", type=int, default=2, help="processes that make packs")
    parser.add_argument("--peak-tflops", type=float, help="of the machine, for MFU")
    parser.add_argument("--activation-checkpointing", action="store_true")
    parser.add_argument(
        "--scratch", type=Path, help="folder for 17 GB; the temporary one if absent"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
