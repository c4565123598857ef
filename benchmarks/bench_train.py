"""Packed training against a plain Hugging Face `Trainer` with padded batches.

    python benchmarks/bench_train.py                    # on the small spoken world
    python benchmarks/bench_train.py DATASET --rows 200

The same rows, weights, optimizer (LoRA of rank 8 and the connector) and losses in one run, on one
core, in three ways:

- packed: packs of `--budget` positions, the encoder at true length, logits at labels only;
- padded, 30 s: transformers' own `Trainer`; batches of `--batch` rows in random order, text
  padded to the longest of the batch, clips to 30 s as transformers' Whisper asks for;
- padded, true length: the same `Trainer`, but the encoder as in packed: what padding the text
  alone costs.

Says how much of the packs' budget is filled, and how many of the frames that the encoder computes
on are a clip's own and no gap between two.

Rows are decoded and their features computed before the clocks start, so this compares steps.
The ways take turns. Prints trained tokens per second by the clock and by CPU time; the latter is
what counts where a machine has other work. The target is twice as many as padded, 30 s.
"""

import argparse
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from measuring import Timing, alternate, header, machine, ratios, row, spread, timed
from spoken import spoken_dataset
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import Trainer, TrainingArguments

from sllm_data.chat import ChatRenderer
from sllm_data.testbed.assets import shipped
from sllm_data.trainer.batch import PackedBatch
from sllm_data.trainer.config import TrainConfig, resolve_train
from sllm_data.trainer.data.loader import open_packs
from sllm_data.trainer.distributed import Ranks
from sllm_data.trainer.halving import halves_of
from sllm_data.trainer.model.speech_lm import SpeechLM, load_speech_lm
from sllm_data.trainer.optim import make_optimizer
from sllm_data.trainer.step import Stepper

_IGNORED = -100  # a label without a loss, by transformers' custom
_FRAMES = 3000
_HOURS = 0.3  # of speech, where none is given
_RATES = {"connector": 1e-3, "llm": 1e-3, "encoder": 0.0}


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        options.dataset = options.dataset or spoken_dataset(Path(folder), hours=_HOURS)
        config = _config(options, Path(folder))
        packs = _packs(config, options.rows)
        rows = [part for pack in packs for part in _one_by_one(pack)]
        labels = sum(len(pack.text.labels) for pack in packs)
        print(f"{len(rows)} rows, {labels} trained tokens, {len(packs)} packs")
        print(f"positions of packs that hold something: {_filled(packs, options.budget):.1%}")
        print(f"encoder's frames that are a clip's own: {_heard(packs):.1%}\n")
        ways = {"packed": lambda: _packed(config, packs)}
        for name, at_true_length in (("padded, 30 s", False), ("padded, true length", True)):
            ways[name] = lambda at_true_length=at_true_length: _padded(
                config, rows, batch=options.batch, at_true_length=at_true_length, folder=folder
            )
        timings = alternate(ways, repeats=options.repeats)
    print(header("way", "trained tokens/s", "per CPU second", "packed is faster", "by CPU time"))
    ours = timings["packed"]
    for name, rounds in timings.items():
        walls, cpus = ([getattr(each, of) for each in rounds] for of in ("wall_s", "cpu_s"))
        print(
            row(
                name,
                spread([labels / seconds for seconds in walls], 0),
                spread([labels / seconds for seconds in cpus], 0),
                spread(ratios(walls, [each.wall_s for each in ours])),
                spread(ratios(cpus, [each.cpu_s for each in ours])),
            )
        )
    print(f"\n{machine('torch', 'transformers')}")


def _packed(config: TrainConfig, packs: Sequence[PackedBatch]) -> Timing:
    model = _model(config)
    parameters = model.trainable_parameters()
    optimizer = make_optimizer(parameters, config.optimizer, fused=False)
    stepper = Stepper(
        model=model,
        parameters=parameters,
        losses=config.losses,
        ranks=Ranks(),
        failures=config.output,
    )

    def train(chosen: Sequence[PackedBatch]) -> None:
        for number, pack in enumerate(chosen):
            stepper.gradients([pack], step=number)
            stepper.update(optimizer, _RATES, [pack], max_norm=1.0, step=number)

    train(packs[:1])  # what is made once is made
    return timed(lambda: train(packs))


class Padded(nn.Module):
    """The same model over padded batches, as transformers' `Trainer` calls it."""

    def __init__(self, model: SpeechLM, *, at_true_length: bool) -> None:
        super().__init__()
        self.model = model
        self.at_true_length = at_true_length

    def forward(self, labels: Tensor, **batch: Any) -> dict[str, Tensor]:
        """Returns transformers' own loss of a batch: a mean over its labels."""
        frames = [len(clip) for clip in batch["clips"]]
        if self.at_true_length:
            heard = self.model.hear(torch.cat(batch["clips"]), frames)
        else:
            features = torch.zeros(len(frames), batch["clips"][0].shape[1], _FRAMES)
            for number, clip in enumerate(batch["clips"]):
                features[number, :, : len(clip)] = clip.T
            with torch.no_grad():
                states = self.model.encoder.whisper(features).last_hidden_state
            lengths = [self.model.geometry.num_encoded(count) for count in frames]
            cut = [one[:length] for one, length in zip(states, lengths, strict=True)]
            heard = self.model.connector(torch.cat(cut)[None], lengths)
        embeds = self.model.llm.get_input_embeddings()(batch["token_ids"])
        embeds = embeds.masked_scatter(batch["is_audio"][..., None], heard)
        found = self.model.llm(
            inputs_embeds=embeds, attention_mask=batch["attention_mask"], labels=labels
        )
        return {"loss": found.loss}


def _padded(
    config: TrainConfig,
    rows: list[PackedBatch],
    *,
    batch: int,
    at_true_length: bool,
    folder: str,
) -> Timing:
    model = Padded(_model(config), at_true_length=at_true_length)
    arguments = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=batch,
        num_train_epochs=1,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        remove_unused_columns=False,
        disable_tqdm=True,
        seed=1,
    )

    def train(chosen: list[PackedBatch]) -> None:
        Trainer(model=model, args=arguments, train_dataset=chosen, data_collator=_collated).train()

    train(rows[:batch])
    return timed(lambda: train(rows))


def _collated(rows: Sequence[PackedBatch]) -> dict[str, Any]:
    ids, audio, labels, clips = [], [], [], []
    for part in rows:
        size = len(part.text.token_ids)
        ids.append(part.text.token_ids)
        audio.append(torch.zeros(size, dtype=torch.bool).index_fill(0, part.audio_positions, 1))
        # transformers shifts labels itself: one stands where its token does
        wanted = torch.full((size + 1,), _IGNORED)
        wanted[part.text.label_positions + 1] = part.text.labels
        labels.append(wanted[:size])
        clips += part.features.split(part.clip_frames.tolist())
    lengths = torch.tensor([len(each) for each in ids])
    return {
        "token_ids": pad_sequence(ids, batch_first=True),
        "is_audio": pad_sequence(audio, batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=_IGNORED),
        "attention_mask": (torch.arange(int(lengths.max())) < lengths[:, None]).long(),
        "clips": clips,
    }


def _one_by_one(pack: PackedBatch) -> list[PackedBatch]:
    halves = halves_of(pack)
    return [pack] if halves is None else [row for half in halves for row in _one_by_one(half)]


def _model(config: TrainConfig) -> SpeechLM:
    return load_speech_lm(config.model, seed=1, dtype=torch.float32, device="cpu")


def _packs(config: TrainConfig, num_rows: int) -> list[PackedBatch]:
    renderer = ChatRenderer.load(config.model.llm.model)
    found: list[PackedBatch] = []
    opened = open_packs(
        config.data, renderer=renderer, geometry=_model(config).geometry, seed=config.seed
    )
    with opened as stream:
        for pack in islice(stream, num_rows):
            found.append(pack)
            if sum(len(each.sample_ids) for each in found) >= num_rows:
                break
    return found


def _config(options: argparse.Namespace, folder: Path) -> TrainConfig:
    return resolve_train(
        {
            "output": str(folder / "out"),
            "seed": 1,
            "device": "cpu",
            "data": {
                "datasets": [{"path": str(options.dataset)}],
                "budget": options.budget,
                "workers": 0,
            },
            "model": {
                "encoder": {"model": str(shipped("encoder"))},
                "connector": {"window_seconds": 0.34, "hidden_size": 128, "heads": 4},
                "llm": {"model": str(shipped("backbone")), "lora": {"rank": 8, "alpha": 16}},
            },
            "stages": [{"steps": 1}],
        },
        where="bench_train",
    )


def _filled(packs: Sequence[PackedBatch], budget: int) -> float:
    full = packs[:-1] or packs  # the last one holds what was left
    return sum(len(pack.text.token_ids) for pack in full) / (budget * len(full))


def _heard(packs: Sequence[PackedBatch]) -> float:
    frames = [number for pack in packs for number in pack.clip_frames.tolist()]
    return sum(frames) / sum(number + 2 - number % 2 for number in frames)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, nargs="?", help="the small spoken world if absent")
    parser.add_argument("--rows", type=int, default=200, help="that are trained on, at least")
    parser.add_argument("--budget", type=int, default=1024, help="positions of a pack")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of all three ways")
    parser.add_argument("--batch", type=int, default=16, help="rows of a padded batch")
    return parser.parse_args()


if __name__ == "__main__":
    main()
