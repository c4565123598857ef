from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.corpora.clip_durations import ClipDurations
from sllm_data.errors import CorpusError

CLIPS = st.dictionaries(
    st.from_regex(r"[a-z0-9_]{1,12}\.mp3", fullmatch=True), st.integers(0, 2**32 - 1)
)


def write(folder: Path, text: str) -> Path:
    path = folder / "clip_durations.tsv"
    path.write_text(text)
    return path


@given(
    clips=CLIPS,
    header=st.sampled_from(["clip\tduration[ms]", "duration[ms]\tclip", "clip\tduration"]),
)
def test_every_listed_duration_is_found(
    tmp_path_factory: pytest.TempPathFactory, clips: dict[str, int], header: str
) -> None:
    turned = header.startswith("duration")
    lines = [f"{ms}\t{clip}" if turned else f"{clip}\t{ms}" for clip, ms in clips.items()]
    path = write(tmp_path_factory.mktemp("d"), "\n".join([header, *lines]) + "\n")
    durations = ClipDurations()
    assert list(durations.fill(path)) == []
    assert {clip: durations.of(clip) for clip in clips} == {
        c: ms / 1000 for c, ms in clips.items()
    }
    assert durations.of("Unlisted.mp3") is None


@pytest.mark.parametrize(
    "value", ["", "x", "-1", "5.5", "4294967296", "nan", "1e3", "9" * 5_000, "9" * 5_000 + ".0"]
)
def test_a_duration_that_is_no_number_of_ms_is_named(tmp_path: Path, value: str) -> None:
    durations = ClipDurations()
    (row,) = durations.fill(write(tmp_path, f"clip\tduration[ms]\na.mp3\t{value}\nb.mp3\t7.0\n"))
    assert row.line == 2
    assert "must be a number of ms" in str(row.problem)
    assert durations.of("a.mp3") is None
    assert durations.of("b.mp3") == 0.007


def test_a_torn_line_is_handed_on(tmp_path: Path) -> None:
    (row,) = ClipDurations().fill(write(tmp_path, "clip\tduration[ms]\na.mp3\n"))
    assert "2 fields" in str(row.problem)


def test_the_first_line_of_a_clip_counts(tmp_path: Path) -> None:
    durations = ClipDurations()
    list(durations.fill(write(tmp_path, "clip\tduration[ms]\na\t1\nb\t9\na\t2\n")))
    assert durations.of("a") == 0.001


def test_other_columns_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"duration\[ms\], found: clip, seconds"):
        list(ClipDurations().fill(write(tmp_path, "clip\tseconds\n")))
