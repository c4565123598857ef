"""Figures of the report on rows that a test writes down: likeness, duplicates, distributions."""

import io
import math
import re
from importlib import resources

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.errors import ShardError
from sllm_data.reporting.report.anchors import collect_anchors
from sllm_data.reporting.report.distribution import Distribution, binned, shared_edges
from sllm_data.reporting.report.examples import Example, choose_examples
from sllm_data.reporting.report.losses import (
    collect_duplicates,
    collect_quality,
    collect_rejections,
)
from sllm_data.reporting.report.markup import MISSING, number, share, table
from sllm_data.reporting.report.players import Players
from sllm_data.reporting.report.players import sample as shown_sample
from sllm_data.reporting.report.tables import open_tables
from tests.reporting.diff_datasets import sample, write_dataset

counts = st.dictionaries(st.integers(0, 5_000), st.integers(1, 9), min_size=1, max_size=40)


@given(counts, st.floats(0.01, 1.0))
def test_a_quantile_is_one_of_the_values_in_their_order(found, part):
    values = sorted(value for value, num in found.items() for _ in range(num))
    place = math.ceil(part * len(values)) - 1
    assert Distribution(counts=found).quantile(part) == values[place]


@given(counts, counts, st.sampled_from([1.0, 0.1]))
def test_bins_hold_every_value_once_and_are_shared(a, b, step):
    both = [Distribution(counts=each, step=step) for each in (a, b)]
    edges = shared_edges(both)
    assert len(edges) <= 31
    for each in both:
        assert sum(binned(each, edges)) == each.total


def test_a_bin_begins_with_its_edge_and_the_last_holds_the_rest():
    found = Distribution(counts={0: 1, 9: 1, 10: 1, 35: 1})
    assert binned(found, [0.0, 10.0, 20.0]) == [2, 2]


def test_nothing_has_no_bins_no_mean_and_no_quantile():
    nothing = Distribution(counts={})
    assert shared_edges([nothing]) == []
    assert (nothing.mean(), nothing.quantile(0.5), binned(nothing, [])) == (None, None, [])


def _rows(answers):
    """Rows as (id, task, clip, transcript, response)."""
    return [
        sample(
            sample_id,
            task=task,
            language="en",
            audio_refs=[{"audio_part": 0, "audio_id": clip}],
            transcript=transcript,
            response=response,
        )
        for sample_id, task, clip, transcript, response in answers
    ]


def test_one_answer_to_every_task_of_a_clip_is_as_alike_as_can_be(tmp_path):
    clips = {"c1": "red blue", "c2": "up down"}
    answers = [
        (f"{clip}{task}", task, clip, f"{text} said", text)
        for clip, text in clips.items()
        for task in ("intent", "summary", "topic")
    ]
    rows = [row | {"generator": row["generator"] | {"engine": "vllm"}} for row in _rows(answers)]
    with open_tables(write_dataset(tmp_path / "d", rows, part_rows=9)) as tables:
        found = collect_anchors(tables)
    assert (found.rows, found.clips) == (6, 2)
    assert (found.same_clip, found.other_clip) == (1.0, 0.0)
    assert found.similarity["intent"] == {"summary": 1.0, "topic": 1.0}
    topic = found.tasks["topic"]
    assert (topic.own, topic.other, topic.gain) == (0.8, 0.0, 0.8)
    assert (topic.own_words, topic.other_words) == (1.0, 0.0)


def test_a_row_that_has_no_other_to_compare_with_is_compared_with_itself_only(tmp_path):
    rows = _rows([("1", "topic", "c1", "a b", "a")])
    with open_tables(write_dataset(tmp_path / "d", rows)) as tables:
        found = collect_anchors(tables)
    assert found.tasks["topic"].own == pytest.approx(2 / 3)
    assert (found.tasks["topic"].other, found.tasks["topic"].gain) == (None, None)
    assert (found.same_clip, found.similarity) == (None, {})


def test_answers_and_questions_that_are_the_same_are_counted(tmp_path):
    rows = _rows(
        [
            ("1", "topic", "c1", "a", "x"),
            ("2", "topic", "c2", "a", "x"),
            ("3", "topic", "c3", "a", "y"),
        ]
    )
    with open_tables(write_dataset(tmp_path / "d", rows)) as tables:
        quality, duplicates = collect_quality(tables), collect_duplicates(tables)
    assert (quality["topic"].responses, quality["topic"].commonest) == (2, "x")
    assert quality["topic"].commonest_share == pytest.approx(2 / 3)
    assert duplicates.repeated_questions == 2


def test_a_dataset_without_rejections_has_none(tmp_path):
    with open_tables(write_dataset(tmp_path / "d", [])) as tables:
        assert collect_rejections(tables) == ()


def _clip(codec, *, channels=1, rate=8_000, **how):
    content = io.BytesIO()
    soundfile.write(content, np.zeros((800, channels), np.int16), rate, **how)
    return {
        "audio": {"bytes": content.getvalue()},
        "codec": codec,
        "sampling_rate": rate,
        "num_samples": 800,
    }


def test_a_clip_is_played_as_it_is_stored_a_stretch_and_other_codecs_as_flac():
    whole, half = ({"start_sample": 0, "num_samples": num} for num in (800, 400))
    wav = _clip("wav/pcm_16", format="WAV", subtype="PCM_16")
    aiff = _clip("aiff/pcm_16", format="AIFF", subtype="PCM_16")
    players = Players(2**20)
    assert "data:audio/wav" in players.player(whole, wav)
    assert "data:audio/flac" in players.player(half, wav)
    assert "0.00 to 0.05 s" in players.player(half, wav)
    assert "data:audio/flac" in players.player(whole, aiff)


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ({"channels": 9}, "must fit into FLAC, 9 channels at 8000 Hz do not"),
        ({"rate": 700_000}, "must fit into FLAC, 1 channels at 700000 Hz do not"),
    ],
)
def test_a_stretch_that_has_no_room_in_flac_has_no_player_and_the_page_says_why(shape, why):
    wav = _clip("wav/pcm_16", format="WAV", subtype="PCM_16", **shape)
    shown = Players(2**20).player({"start_sample": 0, "num_samples": 400}, wav)
    assert "<audio" not in shown
    assert f"no player, {why}]" in shown


def test_a_stretch_of_what_is_no_audio_has_no_player_and_the_page_says_why():
    clip = {"audio": {"bytes": b"<b>"}, "codec": "mp3", "sampling_rate": 8_000, "num_samples": 9}
    shown = Players(2**20).player({"start_sample": 0, "num_samples": 4}, clip)
    assert "0.00 to 0.00 s: no player, " in shown
    assert "<audio" not in shown
    assert "<b>" not in shown


def test_no_value_of_a_sample_is_markup():
    said = [{"type": "text", "text": "<i>", "supervised": True, "audio_index": None}]
    turn = {"role": '"><i>', "content": said}
    row = sample("1", messages=[turn], text_messages=[{"role": '"><i>', "content": "<i>"}])
    row |= {"language": '"><i>', "response_language": '"><i>', "transcript": "<i>"}
    shown = shown_sample(Example(row=row, clips=[]), Players(0), dataset="<i>")
    assert "<i>" not in shown
    assert "&quot;&gt;&lt;i&gt;" in shown


def test_a_sample_that_hears_no_clip_of_its_own_is_one_sentence(tmp_path):
    heard = {"type": "audio", "audio_index": 0, "start_sample": 0, "num_samples": 9}
    row = sample("1", audio_refs=[], messages=[{"role": "user", "content": [heard]}])
    with (
        open_tables(write_dataset(tmp_path / "d", [row])) as tables,
        pytest.raises(ShardError, match="sample 1 must hear a stretch of one of its 0 clips"),
    ):
        choose_examples(tables, 5)


def _luminance(colour):
    parts = [value / 255 for value in colour]
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(a, b):
    low, high = sorted(_luminance(colour) for colour in (a, b))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("place", [0, 1], ids=["light", "dark"])
def test_colours_differ_enough_to_be_read(place):
    style = resources.files("sllm_data.reporting.report").joinpath("page.css").read_text()
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[place]
    colours = {
        name: tuple(bytes.fromhex("".join(digit * (6 // len(code)) for digit in code)))
        for name, code in re.findall(r"--([\w]+): #(\w{6}|\w{3});", block)
    }
    (heat,) = re.findall(r"--heat: (\d+), (\d+), (\d+)", block)
    back, text = colours["back"], colours["text"]
    shares = [float(share) for share in re.findall(r"var\(--heat\), ([.\d]+)\)", style)]
    cells = [[s * int(h) + (1 - s) * b for h, b in zip(heat, back, strict=True)] for s in shares]
    assert len(cells) == 9
    for behind in (back, colours["soft"], colours["trained"], *cells):
        assert _contrast(text, behind) >= 4.5
    for behind in (back, colours["soft"]):
        assert min(_contrast(colours[name], behind) for name in ("quiet", "link")) >= 4.5
        assert min(_contrast(colours[name], behind) for name in ("s0", "s1")) >= 3


def test_a_table_escapes_and_says_what_is_missing():
    assert "&lt;b&gt;" in table("<b>", ("a", "b"), [("<b>", "<b>")])
    assert "<b>" not in table("<b>", ("a", "b"), [("<b>", "<b>")])
    assert (share(None), number(None)) == (MISSING, MISSING)
    assert (number(-0.001), number(1234), number(1234.5)) == ("0.00", "1,234", "1,234.50")
