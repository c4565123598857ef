"""The cascade: who writes down, what the backbone then reads, and how long it takes."""

import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from transformers import (
    AutoTokenizer,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from sllm_data.audio.decode import DecodedClip
from sllm_data.errors import ConfigError, ModelError
from sllm_data.evaluation.asking import Asking, ask
from sllm_data.evaluation.cascade import (
    AsrModel,
    Remembering,
    Utterance,
    WorldEars,
    as_written_down,
)
from sllm_data.evaluation.rows import chosen_rows
from sllm_data.evaluation.timed import latencies
from sllm_data.records import Span, Turn
from sllm_data.testbed.assets import shipped
from sllm_data.testbed.encoder import word_error_rate
from sllm_data.testbed.speech import Synthesizer
from sllm_data.testbed.voices import WORLD_VOICES
from tests.alignment.tone_model import RATE_HZ, random_words, tones, write_tone_model


@pytest.fixture(scope="module")
def asked(trained, dataset):
    asking = Asking(dataset=dataset, sides=("speech", "cascade"), limit=2, max_tokens=8)
    return ask(trained, asking, name="tiny")


@pytest.fixture(scope="module")
def rows(dataset):
    return chosen_rows(dataset, split="test", limit=None)[0]


def whole(samples, *, language="en"):
    clip = DecodedClip(samples=samples[:, None], sampling_rate=RATE_HZ, codec="tones")
    return Utterance(
        source=id(samples),
        clip=clip,
        start=0,
        num_samples=len(samples),
        gain_db=0.0,
        language=language,
    )


def test_the_model_writes_down_what_it_answers_when_it_is_asked_to(asked):
    heard = {e.sample_id: e for e in asked.predictions if e.side == "speech"}
    written = [e for e in asked.predictions if e.side == "cascade"]
    assert len(written) == len(heard)
    assert {each.model for each in written} == {"tiny, then backbone"}
    transcribed = [each for each in written if each.task == "transcription"]
    assert transcribed
    for each in transcribed:
        assert each.written_down.startswith(heard[each.sample_id].prediction)


def test_the_time_of_both_is_told_by_the_length_of_an_answer(asked):
    found = latencies(asked.timed)
    assert [latency.rows for latency in found] == [1, 10]
    for latency in found:
        assert latency.lengths == (1, 4)
        assert min(latency.speech + latency.cascade) > 0
        assert len(latency.ratios) == 2


def test_a_transcriber_without_a_mistake_changes_no_word_of_the_text_side(rows):
    for row in rows:
        assert as_written_down(row, [row.extra["transcript_prepared"]]) == row


def test_the_backbone_reads_what_was_written_in_the_wording_of_the_text_side(rows):
    row = next(each for each in rows if each.task == "topic")
    read = as_written_down(row, ["quite another text"]).text_messages[0].content
    assert read == "What is the topic of the text?\n\nquite another text"


def test_speech_between_words_is_written_down_in_its_place(rows):
    row = rows[0]
    audio = next(span for span in row.turns[0].content if span.text is None)
    mixed = (Span(type="text", text="He said: "), audio, Span(type="text", text=" And: "), audio)
    row = replace(
        row, turns=(Turn(role="user", content=mixed), *row.turns[1:]), gains_db=(0.0, 0.0)
    )
    read = as_written_down(row, ["yes", "no"])
    assert read.text_messages[0].content == "He said: yes And: no"
    assert [message.role for message in read.text_messages] == ["user", "assistant"]


def test_the_encoder_of_the_world_writes_down_what_it_hears(trained, dataset):
    asking = Asking(
        dataset=dataset, sides=("cascade",), max_tokens=32, asr=str(shipped("encoder"))
    )
    found = ask(trained, asking, name="tiny").predictions
    assert {each.model for each in found} == {"the encoder's own words, then backbone"}
    assert (
        word_error_rate([each.transcript for each in found], [each.written_down for each in found])
        < 0.05
    )
    right = [each for each in found if each.written_down == each.transcript]
    assert all(each.prediction == each.reference for each in right)
    assert len(right) > len(found) / 2


@pytest.mark.parametrize(("seconds", "is_heard"), [(0.02, False), (0.5, True), (31.0, True)])
def test_the_encoder_of_the_world_takes_any_length(seconds, is_heard):
    ears = WorldEars(shipped("encoder"))
    speech = Synthesizer().speak("the ferry was late", voice=WORLD_VOICES[0].name)
    samples = np.resize(speech.samples, int(seconds * speech.rate_hz))[:, None]
    clip = DecodedClip(samples=samples, sampling_rate=speech.rate_hz, codec="pcm")
    said = Utterance(
        source=0, clip=clip, start=0, num_samples=len(samples), gain_db=0.0, language="en"
    )
    (text,) = ears([said])
    assert bool(text) is is_heard


def test_a_ctc_model_writes_down_what_is_sung(tmp_path):
    write_tone_model(tmp_path / "tones")
    model = AsrModel(str(tmp_path / "tones"), device="cpu")
    rng = np.random.default_rng(3)
    sung = [random_words(rng) for _ in range(8)]
    texts = model([whole(tones(words, rng)[0]) for words in sung])
    # the tone model was taught letters, and few borders between words
    letters = [text.replace(" ", "").lower() for text in texts]
    right = sum(found == "".join(words) for found, words in zip(letters, sung, strict=True))
    assert right >= 6


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asr") / "whisper"
    tokenizer = AutoTokenizer.from_pretrained(str(shipped("backbone")))
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        decoder_start_token_id=1,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config.max_new_tokens = 4
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def test_a_whisper_writes_down_for_the_cascade(trained, dataset, whisper):
    asking = Asking(dataset=dataset, sides=("cascade",), limit=1, max_tokens=4, asr=str(whisper))
    found = ask(trained, asking, name="tiny").predictions
    assert {each.model for each in found} == {"whisper, then backbone"}
    assert len({each.written_down for each in found if each.task == "topic"}) == 1


@pytest.mark.parametrize("language", ["und", "zh-CN"])
def test_a_language_that_a_model_has_no_name_of_is_left_to_it(whisper, language):
    model = AsrModel(str(whisper), device="cpu")
    model._model.generation_config.is_multilingual = True
    model._model.generation_config.lang_to_id = {"<|en|>": 5}
    assert model._spoken(language) == {}
    assert model._spoken("en") == {"language": "en", "task": "transcribe"}


def test_what_is_longer_than_a_model_hears_is_heard_in_pieces(whisper):
    model = AsrModel(str(whisper), device="cpu")
    rng = np.random.default_rng(0)
    noise = rng.integers(-9_999, 9_999, 65 * RATE_HZ, dtype=np.int16)
    cuts = (0, 30 * RATE_HZ, 60 * RATE_HZ, len(noise))
    parts = [whole(noise[a:b].copy()) for a, b in pairwise(cuts)]
    assert model([whole(noise)]) == [" ".join(filter(None, model(parts)))]


def test_weights_that_are_cut_are_one_sentence(whisper, tmp_path):
    folder = shutil.copytree(whisper, tmp_path / "cut")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(ModelError, match="cut: must hold a model that transcribes"):
        AsrModel(str(folder), device="cpu")


def test_an_utterance_that_several_rows_ask_about_is_written_down_once():
    asked = []

    class Counting:
        name = "counting"

        def __call__(self, utterances):
            asked.extend(utterances)
            return [f"text {each.source}" for each in utterances]

    one, other = (whole(np.zeros(8, np.int16)) for _ in range(2))
    other = replace(other, source="other")
    listen = Remembering(Counting())
    assert listen([one, other, one]) == listen([one, other, one])
    assert asked == [one, other]


def test_a_split_that_asks_for_no_transcript_needs_another_transcriber(trained, dataset, rows):
    from sllm_data.evaluation.cascade import transcriber_of

    others = [row for row in rows if row.task != "transcription"]
    with pytest.raises(ConfigError, match="needs a row of task transcription"):
        transcriber_of("self", trained, others)


def test_what_is_no_model_that_transcribes_is_refused(trained, tmp_path):
    from sllm_data.evaluation.cascade import transcriber_of

    with pytest.raises(ModelError, match=r"none: must hold a model that transcribes"):
        transcriber_of(str(tmp_path / "none"), trained, [])


def test_pieces_of_long_speech_stay_in_their_order_whatever_is_heard_beside():
    speech = Synthesizer().speak("the ferry was late", voice=WORLD_VOICES[0].name)
    short, long = (
        np.resize(speech.samples, seconds * speech.rate_hz)[:, None] for seconds in (4, 40)
    )
    clips = [
        DecodedClip(samples=samples, sampling_rate=speech.rate_hz, codec="pcm")
        for samples in (long, short)
    ]
    said = [
        Utterance(
            source=id(clip),
            clip=clip,
            start=0,
            num_samples=len(clip.samples),
            gain_db=0.0,
            language="en",
        )
        for clip in clips
    ]
    ears = WorldEars(shipped("encoder"))
    alone = [ears([each])[0] for each in said]
    assert ears(said) == alone
    assert ears(said[::-1]) == alone[::-1]
    assert len(alone[0].split()) > 5 * len(alone[1].split())
