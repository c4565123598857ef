"""Several processes that train one model do what one does."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from loop_processes import rank_steps, refused_rank, run_rank, step_of

from sllm_data.chat import ChatRenderer
from sllm_data.files import output_lock
from sllm_data.shards import TABLES, write_part
from sllm_data.steps import Progress
from sllm_data.trainer.batch import PackedBatch
from sllm_data.trainer.config import resolve_train
from sllm_data.trainer.data.config import DatasetEntry
from sllm_data.trainer.data.loader import open_packs
from sllm_data.trainer.distributed import Ranks
from sllm_data.trainer.halving import halves_of
from sllm_data.trainer.loop import train
from sllm_data.trainer.model.speech_lm import load_speech_lm
from sllm_data.trainer.step import cut_in_halves
from tests.ports import free_port


def _on_two(processes, target, *arguments) -> None:
    port = free_port()
    ranks = [processes.Process(target=target, args=(rank, port, *arguments)) for rank in (0, 1)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert [rank.exitcode for rank in ranks] == [0, 0]


def _packs(config):
    renderer = ChatRenderer.load(config.model.llm.model)
    model = load_speech_lm(config.model, seed=1, dtype=torch.float32, device="cpu")
    opened = open_packs(
        config.data, renderer=renderer, geometry=model.geometry, seed=3, twins=True
    )
    with opened as stream:
        first, second = next(stream), next(stream)
    return [first, halves_of(second)[0]]


_TWIN = {"response_kl": {"weight": 0.5}, "hidden_alignment": {"weight": 0.5}}
CASES = {
    "all of the LLM, LoRA of the encoder": {"llm": {"mode": "full"}, "encoder": {"mode": "lora"}},
    "LoRA": {"llm": {"mode": "lora"}},
    "LoRA, layers computed twice": {"llm": {"mode": "lora", "activation_checkpointing": True}},
    "LoRA with KL and alignment": {"llm": {"mode": "lora"}, "losses": _TWIN},
    "all of the LLM with KL to a copy": {
        "llm": {"mode": "full", "keep_original": True},
        "losses": _TWIN,
    },
    "LoRA, one rank in two halves": {"llm": {"mode": "lora"}, "is_cut": True},
    "16 bits": {"llm": {"mode": "lora"}, "losses": _TWIN, "precision": "bf16"},
}


@pytest.fixture(scope="module")
def steps(processes, document, tmp_path_factory):
    """What two ranks find in each case, and what one does."""
    folder = tmp_path_factory.mktemp("ranks")
    packs, cases = None, []
    for case in CASES.values():
        sections = document(folder, losses=case.get("losses", {}))
        sections["precision"] = case.get("precision", "fp32")
        for part in ("llm", "encoder"):
            sections["model"][part] |= case.get(part, {})
        if sections["model"]["encoder"].get("mode") == "lora":
            sections["stages"][1]["learning_rates"]["encoder"] = 0.001
        sections["model"]["llm"]["lora"] = {"rank": 2}
        sections["data"]["budget"] = 192
        config = resolve_train(sections, where="test")
        packs = packs or _packs(config)
        first = cut_in_halves(packs[:1]) if "is_cut" in case else packs[:1]
        cases.append((config, [first, packs[1:]]))
        assert len(first) == 1 + ("is_cut" in case)
    assert len(packs[0].text.labels) != len(packs[1].text.labels)
    _on_two(processes, rank_steps, cases, folder / "steps.pt")
    found = torch.load(folder / "steps.pt")
    alone = [step_of(config, [*first, *second], Ranks()) for config, (first, second) in cases]
    return dict(zip(CASES, zip(found, alone, strict=True), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_with_unequal_packs_have_the_losses_and_gradients_of_one(steps, case):
    found, alone = steps[case]

    assert found.keys() == alone.keys()
    losses = {name.removeprefix("loss ") for name in alone if name.startswith("loss ")}
    assert losses == {"cross_entropy", *CASES[case].get("losses", ())}
    assert all(alone[f"loss {name}"] > 0 for name in losses)
    assert any(v.abs().max() > 1e-3 for name, v in alone.items() if name.startswith("llm."))
    for name, value in alone.items():
        # in 16 bits gradients are rounded on their way
        atol = 1e-4 + 0.02 * float(value.abs().max()) if case == "16 bits" else 1e-6
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=atol, msg=name)


def _of_steps(output: Path, name: str) -> list[float]:
    return [json.loads(line)[name] for line in (output / "metrics.jsonl").read_text().splitlines()]


def test_two_ranks_train_as_one_with_twice_the_packs_and_go_on_to_the_bit(
    processes, document, configured, tmp_path
):
    sections = {
        "model": document(tmp_path)["model"],
        "stages": [{"steps": 3, "learning_rates": {"connector": 0.002, "llm": 0.0005}}],
        "checkpoints": {"every_steps": 1, "keep": 3},
    }
    sections["model"]["llm"] = {"model": sections["model"]["llm"]["model"], "mode": "full"}
    one, two = tmp_path / "one", tmp_path / "two"

    _on_two(processes, run_rank, document(two, **sections))
    train(configured(one, accumulation=2, **sections), Progress(None))

    for name in ("loss", "grad_norm"):
        assert _of_steps(two, name) == pytest.approx(_of_steps(one, name), rel=1e-3)
    for name in ("labels", "positions", "audio_seconds"):
        assert _of_steps(two, name) == pytest.approx(_of_steps(one, name))

    weights = (two / "model/weights.safetensors").read_bytes()
    losses = _of_steps(two, "loss")
    (two / "report.json").unlink()
    for name in ("step-00000002", "step-00000003"):
        (two / "checkpoints" / name / "rank-00001.pt").write_bytes(b"")
    _on_two(processes, run_rank, document(two, **sections))

    assert _of_steps(two, "loss") == losses
    assert (two / "model/weights.safetensors").read_bytes() == weights


def _second_rank_packs(config, folder: Path, split: str) -> list[PackedBatch]:
    """What the second of two ranks gets of the rows of a task, once."""
    renderer = ChatRenderer.load(config.model.llm.model)
    model = load_speech_lm(config.model, seed=1, dtype=torch.float32, device="cpu")
    entry = DatasetEntry(path=folder, split=split, tasks=("where",))
    opened = open_packs(
        config.data.model_copy(update={"datasets": (entry,)}),
        renderer=renderer,
        geometry=model.geometry,
        seed=config.seed,
        rank=1,
        world_size=2,
        epochs=1,
    )
    with opened as stream:
        return list(stream)


def _damaged(world: Path, folder: Path, packs: Sequence[PackedBatch]) -> Path:
    """The training rows of a dataset as a test split, but no clip of these packs is sound."""
    lost = {sample_id for pack in packs for sample_id in pack.sample_ids}
    clips = set()
    for path in (world / "samples").iterdir():
        rows = pq.read_table(path).to_pylist()
        for row in rows:
            row["split"] = "test" if row["split"] == "train" else "validation"
            if row["sample_id"] in lost:
                clips |= {ref["audio_id"] for ref in row["audio_refs"]}
        write_part(folder, f"samples/{path.name}", rows, table=TABLES["samples"], identity="i")
    for path in (world / "audio").iterdir():
        rows = pq.read_table(path).to_pylist()
        for row in rows:
            if row["audio_id"] in clips:
                row["audio"]["bytes"] = b"no sound"
        write_part(folder, f"audio/{path.name}", rows, table=TABLES["audio"], identity="i")
    return folder


def _validated(folder: Path) -> dict[str, Any]:
    """Sections of a training of one step that looks at all rows of the task."""
    datasets = [{"path": str(folder), "tasks": ["where"]}]
    return {
        "stages": [{"steps": 1, "learning_rates": {"connector": 0.002, "llm": 0.0005}}],
        "validation": {"every_steps": 1, "split": "test", "packs": 100, "datasets": datasets},
    }


def test_ranks_of_which_one_can_not_hear_a_pack_find_the_validation_loss_of_one(
    processes, document, configured, tmp_path, world
):
    config = configured(tmp_path / "none")
    whole = _second_rank_packs(config, world, "train")
    damaged = _damaged(world, tmp_path / "damaged", whole[:1])
    assert 0 < len(_second_rank_packs(config, damaged, "test")) < len(whole)
    sections, one, two = _validated(damaged), tmp_path / "one", tmp_path / "two"

    _on_two(processes, run_rank, document(two, **sections))
    train(configured(one, accumulation=2, **sections), Progress(None))

    (found,), (alone,) = (_of_steps(each, "validation_loss") for each in (two, one))
    assert found == pytest.approx(alone, rel=1e-3)


def test_ranks_of_which_one_hears_nothing_of_the_validation_all_end(
    processes, document, configured, tmp_path, world
):
    whole = _second_rank_packs(configured(tmp_path / "none"), world, "train")
    damaged = _damaged(world, tmp_path / "damaged", whole)

    sections = document(tmp_path / "out", **_validated(damaged))

    _on_two(processes, refused_rank, sections, tmp_path)

    told = "validation: no row of the split test can be trained on by process 1 of 2: undecodable"
    assert all((tmp_path / f"{rank}.txt").read_text().startswith(told) for rank in (0, 1))


def _by_torchrun(
    script: str, document: dict[str, Any], *options: str, argument: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs a script of this folder as two ranks, until torchrun ends."""
    path = Path(__file__).parents[1] / script
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", *options, str(path), json.dumps(document), argument),
        ],
        # else ranks that are started again find where those before them could be met
        env={**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_ranks_of_which_one_finds_no_memory_go_on_in_halves_when_torchrun_starts_them_again(
    document, configured, tmp_path
):
    sections = {
        "model": document(tmp_path)["model"],
        "stages": [{"steps": 3, "learning_rates": {"connector": 0.002, "llm": 0.0005}}],
        "checkpoints": {"every_steps": 1, "keep": 3},
    }
    sections["model"]["llm"]["lora"] = {"rank": 2, "dropout": 0.0}
    one, two = tmp_path / "one", tmp_path / "two"

    ended = _by_torchrun("short_of_memory.py", document(two, **sections), "--max-restarts", "1")

    assert ended.returncode == 0, ended.stderr
    assert "step 2: packs of 96 positions must fit into the GPU's memory" in ended.stderr
    assert "was too small for whole packs; each is computed in two halves" in ended.stderr
    assert (two / "halved").exists()
    train(configured(one, accumulation=2, **sections), Progress(None))
    for name in ("loss", "grad_norm"):
        assert _of_steps(two, name) == pytest.approx(_of_steps(one, name), rel=1e-3)


@pytest.fixture(scope="module")
def stopping(document, tmp_path_factory):
    """Sections of a training of two ranks, and the folder of one that nothing stopped."""
    output = tmp_path_factory.mktemp("straight") / "out"
    sections = {
        "model": document(output)["model"],
        "stages": [{"steps": 5, "learning_rates": {"connector": 0.002, "llm": 0.0005}}],
        "checkpoints": {"every_steps": 1_000},
    }
    ended = _by_torchrun("asked_to_stop.py", document(output, **sections), argument="nobody")
    assert ended.returncode == 0, ended.stderr
    return sections, output


@pytest.mark.parametrize("who", ["torchrun", "rank"])
def test_ranks_stop_together_with_a_checkpoint_where_torchrun_or_one_of_them_is_asked_to(
    document, stopping, tmp_path, who
):
    sections, straight = stopping
    of_training = document(tmp_path / "out", **sections)

    ended = _by_torchrun("asked_to_stop.py", of_training, argument=who)

    assert ended.returncode != 0
    assert ended.stderr.count("asked to stop: the checkpoint of step 3 is written") == 1
    (written,) = (tmp_path / "out/checkpoints").iterdir()
    assert {each.name for each in written.iterdir()} == {
        "checkpoint.json",
        "rank-00000.pt",
        "rank-00001.pt",
    }
    assert _of_steps(tmp_path / "out", "step") == [1, 2, 3]
    with output_lock(tmp_path / "out"):  # nobody is left who holds it
        pass

    again = _by_torchrun("asked_to_stop.py", of_training, argument="nobody")

    assert again.returncode == 0, again.stderr
    assert _of_steps(tmp_path / "out", "loss") == _of_steps(straight, "loss")
    weights = [each / "model/weights.safetensors" for each in (tmp_path / "out", straight)]
    assert len({path.read_bytes() for path in weights}) == 1
