from pathlib import Path

import pytest
import torch
from model_packs import MELS
from torch import Tensor
from transformers import WhisperModel

from sllm_data.errors import ModelError
from sllm_data.testbed.encoder import load_encoder
from sllm_data.trainer.geometry import AudioGeometry
from sllm_data.trainer.model.attention import use_packed_attention
from sllm_data.trainer.model.config import EncoderConfig
from sllm_data.trainer.model.encoder import SpeechEncoder, load_whisper

SHIPPED = Path(__file__).parents[3] / "sllm_data" / "testbed" / "assets"
GEOMETRY = AudioGeometry(window=4, max_frames=200)


def frames(*counts: int) -> Tensor:
    return torch.randn(sum(counts), MELS, generator=torch.Generator().manual_seed(sum(counts)))


@pytest.fixture(scope="module")
def whisper(whisper_folder):
    whisper = load_whisper(EncoderConfig(model=str(whisper_folder)), dtype=torch.float32)
    use_packed_attention(whisper)
    return whisper.requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def encoder(whisper) -> SpeechEncoder:
    return SpeechEncoder(whisper, geometry=GEOMETRY)


def test_a_clip_gives_the_same_in_a_pack_and_alone(encoder):
    counts = [2, 31, 200, 64, 3]
    packed = encoder(frames(*counts), counts)
    alone = [encoder(clip, [len(clip)]) for clip in frames(*counts).split(counts)]
    torch.testing.assert_close(packed, torch.cat(alone, dim=1))


def test_it_hears_what_the_testbeds_encoder_hears():
    theirs = load_encoder(SHIPPED / "encoder")
    whisper = load_whisper(EncoderConfig(model=str(SHIPPED / "encoder")), dtype=torch.float32)
    use_packed_attention(whisper)
    ours = SpeechEncoder(whisper, geometry=AudioGeometry(window=17))
    clip = frames(301)
    with torch.no_grad():
        wanted = theirs.encode(clip.T[None], torch.tensor([301]))
        torch.testing.assert_close(ours(clip, [301]), wanted, atol=1e-4, rtol=1e-4)


def test_a_clip_as_long_as_the_encoder_gives_what_transformers_gives(encoder, whisper_folder):
    theirs = WhisperModel.from_pretrained(whisper_folder).encoder.eval()
    clip = frames(200)
    with torch.no_grad():
        wanted = theirs(clip.T[None]).last_hidden_state
    torch.testing.assert_close(encoder(clip, [200]), wanted)


def test_padded_clips_give_what_transformers_gives_for_silence_behind_them(
    whisper, whisper_folder
):
    theirs = WhisperModel.from_pretrained(whisper_folder).encoder.eval()
    padded = SpeechEncoder(whisper, geometry=GEOMETRY, pad_to_30s=True)
    counts = [50, 31]
    found = padded(frames(*counts), counts).split([25, 16], dim=1)
    for clip, states in zip(frames(*counts).split(counts), found, strict=True):
        silence = torch.full((200 - len(clip), MELS), max(-1.5, float(clip.max()) - 2))
        with torch.no_grad():
            wanted = theirs(torch.cat([clip, silence]).T[None]).last_hidden_state
        torch.testing.assert_close(states, wanted[:, : states.shape[1]])


def test_a_long_clip_is_encoded_in_chunks(encoder):
    clip = frames(450)
    chunks = [encoder(chunk, [len(chunk)]) for chunk in clip.split(200)]
    torch.testing.assert_close(encoder(clip, [450]), torch.cat(chunks, dim=1))


def test_taps_are_the_states_behind_the_chosen_layers(whisper, whisper_folder):
    theirs = WhisperModel.from_pretrained(whisper_folder).encoder.eval()
    tapped = SpeechEncoder(whisper, geometry=GEOMETRY, taps=(1, 3))
    clip = frames(200)
    with torch.no_grad():
        wanted = theirs(clip.T[None], output_hidden_states=True).hidden_states
    torch.testing.assert_close(tapped(clip, [200]), torch.cat([wanted[1], wanted[3]]))


def test_features_of_another_encoder_are_refused(encoder):
    with pytest.raises(ModelError, match="must have 80 mels for this encoder, found 128"):
        encoder(torch.zeros(10, 128), [10])


def test_a_language_model_is_no_encoder(llm_folders):
    with pytest.raises(ModelError, match=r"must hold a Whisper of transformers, found a llama"):
        load_whisper(EncoderConfig(model=str(llm_folders["llama"])), dtype=torch.float32)


def test_an_empty_folder_is_no_encoder(tmp_path):
    with pytest.raises(ModelError, match="must hold a Whisper of transformers: "):
        load_whisper(EncoderConfig(model=str(tmp_path)), dtype=torch.float32)


def test_an_encoder_without_all_its_weights_is_refused(whisper_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    (tmp_path / "config.json").write_bytes((whisper_folder / "config.json").read_bytes())
    weights = load_file(whisper_folder / "model.safetensors")
    del weights["encoder.conv1.bias"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 are missing, the first is encoder.conv1.bias"):
        load_whisper(EncoderConfig(model=str(tmp_path)), dtype=torch.float32)
