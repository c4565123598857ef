"""Level 2: one fault in a sound dataset is found by its rule, with part, row, column, value."""

import random
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planting import Row, as_foreign, change, settle
from single_level import (
    all_rows,
    findings,
    first,
    looked,
    plant,
    subject_of,
    told,
    with_field,
)

from sllm_data.shards import PartRecord, read_manifest
from sllm_data.validation import contents, formulas
from sllm_data.validation.subject import is_sampled


@pytest.fixture
def dataset(sound: Path, copied: Callable[[Path], Path]) -> Path:
    """A dataset to plant faults in."""
    return copied(sound)


@pytest.fixture
def foreign(sound: Path, tmp_path: Path) -> Path:
    """The same clips and samples as another program would hand them over."""
    return as_foreign(sound, tmp_path / "foreign", "audio", "samples")


def test_sound_dataset_has_no_finding(sound: Path) -> None:
    tally = looked(contents.check, sound)
    assert not tally.counts
    seen = {table: (of.rows, of.of_rows) for (_, table), of in tally.looked.items()}
    clips = len(all_rows(sound, "audio"))
    assert seen["audio"] == (clips, clips)
    assert {"digests", "audio", "samples", "requests"} == seen.keys()


def test_sound_foreign_parts_have_no_finding(foreign: Path) -> None:
    tally = looked(contents.check, foreign)
    assert not tally.counts
    assert {table for _, table in tally.looked} == {"audio", "samples"}


# files


def test_changed_byte_of_a_file_is_found_by_its_digest(dataset: Path) -> None:
    path = dataset / "candidates/part-00001.parquet"
    content = bytearray(path.read_bytes())
    content[0] ^= 1  # of the magic at the beginning, which no reader looks at
    path.write_bytes(content)
    (found,) = findings(contents.check, dataset)
    assert (found.rule, found.part) == ("part_sha256", "candidates/part-00001.parquet")
    assert len(found.value) == 64


@cache
def _parts_of(root: Path, step: str) -> tuple[PartRecord, ...]:
    manifest = read_manifest(root / f"manifest/{step}.json")
    assert manifest is not None
    return manifest.parts


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_escapes_the_digest(sound: Path, place: float, bit: int) -> None:
    record = next(p for p in _parts_of(sound, "index") if p.rows)
    content = bytearray((sound / record.file).read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    copy = sound.parent / "flipped"
    (copy / record.file).parent.mkdir(parents=True, exist_ok=True)
    (copy / record.file).write_bytes(content)
    tally = contents._check_digest(contents.DigestJob(root=copy, record=record, keep=1))
    assert tally.counts == {"part_sha256": 1}


def test_damaged_page_of_audio_is_found_where_the_digest_is_right(dataset: Path) -> None:
    file, _ = first(dataset, "audio")
    path = dataset / file
    audio = pq.read_table(path, columns=["audio"]).to_pylist()[0]["audio"]["bytes"]
    content = bytearray(path.read_bytes())
    content[content.index(audio[:64]) + 100] ^= 1
    path.write_bytes(content)
    settle(dataset)
    (found,) = findings(contents.check, dataset)
    assert (found.rule, found.part, found.column) == ("part_pages", file, "audio")


# clips


@pytest.mark.parametrize(
    ("rule", "column", "value"),
    [
        ("audio_sha256", "sha256", "0" * 64),
        ("audio_pcm_sha256", "pcm_sha256", "0" * 64),
        ("audio_facts", "codec", "wav/pcm_16"),
        ("audio_facts", "sampling_rate", 8_000),
        ("audio_facts", "num_channels", 2),
        ("audio_facts", "num_samples", 1),
        ("audio_facts", "duration_s", 1.0),
    ],
)
def test_clip_that_is_not_what_its_row_says_is_found(
    foreign: Path, rule: str, column: str, value: Any
) -> None:
    file, row = first(foreign, "audio")
    plant(foreign, file, "audio_id", row["audio_id"], **{column: value})
    (found,) = findings(contents.check, foreign)
    assert told([found]) == [(rule, file, row["audio_id"], column)]
    assert found.value == str(value)


@pytest.mark.parametrize("content", [b"no audio at all", b"", None])
def test_clip_that_does_not_decode_is_found(foreign: Path, content: bytes | None) -> None:
    file, row = first(foreign, "audio")
    plant(foreign, file, "audio_id", row["audio_id"], audio__bytes=content)
    found = findings(contents.check, foreign)
    at = ("audio_decodes", file, row["audio_id"], "audio")
    digest = ("audio_sha256", file, row["audio_id"], "sha256")
    assert told(found) == ([at, digest] if content else [at])


def test_clip_cut_short_by_its_last_bytes_is_found(dataset: Path) -> None:
    file, row = first(dataset, "audio", lambda row: row["codec"] == "flac/pcm_16")
    whole = pq.read_table(dataset / file, columns=["audio"]).to_pylist()[0]["audio"]["bytes"]
    plant(dataset, file, "audio_id", row["audio_id"], audio__bytes=whole[:-200])
    rules = {found.rule for found in findings(contents.check, dataset)}
    assert rules == {"audio_sha256", "audio_decodes"}


def test_another_version_of_the_decoder_is_named(dataset: Path) -> None:
    file, row = first(dataset, "audio")
    plant(dataset, file, "audio_id", row["audio_id"], pcm_sha256="0" * 64)
    path = dataset / "manifest/ingest.json"
    path.write_text(path.read_text().replace('"libsndfile": "1', '"libsndfile": "0.1'))
    (found,) = findings(contents.check, dataset)
    assert "made with libsndfile 0.1" in found.message


# tables that say the same


def _generated(row: Row) -> bool:
    return bool(row["generator"]["engine"] == "scripted")


def _transcribed(row: Row) -> bool:
    return bool(row["generator"]["engine"] == "none")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("task", {"task": "weather"}),
        ("task_params", {"task_params": '{"to":"xx"}'}),
        ("variant", {"variant": "content_first"}),
        ("instruction_id", {"instruction_id": "intent.en.99"}),
        ("template_id", {"template_id": "other"}),
        ("split", {"split": "nowhere"}),
        ("eval_group", {"eval_group": "held_out_task"}),
        ("generator.model", {"generator__model": "other"}),
        ("generator.revision", {"generator__revision": "other"}),
        ("generator.chat_template_sha256", {"generator__chat_template_sha256": "0" * 64}),
        ("generator.seed", {"generator__seed": 7}),
        ("generator.request_key", {"generator__request_key": "0" * 32}),
        ("generator.sampling", {"generator__sampling": "no JSON"}),
        ("audio_refs", {"audio_refs": [{"audio_part": 77, "audio_id": "a/b/c/d"}]}),
    ],
)
def test_sample_that_is_not_of_its_request_is_found(
    dataset: Path, column: str, values: Row
) -> None:
    file, row = first(dataset, "samples", _generated)
    plant(dataset, file, "sample_id", row["sample_id"], **values)
    (found,) = findings(contents.check, dataset)
    assert told([found]) == [("sample_request", file, row["sample_id"], column)]
    if isinstance(value := next(iter(values.values())), str) and value != "no JSON":
        assert found.value == value


def test_sampling_with_another_temperature_is_found(dataset: Path) -> None:
    file, row = first(dataset, "samples", _generated)
    sampling = with_field(row["generator"]["sampling"], temperature=0.7)
    plant(dataset, file, "sample_id", row["sample_id"], generator__sampling=sampling)
    (found,) = findings(contents.check, dataset)
    assert (found.rule, found.column) == ("sample_request", "generator.sampling")
    assert "0.7" in found.value


def test_prompt_that_is_not_what_the_backbone_read_is_found(dataset: Path) -> None:
    file, row = first(dataset, "samples", _generated)
    twin = row["text_messages"]
    twin[0]["content"] = "Well: " + twin[0]["content"]
    plant(dataset, file, "sample_id", row["sample_id"], text_messages=twin)
    (found,) = findings(contents.check, dataset)
    assert told([found]) == [("sample_request", file, row["sample_id"], "text_messages")]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("finish_reason", {"finish_reason": "length"}),
        ("response_token_ids", {"response_token_ids": [1, 2]}),
        ("response_top_token_ids", {"response_top_token_ids": [[1], [2]]}),
        ("response_logprobs", {"response_logprobs": [[-1.0], [-2.0]]}),
        ("num_response_tokens", {"num_response_tokens": 1_000}),
        ("generator.engine", {"generator__engine": "vllm"}),
        ("generator.engine_version", {"generator__engine_version": "9"}),
        ("generator.prompt_mode", {"generator__prompt_mode": "ids"}),
        ("generator.determinism", {"generator__determinism": "seeded"}),
        ("quality.mean_logprob", {"quality__mean_logprob": -1.0}),
    ],
)
def test_sample_that_is_not_of_its_response_is_found(
    dataset: Path, column: str, values: Row
) -> None:
    file, row = first(dataset, "samples", _generated)
    plant(dataset, file, "sample_id", row["sample_id"], **values)
    (found,) = findings(contents.check, dataset)
    assert told([found]) == [("sample_response", file, row["sample_id"], column)]
    assert found.value == str(next(iter(values.values())))


def _say(dataset: Path, file: str, row: Row, text: str) -> None:
    """Lets a sample answer something else, in all of its columns."""
    messages, twin = row["messages"], row["text_messages"]
    messages[-1]["content"][0]["text"] = twin[-1]["content"] = text
    values = {"response": text, "messages": messages, "text_messages": twin}
    plant(dataset, file, "sample_id", row["sample_id"], **values)


def test_sample_with_another_answer_than_its_response_is_found(dataset: Path) -> None:
    file, row = first(dataset, "samples", _transcribed)
    _say(dataset, file, row, "something else")
    (found,) = findings(contents.check, dataset)
    assert told([found]) == [("sample_response", file, row["sample_id"], "response")]
    assert found.value == "something else"


def test_transcript_that_is_not_the_prepared_one_is_found(dataset: Path) -> None:
    file, row = first(dataset, "samples", _transcribed)
    _say(dataset, file, row, "something else")
    responses = file.replace("samples", "responses/main")
    request_id = f"{row['sample_id']}:main"
    plant(dataset, responses, "request_id", request_id, text="something else")
    (found,) = findings(contents.check, dataset)
    assert told([found]) == [("response_request", responses, request_id, "text")]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("request_key", {"request_key": "0" * 32}),
        ("num_response_tokens", {"token_ids": [1] * 400}),
        ("num_prompt_tokens", {"prompt_mode": "ids", "num_prompt_tokens": 1}),
    ],
)
def test_response_that_is_not_of_its_request_is_found(
    dataset: Path, column: str, values: Row
) -> None:
    file, row = first(dataset, "responses/restore")
    plant(dataset, file, "request_id", row["request_id"], **values)
    (found,) = findings(contents.check, dataset)
    assert told([found]) == [("response_request", file, row["request_id"], column)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("transcript", "Something else."),
        ("language", "xx"),
        ("speakers", [{"id": "somebody else"}]),
        ("source", {"corpus": "other", "version": "", "licence": "", "attribution": ""}),
    ],
)
def test_sample_that_is_not_of_its_clip_is_found(dataset: Path, column: str, value: Any) -> None:
    file, row = first(dataset, "samples")
    plant(dataset, file, "sample_id", row["sample_id"], **{column: value})
    (found,) = findings(contents.check, dataset)
    assert told([found]) == [("sample_clip", file, row["sample_id"], column)]


def test_span_that_ends_before_its_clip_is_found(dataset: Path) -> None:
    file, row = first(dataset, "samples")
    messages = row["messages"]
    audio = next(s for turn in messages for s in turn["content"] if s["type"] == "audio")
    audio["num_samples"] -= 1
    plant(dataset, file, "sample_id", row["sample_id"], messages=messages)
    (found,) = findings(contents.check, dataset)
    assert told([found]) == [("sample_clip", file, row["sample_id"], "messages")]


def test_clip_that_is_not_its_candidate_is_found(dataset: Path) -> None:
    file, row = first(dataset, "audio")
    plant(dataset, file.replace("audio", "candidates"), "audio_id", row["audio_id"], entry=7)
    (found,) = findings(contents.check, dataset)
    assert told([found]) == [("clip_candidate", file, row["audio_id"], "entry")]
    assert found.value == "0"


def test_request_in_another_split_than_the_index_says_is_found(dataset: Path) -> None:
    file, row = first(dataset, "index", lambda row: len(row["tasks"]) == 1)
    plant(dataset, file, "audio_id", row["audio_id"], split="nowhere")
    (found,) = findings(contents.check, dataset)
    assert (found.rule, found.part) == ("request_index", file.replace("index", "requests/main"))
    assert (found.column, "nowhere" in found.message) == ("split", True)


def test_prompt_without_its_transcript_is_found(dataset: Path) -> None:
    sampled = {row["sample_id"] for _, row in all_rows(dataset, "samples")}
    file, row = first(dataset, "requests/main", lambda row: row["sample_id"] not in sampled)
    values = {"transcript_prepared": "Something else."}
    plant(dataset, file, "request_id", row["request_id"], **values)
    (found,) = findings(contents.check, dataset)
    assert told([found]) == [("request_prompt", file, row["request_id"], "messages")]


# a sample by itself


def test_response_that_is_not_supervised_is_found(foreign: Path) -> None:
    file, row = first(foreign, "samples")
    row["messages"][-1]["content"][0]["supervised"] = False
    plant(foreign, file, "sample_id", row["sample_id"], messages=row["messages"])
    (found,) = findings(contents.check, foreign)
    assert told([found]) == [("sample_spans", file, row["sample_id"], "messages")]
    assert found.value == ""


def test_instruction_that_is_supervised_is_found(foreign: Path) -> None:
    file, row = first(foreign, "samples")
    row["messages"][0]["content"][0]["supervised"] = True
    plant(foreign, file, "sample_id", row["sample_id"], messages=row["messages"])
    (found,) = findings(contents.check, foreign)
    assert told([found]) == [("sample_spans", file, row["sample_id"], "messages")]
    assert found.value == "user"


def test_response_column_that_is_not_what_is_trained_is_found(foreign: Path) -> None:
    file, row = first(foreign, "samples")
    plant(foreign, file, "sample_id", row["sample_id"], response="something else")
    (found,) = findings(contents.check, foreign)
    assert told([found]) == [("sample_spans", file, row["sample_id"], "messages")]
    assert "something else" in found.message


@pytest.mark.parametrize("text", ["something else", ""])
def test_text_twin_with_another_answer_is_found(dataset: Path, text: str) -> None:
    file, row = first(dataset, "samples")
    row["text_messages"][-1]["content"] = text
    plant(dataset, file, "sample_id", row["sample_id"], text_messages=row["text_messages"])
    (found,) = findings(contents.check, dataset)
    assert told([found]) == [("sample_twin", file, row["sample_id"], "text_messages")]
    assert found.value == text


def test_text_twin_without_the_transcript_is_found(foreign: Path) -> None:
    file, row = first(foreign, "samples")
    row["text_messages"][0]["content"] = "Do it."
    plant(foreign, file, "sample_id", row["sample_id"], text_messages=row["text_messages"])
    (found,) = findings(contents.check, foreign)
    assert told([found]) == [("sample_twin", file, row["sample_id"], "text_messages")]


def test_text_twin_with_other_roles_is_found(foreign: Path) -> None:
    file, row = first(foreign, "samples")
    twin = [{"role": "system", "content": "Be kind."}, *row["text_messages"]]
    plant(foreign, file, "sample_id", row["sample_id"], text_messages=twin)
    (found,) = findings(contents.check, foreign)
    assert (found.rule, found.value) == ("sample_twin", "system user assistant")


@pytest.mark.parametrize("measure", ["copy_rate", "repetition"])
def test_measure_that_the_filters_did_not_take_is_found(dataset: Path, measure: str) -> None:
    file, row = first(dataset, "samples", _generated)
    plant(dataset, file, "sample_id", row["sample_id"], **{f"quality__{measure}": 0.875})
    (found,) = findings(contents.check, dataset)
    column = f"quality.{measure}"
    assert told([found]) == [("sample_measures", file, row["sample_id"], column)]
    assert found.value == "0.875"


# what follows from other columns


def test_sample_id_that_is_not_the_hash_of_its_cell_is_found(dataset: Path) -> None:
    file, row = first(dataset, "requests/main")
    plant(dataset, file, "request_id", row["request_id"], draw_index=1)
    (found,) = findings(contents.check, dataset)
    assert told([found]) == [("request_ids", file, row["request_id"], "sample_id")]
    assert found.value == row["sample_id"]


def test_sample_id_of_a_restoring_request_is_checked_too(dataset: Path) -> None:
    file, row = first(dataset, "requests/restore")
    plant(dataset, file, "request_id", row["request_id"], audio_id="a/b/c/d")
    (found,) = findings(contents.check, dataset)
    assert told([found]) == [("request_ids", file, row["request_id"], "sample_id")]


def test_request_id_of_another_pass_is_found(dataset: Path) -> None:
    file, row = first(dataset, "requests/judge")
    other = f"{row['sample_id']}:main"
    plant(dataset, file, "request_id", row["request_id"], request_id=other)
    (found,) = findings(contents.check, dataset)
    assert told([found]) == [("request_ids", file, other, "request_id")]


@pytest.mark.parametrize(
    "values",
    [{"sampling__temperature": 0.5}, {"prompt_token_ids": [1, 2, 3]}, {"request_key": "0" * 32}],
)
def test_key_that_is_not_that_of_its_prompt_is_found(dataset: Path, values: Row) -> None:
    file, row = first(dataset, "requests/restore")
    plant(dataset, file, "request_id", row["request_id"], **values)
    responses = file.replace("requests", "responses")
    key = values.get("request_key", row["request_key"])
    plant(dataset, responses, "request_id", row["request_id"], request_key=key)
    (found,) = findings(contents.check, dataset)
    assert told([found]) == [("request_key", file, row["request_id"], "request_key")]
    assert found.value == key


@pytest.mark.parametrize(
    ("rule", "column", "value"),
    [("request_seed", "seed", 7), ("request_model", "model", "other")],
)
def test_seed_and_model_of_another_run_are_found(
    dataset: Path, rule: str, column: str, value: Any
) -> None:
    file, row = first(dataset, "requests/restore")
    (job, *_) = formulas.request_jobs(subject_of(dataset))
    values = {column: value}
    values["request_key"] = formulas._request_key(job, row | values)  # the key follows
    plant(dataset, file, "request_id", row["request_id"], **values)
    responses = file.replace("requests", "responses")
    key = {"request_key": values["request_key"]}
    plant(dataset, responses, "request_id", row["request_id"], **key)
    (found,) = findings(contents.check, dataset)
    assert told([found]) == [(rule, file, row["request_id"], column)]
    assert found.value == str(value)


# how much is looked at


def test_sample_looks_at_the_same_share_each_time_and_hashes_all(dataset: Path) -> None:
    tallies = [looked(contents.check, dataset, sample=0.4) for _ in range(2)]
    seen = [tally.looked for tally in tallies]
    assert seen[0] == seen[1]
    audio, digests = seen[0][2, "audio"], seen[0][2, "digests"]
    assert 0 < audio.rows < audio.of_rows
    assert digests.rows == digests.of_rows


def test_sample_finds_faults_of_its_share_only(dataset: Path) -> None:
    clips = all_rows(dataset, "audio")
    inside, outside = (
        next((f, r["audio_id"]) for f, r in clips if is_sampled(r["audio_id"], 0.4) is wanted)
        for wanted in (True, False)
    )
    for file, audio_id in (inside, outside):
        plant(dataset, file, "audio_id", audio_id, sha256="0" * 64)
    (found,) = findings(contents.check, dataset, sample=0.4)
    assert told([found]) == [("audio_sha256", inside[0], inside[1], "sha256")]


def test_more_processes_find_the_same(dataset: Path) -> None:
    for file, row in all_rows(dataset, "audio")[::5]:
        plant(dataset, file, "audio_id", row["audio_id"], sha256="0" * 64)
    alone, together = (looked(contents.check, dataset, jobs=jobs, keep=3) for jobs in (1, 2))
    assert alone.findings("audio_sha256") == together.findings("audio_sha256")
    assert len(alone.findings("audio_sha256")) == 3
    assert alone.counts == together.counts


def test_parts_of_another_program_are_judged_by_their_columns(foreign: Path) -> None:
    file, row = first(foreign, "samples")
    values = {"task": "weather", "generator__request_key": "0" * 32, "quality__copy_rate": 0.875}
    plant(foreign, file, "sample_id", row["sample_id"], **values)
    assert findings(contents.check, foreign) == []


def test_rows_in_another_order_are_joined_by_their_keys(dataset: Path) -> None:
    for folder in ("samples", "responses/main", "requests/main"):
        change(dataset, f"{folder}/part-00000.parquet", random.Random(folder).shuffle)
    assert findings(contents.check, dataset) == []


def test_missing_partner_table_is_not_this_levels_business(dataset: Path) -> None:
    shutil.rmtree(dataset / "candidates")
    shutil.rmtree(dataset / "responses/main")
    assert findings(contents.check, dataset) == []
