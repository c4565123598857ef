"""A run that cuts its clips into speech and text: what the rows hold, and what validate says."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from steps_datasets import build, digests, rows

from sllm_data.audio.decode import decode
from sllm_data.audio.mono import mono
from sllm_data.config import RunConfig, resolve
from sllm_data.errors import ConfigError, ShardError
from sllm_data.reporting.render import chosen_samples, render_samples
from sllm_data.shards import read_manifest
from sllm_data.testbed.assets import shipped
from sllm_data.testbed.encoder import ENCODER_RATE_HZ, load_encoder, word_error_rate
from sllm_data.validation.opening import Options
from sllm_data.validation.runner import validate
from sllm_data.words import words


@pytest.fixture
def configured(world, world_document):
    """Makes a configuration that cuts every clip; arguments override fields."""

    def make(root: Path, **fields: object) -> RunConfig:
        cut = {
            "alignment": {"backend": "files", "files": str(world)},
            "interleave": {"chance": 1.0, "speech_share": 0.5, "span_words": [3, 6]},
        }
        return resolve(world_document(root, **cut | fields), where="test")

    return make


def heard_and_read(sample):
    spans = [span for turn in sample["messages"] for span in turn["content"]]
    audio = [span for span in spans if span["type"] == "audio"]
    text = " ".join(span["text"] for span in spans if span["type"] == "text")
    return audio, text


def test_rows_hear_a_part_and_read_the_rest_and_are_sound(configured, tmp_path):
    root = tmp_path / "d"
    build(configured(root))
    samples = [row for row in rows(root, "samples") if row["kind"] == "interleaved"]
    assert len(samples) > 5
    clips = {row["audio_id"]: row for row in rows(root, "alignments")}
    for sample in samples:
        audio, text = heard_and_read(sample)
        assert audio
        heard = []
        for word in clips[sample["audio_refs"][0]["audio_id"]]["words"]:
            middle = word["start_sample"] + word["num_samples"] // 2
            inside = [
                span
                for span in audio
                if span["start_sample"] <= middle < span["start_sample"] + span["num_samples"]
            ]
            assert len(inside) <= 1
            heard.append(bool(inside))
            if not inside:
                assert "".join(words(word["text"])) in words(text)
        assert sum(heard) / len(heard) == pytest.approx(sample["speech_share"], abs=1e-5)
        assert sample["cut"] == "span"
    report = validate(root, Options(level=3, jobs=1))
    assert not [outcome.rule.name for outcome in report.outcomes if outcome.count], report
    manifest = read_manifest(root / "manifest/assemble.json")
    assert manifest is not None
    assert manifest.counts["cuts"] == {"span": len(samples)}
    rejected = rows(root, "rejections/assemble")
    assert {row["reason"] for row in rejected} <= {"too_short_to_interleave"}


def test_all_rows_of_an_utterance_are_cut_alike_and_again_the_same(configured, tmp_path):
    config = {"draw": {"mode": "draw", "multi_task_share": 1.0, "multi_task_count": 3}}
    for name in ("a", "b"):
        build(configured(tmp_path / name, **config))
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    cuts: dict[str, set[object]] = {}
    for sample in rows(tmp_path / "a", "samples"):
        audio, _ = heard_and_read(sample)
        cut = tuple((span["start_sample"], span["num_samples"]) for span in audio)
        cuts.setdefault(sample["audio_refs"][0]["audio_id"], set()).add(cut)
    assert {len(found) for found in cuts.values()} == {1}


def test_by_chance_some_rows_stay_whole(configured, tmp_path):
    config = configured(tmp_path / "d", interleave={"chance": 0.5, "speech_share": 0.5})
    build(config)
    kinds = [row["kind"] for row in rows(tmp_path / "d", "samples")]
    assert {"instruct", "interleaved"} == set(kinds)


def test_another_cut_asks_the_backbone_nothing_anew(configured, tmp_path):
    first = configured(tmp_path / "a")
    build(first)
    again = configured(
        tmp_path / "b",
        interleave={"chance": 1.0, "policy": "alternate", "alternate": [3, 3]},
        reuse=[str(tmp_path / "a")],
    )
    build(again)
    asked = [row for row in rows(tmp_path / "b", "responses") if row["engine"] != "none"]
    assert asked
    assert all(row["reused_from"] for row in asked)
    assert {row["cut"] for row in rows(tmp_path / "b", "samples")} == {"alternate"}


def test_cutting_without_word_times_is_refused(configured, tmp_path):
    with pytest.raises(ConfigError, match=r"alignment\.backend must not be none"):
        configured(tmp_path / "d", alignment={"backend": "none"})


def test_a_rendered_row_plays_what_it_hears(configured, tmp_path):
    root, out = tmp_path / "d", tmp_path / "page"
    build(configured(root))
    (sample, *_) = [row for row in rows(root, "samples") if row["kind"] == "interleaved"]
    page, wav = render_samples(root, [sample["sample_id"][:12]], out)
    assert (page.name, wav.name) == ("index.html", f"{sample['sample_id']}.wav")
    audio, _ = heard_and_read(sample)
    players = re.findall(r'src="data:audio/wav;base64,([^"]+)"', page.read_text())
    lengths = [soundfile.info(io.BytesIO(base64.b64decode(each))).frames for each in players]
    assert lengths == [span["num_samples"] for span in audio]
    pauses = 0.4 * 16_000 * (len(audio) - 1)
    assert soundfile.info(wav).frames == sum(lengths) + pauses
    assert page.read_text().count('class="heard"') == len(audio)
    assert "http" not in re.sub(r'src="[^"]*"', "", page.read_text())


def test_text_on_the_page_is_never_markup(configured, tmp_path):
    root = tmp_path / "d"
    build(configured(root, interleave={"chance": 0.0}))
    (part,) = sorted((root / "samples").glob("part-*.parquet"))[:1]
    table = pq.read_table(part)
    written = table.to_pylist()
    written[0]["transcript"] = "<script>alert(1)</script>"
    pq.write_table(
        pa.Table.from_pylist(written, schema=table.schema).replace_schema_metadata(
            table.schema.metadata
        ),
        part,
    )
    page, _ = render_samples(root, [written[0]["sample_id"]], tmp_path / "page")
    assert "<script>" not in page.read_text()
    assert "&lt;script&gt;" in page.read_text()


def test_what_is_not_there_is_told(configured, tmp_path):
    root = tmp_path / "d"
    build(configured(root, interleave={"chance": 0.0}))
    with pytest.raises(ShardError, match="must hold a sample whose id begins with 'zzz'"):
        render_samples(root, ["zzz"], tmp_path / "page")
    with pytest.raises(ShardError, match="samples of kind interleaved, has none"):
        list(chosen_samples(root, 3, kind="interleaved"))
    assert len(list(chosen_samples(root, 3, kind="instruct"))) == 3


def test_stretches_are_answered_by_their_own_text_or_by_the_next(configured, tmp_path):
    root = tmp_path / "d"
    patterns = {"stretch_transcription": "repeat", "stretch_continuation": "next"}
    asked = {
        name: {"weight": 1, "target": "transcript", "supervision": pattern, "may_copy": True}
        for name, pattern in patterns.items()
    }
    others = {name: {"weight": 0} for name in configured(root).tasks}
    prompts = {"instruction_languages": {"en": 1.0}}
    build(configured(root, tasks=others | asked, prompts=prompts))
    samples = rows(root, "samples")
    assert {row["cut"] for row in samples} == {"span/repeat", "span/next"}
    for sample in samples:
        spans = [span for turn in sample["messages"] for span in turn["content"]]
        trained = [span["text"] for span in spans if span["supervised"]]
        assert trained
        assert trained[-1] == sample["response"]
        said = words(sample["transcript"])
        for text in trained:
            assert " ".join(words(text)) in " ".join(said)
        roles = [turn["role"] for turn in sample["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
    report = validate(root, Options(level=3, jobs=1))
    assert not [o.rule.name for o in report.outcomes if o.is_failure], report


def test_answering_stretches_needs_the_transcript_as_target(configured, tmp_path):
    tasks = {"summary": {"supervision": "repeat"}}
    with pytest.raises(ConfigError, match="supervision 'repeat' needs target: transcript"):
        configured(tmp_path / "d", tasks=tasks)


def test_a_listener_hears_in_each_stretch_the_words_that_it_stands_for(configured, tmp_path):
    root = tmp_path / "d"
    build(configured(root))
    listener = load_encoder(shipped("encoder"))
    clips = {row["audio_id"]: row for row in rows(root, "audio")}
    times = {row["audio_id"]: row["words"] for row in rows(root, "alignments")}
    said: list[str] = []
    heard: dict[str, list[str]] = {"where it is cut": [], "half a second later": []}
    for sample in rows(root, "samples"):
        audio_id = sample["audio_refs"][0]["audio_id"]
        if sample["kind"] != "interleaved":
            continue
        clip = decode(clips[audio_id]["audio"]["bytes"])
        for span in heard_and_read(sample)[0]:
            start, end = span["start_sample"], span["start_sample"] + span["num_samples"]
            inside = [
                "".join(words(word["text"]))
                for word in times[audio_id]
                if start <= word["start_sample"] + word["num_samples"] // 2 < end
            ]
            said.append(" ".join(inside))
            for texts, late in zip(heard.values(), (0, clip.sampling_rate // 2), strict=True):
                cut = replace(clip, samples=clip.samples[start + late : end + late])
                texts.append(listener.transcribe(mono(cut, ENCODER_RATE_HZ)))
    assert len(said) > 10
    true, late = (word_error_rate(said, texts) for texts in heard.values())
    assert true < 0.25
    assert late > 2 * true
