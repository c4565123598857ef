"""The stream of packs: covers once, split over ranks, the same however it is made or resumed."""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
from collections import Counter
from itertools import chain, islice, product

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_datasets import GEOMETRY, Made, ids, make, sample_row, text

from sllm_data.errors import ConfigError
from sllm_data.trainer.batch import PackedBatch
from sllm_data.trainer.data.config import DatasetEntry, WeightConfig
from sllm_data.trainer.data.conversation import encode_row, prompts_batch
from sllm_data.trainer.data.pages import Clips
from sllm_data.trainer.data.reading import read_rows
from sllm_data.trainer.data.workers import LoaderError

ALL = {f"s0-{part}-{row}" for part in range(4) for row in range(9)}
reopens = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def tensors(batch: PackedBatch) -> list[torch.Tensor]:
    sides = [batch.text, *([batch.twin] if batch.twin else [])]
    of_text = [
        getattr(side, name)
        for side in sides
        for name in ("token_ids", "position_ids", "lengths", "label_positions", "labels")
    ]
    of_audio = [batch.features, batch.clip_frames, batch.clip_positions, batch.audio_positions]
    return of_text + of_audio


def digest(batch: PackedBatch) -> str:
    content = b"".join(tensor.numpy().tobytes() for tensor in tensors(batch))
    return hashlib.sha256(content).hexdigest() + "".join(batch.sample_ids)


def digests(stream, number: int | None = None) -> list[str]:
    return [digest(batch) for batch in islice(stream, number)]


def test_an_epoch_holds_each_row_once_within_the_budget(opened, plain):
    batches = list(opened(plain, epochs=1))
    assert Counter(ids(batches)) == Counter(ALL)
    assert all(len(batch.text.token_ids) <= 150 for batch in batches)


def test_later_epochs_hold_the_same_rows_in_another_order(opened, plain):
    twice = ids(list(opened(plain, epochs=2)))
    assert Counter(twice) == Counter(dict.fromkeys(ALL, 2))
    assert twice[:36] != twice[36:]


def test_another_seed_is_another_order(opened, plain):
    assert ids(opened(plain, epochs=1, seed=1)) != ids(opened(plain, epochs=1, seed=2))


def test_ranks_take_turns_make_as_many_steps_and_share_no_row(opened, plain):
    by_rank = [list(opened(plain, epochs=1, rank=rank, world_size=3)) for rank in range(3)]
    assert len({len(batches) for batches in by_rank}) == 1
    assert Counter(ids(chain(*by_rank))) == Counter(ALL)
    in_turn = [digest(b) for step in zip(*by_rank, strict=True) for b in step]
    alone = digests(opened(plain), 6)
    assert in_turn[:6] == alone


def test_a_rank_without_a_row_gets_one_that_trains_nothing(opened, tmp_path):
    root = make(parts=1, rows=2).write(tmp_path)
    by_rank = [list(opened(root, epochs=1, rank=r, world_size=3, twins=True)) for r in range(3)]
    assert [len(batches) for batches in by_rank] == [1, 1, 1]
    labels = [len(batches[0].text.labels) for batches in by_rank]
    assert sorted(bool(number) for number in labels) == [False, True, True]
    assert not len(by_rank[labels.index(0)][0].twin.labels)


def test_a_pack_is_its_rows_as_evaluation_encodes_them(opened, plain, renderer):
    rows = {row.sample_id: row for row in read_rows(DatasetEntry(path=plain))}
    clips = Clips(plain)
    for batch in islice(opened(plain, twins=True), 3):
        alone = [
            encode_row(
                rows[name],
                clips=clips.clips_of(rows[name].audio_refs),
                renderer=renderer,
                geometry=GEOMETRY,
                twin=True,
            )
            for name in batch.sample_ids
        ]
        assert digest(prompts_batch(alone)) == digest(batch)


def test_a_pack_counts_as_its_shapes_say(opened, plain):
    for batch in opened(plain, epochs=1, twins=True):
        text = batch.text
        assert text.lengths.sum() == len(text.token_ids) == len(text.position_ids)
        assert len(batch.text.lengths) == len(batch.sample_ids)
        starts = torch.cumsum(text.lengths, 0) - text.lengths
        assert (text.position_ids[starts] == 0).all()
        assert batch.clip_frames.sum() == len(batch.features)
        assert batch.clip_positions.sum() == len(batch.audio_positions)
        assert not text.token_ids[batch.audio_positions].any()
        assert torch.equal(text.token_ids[text.label_positions + 1], text.labels)
        assert torch.equal(batch.twin.labels, text.labels)


@reopens
@given(at=st.integers(0, 14), window=st.sampled_from([1, 7, 16, 100]), seed=st.integers(0, 3))
def test_restored_behind_any_pack_the_rest_is_the_same_to_the_bit(opened, plain, at, window, seed):
    options = {"shuffle_window": window, "seed": seed, "twins": True, "text_share": 0.3}
    stream = opened(plain, **options)
    for _ in islice(stream, at):
        pass
    state = json.loads(json.dumps(stream.state()))
    rest = digests(stream, 6)
    again = opened(plain, **options)
    again.restore(state)
    assert digests(again, 6) == rest
    assert again.state() == stream.state()


def test_with_another_number_of_ranks_the_rest_is_still_covered_once(opened, plain):
    streams = [opened(plain, epochs=1, rank=rank, world_size=2) for rank in range(2)]
    seen = ids([next(stream) for stream in streams for _ in range(2)])
    states = [stream.state() for stream in streams]
    assert states[0]["plan"] == states[1]["plan"]
    rest = []
    for rank in range(3):
        stream = opened(plain, epochs=1, rank=rank, world_size=3)
        stream.restore(states[0])
        rest += ids(batch for batch in stream if len(batch.text.labels))
    assert Counter(seen + rest) == Counter(ALL)


def test_a_state_names_rows_and_does_not_hold_them(opened, plain):
    stream = opened(plain, lookahead=64)
    next(stream)
    assert len(json.dumps(stream.state())) < 3_000


def test_workers_make_the_same_stream_and_are_gone_when_it_is_closed(opened, plain):
    alone = opened(plain, epochs=2, twins=True)
    expected = digests(alone)
    with opened(plain, epochs=2, twins=True, workers=2, prefetch=1) as stream:
        first = digests(stream, 3)
        state = stream.state()
        assert len(multiprocessing.active_children()) == 2
    assert not multiprocessing.active_children()
    with opened(plain, epochs=2, twins=True, workers=1) as again:
        again.restore(state)
        assert first + digests(again) == expected
        assert again.counts == alone.counts
    assert not multiprocessing.active_children()


def test_a_worker_that_is_killed_is_a_sentence(opened, plain):
    with opened(plain, workers=2) as stream:
        next(stream)
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(LoaderError, match=r"worker . that makes packs ended .*data\.workers"):
            list(stream)


def test_workers_that_are_asked_to_end_make_packs_until_their_trainer_is_done(opened, plain):
    with (
        opened(plain, epochs=1) as alone,
        opened(plain, epochs=1, workers=1, prefetch=1) as stream,
    ):
        first = next(stream)
        for process in multiprocessing.active_children():
            process.terminate()
        assert digests([first, *stream]) == digests(alone)


def test_what_goes_wrong_in_a_worker_is_told_as_without_one(opened, tmp_path):
    root = make(parts=2).write(tmp_path)
    with (
        opened(root, workers=1, budget=16) as stream,
        pytest.raises(ConfigError, match="must have rows to train on"),
    ):
        next(stream)


@pytest.mark.parametrize("workers", [0, 1])
def test_data_without_a_single_clip_that_sounds_is_a_sentence(opened, tmp_path, workers):
    made = make(parts=1, rows=3)
    for row in made.audio[0]:
        row["audio"]["bytes"] = b""
    with (
        opened(made.write(tmp_path), workers=workers) as stream,
        pytest.raises(
            ConfigError, match=r"a whole epoch had none: undecodable \d+, the first s0-0-"
        ),
    ):
        next(stream)


def test_weights_say_how_often_a_row_is_seen_in_an_epoch(opened, tmp_path):
    made = make()
    for row in made.all_samples():
        row["task"] = ("twice", "never", "half")[int(row["sample_id"][-1]) % 3]
    weights = WeightConfig(tasks={"twice": 2, "never": 0, "half": 0.5})
    entry = DatasetEntry(path=made.write(tmp_path), weights=weights)
    seen = Counter(ids(opened(entry, epochs=10)))
    by_task = {row["sample_id"]: row["task"] for row in made.all_samples()}
    for name, task in by_task.items():
        expected = {"twice": range(20, 21), "never": range(1), "half": range(1, 10)}[task]
        assert seen[name] in expected


def test_weights_of_tasks_kinds_and_corpora_are_multiplied_and_drawn_as_asked_for(
    opened, tmp_path
):
    rows = []
    for number, what in enumerate(product("xy", ("instruct", "interleaved"), "ab")):
        for k in range(40):
            row = sample_row(f"{number}-{k}", audio_id="", num_samples=0, part=0, answer="fog")
            row["messages"][0]["content"] = [text("Say fog.")]
            row["task"], row["kind"], row["source"]["corpus"] = what
            rows.append(row)
    root = Made(samples=[rows]).write(tmp_path)
    weights = WeightConfig(tasks={"y": 3}, kinds={"interleaved": 0.5}, corpora={"b": 0.5})
    entry = DatasetEntry(path=root, weights=weights, weight=2)
    seen = Counter(name[0] for name in ids(opened(entry, epochs=5, budget=4_000)))
    shares = {number: seen[str(number)] / (40 * 5) for number in range(8)}
    # 2, times 3 for y, times half for interleaved, times half for b
    assert shares == pytest.approx(dict(enumerate([2, 1, 1, 0.5, 6, 3, 3, 1.5])), abs=0.1)
    assert [shares[number] for number in (0, 1, 2, 4, 5, 6)] == [2, 1, 1, 6, 3, 3]


def test_datasets_are_mixed_by_their_weights(opened, plain, tmp_path):
    other = make(seed=1).write(tmp_path)
    entries = DatasetEntry(path=plain), DatasetEntry(path=other, weight=3)
    seen = Counter(name[:2] for name in ids(opened(*entries, epochs=1, shuffle_window=500)))
    assert seen == {"s0": 36, "s1": 108}


def test_a_share_of_rows_is_read_instead_of_heard(opened, plain):
    heard, read = (
        next(opened(plain, text_share=share, budget=4_000, epochs=1)) for share in (0.0, 1.0)
    )
    assert len(read.clip_frames) == 0
    assert read.features.shape == (0, 80)
    of_heard = dict(zip(heard.sample_ids, heard.text.lengths.tolist(), strict=True))
    of_read = dict(zip(read.sample_ids, read.text.lengths.tolist(), strict=True))
    assert of_heard.keys() == of_read.keys()
    assert sorted(heard.text.labels.tolist()) == sorted(read.text.labels.tolist())
    some = next(opened(plain, text_share=0.5, budget=4_000, epochs=1))
    assert 0 < len(some.clip_frames) < 36


def test_the_stream_refuses_the_state_of_other_data_or_another_configuration(
    opened, plain, tmp_path
):
    state = opened(plain).state()
    moved = shutil.copytree(plain, tmp_path / "moved")
    opened(moved).restore(state)  # the same rows in another place
    with pytest.raises(ConfigError, match="changed: configuration of the data;"):
        opened(plain, budget=151).restore(state)
    with pytest.raises(ConfigError, match="changed: seed;"):
        opened(plain, seed=2).restore(state)
    (moved / "samples" / "part-00003.parquet").unlink()
    (moved / "audio" / "part-00003.parquet").unlink()
    with pytest.raises(ConfigError, match="changed: datasets;"):
        opened(moved).restore(state)


def test_features_that_are_kept_are_the_same_to_the_bit_and_no_clip_is_read_again(
    opened, plain, tmp_path
):
    expected = digests(opened(plain, epochs=3))
    copied = shutil.copytree(plain, tmp_path / "copied")
    stream = opened(copied, epochs=3, kept_gib=0.1)
    packs = len(list(opened(plain, epochs=1)))
    found = digests(stream, packs + 1)
    for path in (copied / "audio").iterdir():
        path.write_bytes(b"gone")
    found += digests(stream)

    assert found == expected
    with opened(plain, epochs=3, kept_gib=0.1, workers=2) as stream:
        assert digests(stream) == expected


def test_the_number_of_workers_is_no_part_of_the_fingerprint(opened, plain):
    assert (
        opened(plain).fingerprint == opened(plain, workers=3, prefetch=9, kept_gib=1).fingerprint
    )
    assert opened(plain).fingerprint != opened(plain, shuffle_window=17).fingerprint


def test_counts_tell_what_the_packs_held(opened, plain):
    stream = opened(plain, epochs=1)
    batches = list(stream)
    counts = stream.counts
    assert (counts.packs, counts.rows) == (len(batches), 36)
    assert counts.positions == sum(len(batch.text.token_ids) for batch in batches)
    assert counts.useful_share == counts.positions / (150 * len(batches)) > 0.85
    assert counts.audio_seconds == pytest.approx(sum(b.audio_seconds for b in batches))
    assert not counts.skipped
