import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoFeatureExtractor, AutoModel

from sllm_data.errors import ModelError
from sllm_data.testbed.clips import speak_clip
from sllm_data.testbed.encoder import (
    ENCODER_RATE_HZ,
    Encoder,
    EncoderSize,
    load_encoder,
    log_mel,
    new_encoder,
    transcribe,
    word_error_rate,
    word_errors,
)
from sllm_data.testbed.speech import Synthesizer
from sllm_data.testbed.voices import WORLD_VOICES

TEXTS = ["anna sold three red lamps", "the baker waited at the station and felt tired"]
WORDS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=6)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return new_encoder(EncoderSize(hidden=32, layers=2, heads=2, feed_forward=64))


@pytest.fixture(scope="module")
def folder(encoder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    encoder.save(folder)
    return folder


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    synthesizer, voice = Synthesizer(), WORLD_VOICES[0]
    return [speak_clip(synthesizer, text, voice, ENCODER_RATE_HZ).samples for text in TEXTS]


def encoded(encoder, clip) -> torch.Tensor:
    features = torch.from_numpy(log_mel(clip))[None]
    with torch.inference_mode():
        return encoder.encode(features, torch.tensor([features.shape[-1]]))[0]


def test_features_are_those_of_whisper_at_the_true_length(folder, clips):
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    for clip in clips:
        wave = torch.from_numpy(clip.astype(np.float32) / 2**15)
        wanted = extractor(
            wave.numpy(), sampling_rate=16_000, padding="do_not_pad", return_tensors="np"
        )["input_features"][0]
        assert wanted.shape == (80, len(clip) // 160)
        assert np.array_equal(log_mel(clip), wanted)


def test_a_clip_has_50_positions_a_second_and_a_longer_one_has_more(encoder, clips):
    short, long = (len(encoded(encoder, clip)) for clip in clips)
    assert short < long
    assert long == (len(clips[1]) // 160 + 1) // 2


@pytest.mark.parametrize("swapped", [False, True])
def test_a_clip_gives_the_same_in_a_batch_and_alone(encoder, clips, swapped):
    features = [torch.from_numpy(log_mel(clip)) for clip in clips[:: -1 if swapped else 1]]
    num_frames = torch.tensor([each.shape[1] for each in features])
    batch = torch.zeros(2, 80, int(num_frames.max()))
    for row, each in zip(batch, features, strict=True):
        row[:, : each.shape[1]] = each
    with torch.inference_mode():
        together = encoder.encode(batch, num_frames)
        for row, each in zip(together, features, strict=True):
            (alone,) = encoder.encode(each[None], torch.tensor([each.shape[1]]))
            torch.testing.assert_close(row[: len(alone)], alone, rtol=0, atol=1e-5)


def test_at_30_s_the_states_are_those_of_whispers_own_forward(folder):
    noise = np.random.default_rng(0).normal(0, 1_000, 480_000).astype(np.int16)
    whisper = AutoModel.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        wanted = whisper.encoder(torch.from_numpy(log_mel(noise))[None]).last_hidden_state[0]
    torch.testing.assert_close(encoded(load_encoder(folder), noise), wanted, rtol=0, atol=1e-5)


def test_positions_say_how_far_apart_they_are_and_nothing_else(encoder):
    table = encoder.whisper.encoder.embed_positions.weight
    alike = table @ table.T
    for distance in (0, 1, 30, 900):
        along = alike.diagonal(distance)
        torch.testing.assert_close(along, along[0].expand_as(along), rtol=0, atol=0.01)
    assert (alike[0, 1:] < alike[0, 0] - 0.5).all()


def test_the_folder_gives_back_the_encoder_in_16_bits(encoder, folder, clips):
    found = load_encoder(folder)
    for name, value in encoder.whisper.state_dict().items():
        assert torch.equal(found.whisper.state_dict()[name], value.half().float()), name
    torch.testing.assert_close(
        encoded(found, clips[0]), encoded(encoder, clips[0]), rtol=0, atol=0.02
    )


def test_automodel_finds_every_weight(folder):
    _, info = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())


@given(said=WORDS, heard=WORDS)
def test_word_errors_are_a_distance(said, heard):
    errors = word_errors(said, heard)
    assert (errors == 0) == (said == heard)
    assert errors == word_errors(heard, said) <= max(len(said), len(heard))
    assert word_errors(said, [*heard, "d"]) <= errors + 1
    assert word_errors([*said, "d"], [*heard, "d"]) == errors


def test_the_word_error_rate_is_by_words_that_were_said():
    assert word_error_rate(["a b c d", "e"], ["a b c", "e f"]) == pytest.approx(2 / 5)


@pytest.mark.parametrize("num_samples", [0, 399, 480_160])
def test_a_clip_that_is_too_short_or_too_long_is_refused(num_samples):
    with pytest.raises(ValueError, match="samples must be 25 ms to 30 s"):
        log_mel(np.zeros(num_samples, dtype=np.int16))


@pytest.mark.parametrize("num_samples", [400, 480_159])
def test_the_shortest_and_the_longest_clip_are_transcribed(folder, num_samples):
    assert transcribe(folder, np.zeros(num_samples, dtype=np.int16)) is not None


def test_a_head_of_other_words_is_refused(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"ctc_words": ["anna"]}))
    with pytest.raises(ModelError, match=r"must hold a speech encoder, found: .*size mismatch"):
        load_encoder(other)
    del config["ctc_words"]
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"must hold a speech encoder, found: .*ctc_words"):
        load_encoder(other)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "ctc_head.safetensors"])
def test_a_missing_or_broken_file_is_named(folder, tmp_path, name):
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / name).write_bytes(b"\x00" * 9)
    with pytest.raises(ModelError, match="must hold a speech encoder, found"):
        load_encoder(broken)
    (broken / name).unlink()
    with pytest.raises(ModelError, match=f"must hold {name} of a speech encoder"):
        load_encoder(broken)
