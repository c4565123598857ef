"""A small model of the CTC kind for a language whose letters are tones, trained in seconds.

Each letter lasts 120 ms and sounds at a pitch of its own, words are apart by silence; so word
times are known to the sample, and the model's are right or wrong.
"""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
)

RATE_HZ = 16_000
LETTERS = "abcdef"
_LETTER = RATE_HZ * 12 // 100
_PITCH = {letter: 300.0 * 1.4**number for number, letter in enumerate(LETTERS)}
_VOCABULARY = {"<pad>": 0, "|": 1, **{letter: 2 + k for k, letter in enumerate(LETTERS.upper())}}
_STRIDE = 320
_STEPS, _BATCH = 120, 8


def tones(
    words: list[str], rng: np.random.Generator
) -> tuple[npt.NDArray[np.int16], list[tuple[int, int]]]:
    """Sings words; returns the samples, and where each word begins and ends."""
    pieces = [np.zeros(int(rng.integers(800, 4_000)))]
    places = []
    for word in words:
        start = sum(map(len, pieces))
        for letter in word:
            phase = 2 * np.pi * _PITCH[letter] * np.arange(_LETTER) / RATE_HZ
            pieces.append(8_000 * np.sin(phase) * np.hanning(_LETTER) ** 0.25)
        places.append((start, sum(map(len, pieces))))
        pieces.append(np.zeros(int(rng.integers(1_600, 5_000))))
    wave = np.concatenate(pieces)
    return (wave + rng.normal(0, 20, len(wave))).astype(np.int16), places


def random_words(rng: np.random.Generator) -> list[str]:
    """Draws one to four words of two to four letters, no letter twice in a row."""
    words = []
    for _ in range(int(rng.integers(1, 5))):
        letters = [rng.choice(list(LETTERS))]
        while len(letters) < rng.integers(2, 5):
            letters.append(rng.choice([each for each in LETTERS if each != letters[-1]]))
        words.append("".join(letters))
    return words


def _labels(
    words: list[str], _: npt.NDArray[np.int16], places: list[tuple[int, int]], num_frames: int
) -> torch.Tensor:
    """What each frame should say: the letter that sounds, a border between words, or blank."""
    labels = torch.zeros(num_frames, dtype=torch.long)
    for word, (start, end) in zip(words, places, strict=True):
        for number, letter in enumerate(word.upper()):
            first = (start + number * _LETTER) // _STRIDE
            labels[first : (start + (number + 1) * _LETTER) // _STRIDE] = _VOCABULARY[letter]
        border = (end + 800) // _STRIDE
        if (start, end) != places[-1]:
            labels[border] = _VOCABULARY["|"]
    return labels


def write_tone_model(folder: Path) -> None:
    """Trains the model and writes its folder."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=len(_VOCABULARY),
            hidden_size=48,
            num_hidden_layers=1,
            num_attention_heads=4,
            intermediate_size=96,
            conv_dim=(48, 48, 48),
            conv_kernel=(40, 8, 4),
            conv_stride=(20, 4, 4),
            num_feat_extract_layers=3,
            num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=4,
            feat_extract_norm="layer",
            do_stable_layer_norm=True,
            hidden_dropout=0.0,
            attention_dropout=0.0,
            feat_proj_dropout=0.0,
            final_dropout=0.0,
            layerdrop=0.0,
            mask_time_prob=0.0,
            mask_feature_prob=0.0,
            ctc_loss_reduction="mean",
            ctc_zero_infinity=True,
            pad_token_id=0,
        )
    ).train()
    features = Wav2Vec2FeatureExtractor(sampling_rate=RATE_HZ, return_attention_mask=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(_STEPS):
        texts = [random_words(rng) for _ in range(_BATCH)]
        sung = [(words, *tones(words, rng)) for words in texts]
        waves = [wave.astype(np.float32) / 32_768 for _, wave, _ in sung]
        inputs = features(waves, sampling_rate=RATE_HZ, padding=True, return_tensors="pt")
        logits = model(**inputs).logits
        labels = torch.stack([_labels(*each, logits.shape[1]) for each in sung])
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels)
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, step / 10) * (1 - step / _STEPS)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.eval().save_pretrained(folder)
    features.save_pretrained(folder)
    vocabulary = folder / "vocab-source.json"
    vocabulary.write_text(json.dumps(_VOCABULARY), encoding="utf-8")
    tokens = {"pad_token": "<pad>", "unk_token": "<pad>", "bos_token": None, "eos_token": None}
    Wav2Vec2CTCTokenizer(str(vocabulary), **tokens).save_pretrained(folder)
