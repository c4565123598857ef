import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sllm_data.corpora.manifest_config import ManifestColumns
from sllm_data.corpora.manifest_lines import ManifestRow, parse_line
from sllm_data.records import Reason

COLUMNS = ManifestColumns()
KEYS = [key for keys in COLUMNS.model_dump().values() for key in keys]


def line(**fields: object) -> bytes:
    return json.dumps({"audio_filepath": "a.wav", "text": "Hello."} | fields).encode()


def row(**fields: object) -> ManifestRow:
    found = parse_line(line(**fields), COLUMNS)
    assert isinstance(found, ManifestRow), found
    return found


def problem(content: bytes) -> str:
    found = parse_line(content, COLUMNS)
    assert not isinstance(found, ManifestRow), found
    assert len(found[1].splitlines()) == 1
    assert found[0] is Reason.MALFORMED_ROW
    return found[1]


def test_a_line_says_all_that_is_known_of_an_utterance():
    found = row(
        offset=1.5,
        duration=2,
        utt_id=17,
        lang="en_US",
        speaker=9,
        gender="f",
        age=33,
        accent="us",
        emotion="glad",
        split="dev",
        shard_id=4,
        pred_text="hullo",
        words=[{"w": "Hello", "start": 0.5}],
        nothing=None,
    )
    assert found == ManifestRow(
        audio="a.wav",
        transcript="Hello.",
        start_s=1.5,
        duration_s=2.0,
        id="17",
        language="en-US",
        speaker="9",
        gender="f",
        age="33",
        accent="us",
        emotion="glad",
        split="dev",
        shard="4",
        extra={"pred_text": "hullo", "words": '[{"start":0.5,"w":"Hello"}]'},
    )


@pytest.mark.parametrize(
    ("fields", "times"),
    [
        ({}, (None, None)),
        ({"duration": 3.5}, (None, 3.5)),
        ({"offset": 0}, (None, None)),
        ({"offset": 0.0, "duration": None}, (None, None)),
        ({"offset": 0, "duration": 3}, (0.0, 3.0)),
        ({"offset": 2.25}, (2.25, None)),
        ({"offset": -0.0, "duration": 1}, (0.0, 1.0)),
    ],
)
def test_a_row_with_an_offset_is_a_segment_and_one_without_times_is_all_of_its_file(fields, times):
    found = row(**fields)
    assert (found.start_s, found.duration_s) == times
    assert str(found.start_s) != "-0.0"


def test_keys_are_those_of_the_configuration_and_the_first_there_counts():
    columns = ManifestColumns(
        audio="wav", transcript=("clean", "raw"), duration=(), speaker="client_id"
    )
    content = json.dumps(
        {
            "wav": "b.wav",
            "clean": None,
            "raw": "Hi.",
            "text": "x",
            "duration": "?",
            "client_id": "c",
        }
    )
    found = parse_line(content.encode(), columns)
    assert isinstance(found, ManifestRow)
    assert (found.audio, found.transcript, found.speaker) == ("b.wav", "Hi.", "c")
    assert (found.duration_s, found.extra) == (None, {"text": "x", "duration": "?"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff{}", "UTF-8, byte 0"),
        (b"{\x00}", "character 2"),
        (b'{"text": "Hello', "Unterminated string"),
        (b'{"text": "a"}{"text": "b"}', "Extra data"),
        (b"[1]", r"one JSON object, got \[1\]"),
        (b"17", "one JSON object, got 17"),
        (b'"' + b"x" * 10_000 + b'"', "one JSON object"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"x": NaN}', "numbers must be finite"),
        (b'{"x": [-Infinity]}', "numbers must be finite"),
        (b'{"x": 1e999}', "numbers must be finite"),
        (b'{"x": ' + b"9" * 5_000 + b"}", "numbers must be finite and of a usual length"),
        (rb'{"x": ["\ud800"]}', "Unicode"),
        (rb'{"\u0000": 1}', "without NUL"),
        (line(audio_filepath=""), "audio_filepath must be a path in printable text, got ''"),
        (line(audio_filepath=None), "audio_filepath must be a path in printable text, got None"),
        (line(audio_filepath=["a.wav"]), r"audio_filepath must be text, got \['a.wav'\]"),
        (line(audio_filepath="a\nb.wav"), r"printable text, got 'a\\nb.wav'"),
        (line(text=17), "text must be text, got 17"),
        (
            line(duration="3.5"),
            "duration must be a number of seconds from 0 to 10,000,000, got '3.5'",
        ),
        (line(duration=True), "duration must be a number of seconds"),
        (line(duration=-1), "duration must be a number of seconds .* got -1"),
        (line(duration=0), "duration must be above 0, got 0"),
        (line(offset=-0.01), "offset must be a number of seconds"),
        (line(offset=10**400), "offset must be a number of seconds"),
        (line(lang="english language"), "lang or language must be a tag such as zh-CN"),
        (line(id="x" * 501), "id or utt_id or utterance_id must be of at most 500 characters"),
        (line(id=1.5), "must be text or a whole number, got 1.5"),
        (line(speaker=False), "speaker must be text or a whole number"),
        (line(gender=1), "gender must be text, got 1"),
    ],
)
def test_what_is_wrong_with_a_line_is_said_in_one(content, message):
    assert re.search(message, problem(content))


@pytest.mark.parametrize("transcript", [{}, {"text": None}])
def test_a_line_without_a_transcript_is_told_apart(transcript):
    content = json.dumps({"audio_filepath": "a.wav", **transcript}).encode()
    assert parse_line(content, COLUMNS) == (
        Reason.TRANSCRIPT_MISSING,
        "text must be there, is not",
    )


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([10**400, "en", "a.wav", "../a.wav", "/a.wav", "x.tar:y", 0, 1.5]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)
OBJECTS = st.dictionaries(st.sampled_from(KEYS) | st.text(), VALUES)
LINES = st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
LINES |= (OBJECTS | VALUES).map(lambda value: json.dumps(value).encode())


@settings(max_examples=500)
@given(LINES)
def test_any_line_is_a_row_or_a_reason(content):
    found = parse_line(content, COLUMNS)
    if isinstance(found, ManifestRow):
        texts = [found.audio, found.transcript, *found.extra, *found.extra.values()]
        assert all("\x00" not in text and text.encode() for text in texts if text)
        assert found.start_s is None or found.start_s >= 0
        assert found.duration_s is None or found.duration_s > 0
    else:
        assert len(found[1].splitlines()) == 1
        assert found[1].encode()


@pytest.mark.parametrize("depth", [100, 500, 900, 2_000, 20_000])
def test_nesting_of_any_depth_is_a_row_or_a_reason(depth):
    nested = b"[" * depth + b"]" * depth
    parse_line(b'{"audio_filepath": "a.wav", "text": "\\u0041", "x": ' + nested + b"}", COLUMNS)
