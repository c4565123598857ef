import gzip
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sllm_data.corpora.common_voice import clip_stem
from sllm_data.corpora.config import CommonVoiceConfig
from sllm_data.corpora.reading import read_corpus
from sllm_data.errors import CorpusError
from sllm_data.records import Candidate, Reason, Rejection

Write = Callable[..., Path]

COLUMNS_8 = ["client_id", "path", "sentence", "up_votes", "down_votes", "age", "gender", "accent"]
COLUMNS_9 = [*COLUMNS_8, "locale"]
COLUMNS_10 = [*COLUMNS_9, "segment"]
COLUMNS_10_ACCENTS = [*COLUMNS_8[:-1], "accents", "locale", "segment"]
COLUMNS_11 = [*COLUMNS_8[:-1], "accents", "variant", "locale", "segment"]
COLUMNS_12 = [*COLUMNS_11[:2], "sentence_id", *COLUMNS_11[2:]]
COLUMNS_13 = [*COLUMNS_12[:4], "sentence_domain", *COLUMNS_12[4:]]


def read(path: Path, **fields: object) -> tuple[list[Candidate], list[Rejection]]:
    salt = str(fields.pop("speaker_salt", "salt"))
    config = CommonVoiceConfig.model_validate({"kind": "common_voice", "path": path, **fields})
    rows = list(read_corpus(config, entry=1, speaker_salt=salt))
    candidates = [row for row in rows if isinstance(row, Candidate)]
    return candidates, [row for row in rows if isinstance(row, Rejection)]


def test_a_clip_of_a_new_release_has_everything_the_table_says(common_voice: Write) -> None:
    row = {
        "path": "common_voice_de_1.mp3",
        "sentence": '„Guten Tag“, sagte "er.',
        "sentence_id": "abc",
        "sentence_domain": "general",
        "age": "twenties",
        "gender": "female_feminine",
        "accents": "Österreich",
        "variant": "Wien",
    }
    (clip,), rejections = read(common_voice([row], locale="de"))
    assert rejections == []
    assert clip.audio_id == "common_voice/17.0-2024-03-15/de/common_voice_de_1"
    assert clip.audio_path == "de/clips/common_voice_de_1.mp3"
    assert (clip.transcript, clip.language, clip.entry) == (row["sentence"], "de", 1)
    assert (clip.corpus_split, clip.duration_s) == (None, None)
    speaker = clip.speaker
    assert (speaker.gender, speaker.age, speaker.accent) == ("female", "twenties", "Österreich")
    assert clip.source.licence == "CC0-1.0"
    assert clip.extra == {
        "table": "validated",
        "sentence_id": "abc",
        "sentence_domain": "general",
        "up_votes": "2",
        "down_votes": "0",
        "variant": "Wien",
    }


@pytest.mark.parametrize(
    "columns",
    [COLUMNS_8, COLUMNS_9, COLUMNS_10, COLUMNS_10_ACCENTS, COLUMNS_11, COLUMNS_12, COLUMNS_13],
    ids=lambda columns: f"{len(columns)} {columns[-1]}",
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_layout_gives_the_same_clip(
    common_voice: Write, columns: list[str], newline: str
) -> None:
    row = {"path": "a.mp3", "accent": "us", "accents": "us", "gender": "male"}
    (clip,), _ = read(common_voice([row], columns=columns, newline=newline))
    assert (clip.transcript, clip.language, clip.speaker.accent) == ("Hello.", "en", "us")
    assert clip.extra == {"table": "validated", "up_votes": "2", "down_votes": "0"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(columns=st.permutations(COLUMNS_13))
def test_columns_are_found_by_name_in_any_order(common_voice: Write, columns: list[str]) -> None:
    rows = [{"path": "a.mp3", "segment": "Benchmark"}]
    (clip,), _ = read(common_voice(rows, columns=columns))
    assert (clip.transcript, clip.extra["segment"]) == ("Hello.", "Benchmark")


@pytest.mark.parametrize(
    ("gender", "expected"),
    [
        ("", None),
        ("do_not_wish_to_say", None),
        ("male", "male"),
        ("male_masculine", "male"),
        ("female", "female"),
        ("female_feminine", "female"),
        ("non-binary", "other"),
        ("other", "other"),
    ],
)
def test_genders_are_few_words(common_voice: Write, gender: str, expected: str | None) -> None:
    (clip,), _ = read(common_voice([{"path": "a.mp3", "gender": gender}]))
    assert clip.speaker.gender == expected


def test_speakers_are_told_apart_but_not_named(common_voice: Write) -> None:
    rows = [
        {"path": f"{clip}.mp3", "client_id": who} for clip, who in zip("abcd", "xxy ", strict=True)
    ]
    rows[3]["client_id"] = ""
    path = common_voice(rows)
    ids = [row.speaker.id for row in read(path)[0]]
    assert ids[0] == ids[1] != ids[2]
    assert ids[3] is None
    assert not {"x", "y"} & set(ids)
    assert ids[0] != read(path, speaker_salt="other")[0][0].speaker.id


def test_the_first_listed_table_wins_and_gives_the_split(common_voice: Write) -> None:
    common_voice([{"path": "a.mp3"}], table="train")
    common_voice([{"path": "b.mp3"}], table="dev")
    path = common_voice([{"path": "b.mp3"}, {"path": "a.mp3"}, {"path": "c.mp3"}])
    candidates, rejections = read(path, tsv=["dev", "train", "validated"])
    found = [(row.audio_id[-1], row.corpus_split, row.extra["table"]) for row in candidates]
    assert found == [
        ("b", "validation", "dev"),
        ("a", "train", "train"),
        ("c", None, "validated"),
    ]
    assert [row.reason for row in rejections] == [Reason.DUPLICATE_ID] * 2
    assert rejections[0].row_id == "common_voice/17.0-2024-03-15/en/validated.tsv:2"


def test_one_clip_in_two_locales_is_no_duplicate(common_voice: Write) -> None:
    common_voice([{"path": "a.mp3"}], locale="en")
    path = common_voice([{"path": "a.mp3"}], locale="de")
    assert [row.language for row in read(path)[0]] == ["de", "en"]
    assert [row.language for row in read(path, locales=["en"])[0]] == ["en"]


def test_listed_durations_are_claims_of_the_candidates(common_voice: Write) -> None:
    path = common_voice([{"path": "a.mp3"}, {"path": "b.mp3"}])
    (path / "en" / "clip_durations.tsv").write_text("clip\tduration[ms]\na.mp3\t5184\ntorn\n")
    candidates, (rejection,) = read(path)
    assert [row.duration_s for row in candidates] == [5.184, None]
    assert rejection.reason is Reason.MALFORMED_ROW
    assert rejection.row_id.endswith("en/clip_durations.tsv:3")


def test_clips_without_an_ending_are_mp3(common_voice: Write) -> None:
    path = common_voice([{"path": "0a1b.2c"}], clips=["0a1b.2c.mp3"])
    (clip,), _ = read(path)
    assert clip.audio_path == "en/clips/0a1b.2c.mp3"
    assert clip.audio_id.endswith("/en/0a1b.2c")


@given(st.from_regex(r"([ab.]{1,3}/)*[ab.]*[ab]", fullmatch=True))
def test_the_path_of_a_clip_begins_with_its_stem(path: str) -> None:
    stem, file_name = clip_stem(path)
    assert file_name.startswith(stem)
    assert clip_stem(file_name) == (stem, file_name)


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ({"path": ""}, Reason.MALFORMED_ROW, "path must name a clip"),
        ({"path": "a\x1b.mp3"}, Reason.MALFORMED_ROW, "path must name a clip"),
        ({"path": "a .mp3"}, Reason.MALFORMED_ROW, "path must name a clip"),
        ({"path": "a.mp3", "up_votes": "two"}, Reason.MALFORMED_ROW, "up_votes must be a number"),
        ({"path": "a.mp3", "down_votes": ""}, Reason.MALFORMED_ROW, "down_votes must be a number"),
        (
            {"path": "a.mp3", "up_votes": "9" * 5_000},
            Reason.MALFORMED_ROW,
            "up_votes must be a number",
        ),
        ({"path": "a.mp3", "locale": "<b>"}, Reason.MALFORMED_ROW, "language tag"),
        ({"path": "gone.mp3"}, Reason.AUDIO_MISSING, "en/clips/gone.mp3 must be a file"),
        ({"path": "x" * 300 + ".mp3"}, Reason.AUDIO_MISSING, "must be a file"),
        ({"path": "d/" + "x" * 300 + ".mp3"}, Reason.AUDIO_MISSING, "must be a file"),
        ({"path": "folder.mp3"}, Reason.AUDIO_MISSING, "must be a file"),
        ({"path": "../validated.tsv"}, Reason.PATH_OUTSIDE_CORPUS, "must stay in the folder"),
        ({"path": "/etc/passwd"}, Reason.PATH_OUTSIDE_CORPUS, "must stay in the folder"),
        ({"path": "link.mp3"}, Reason.PATH_OUTSIDE_CORPUS, "must stay in the folder"),
        ({"path": "loop.mp3"}, Reason.AUDIO_MISSING, "must be a file"),
        ({"path": "a.mp3", "up_votes": "1"}, Reason.FEW_VOTES, "at least 2 votes for it, got 1"),
        ({"path": "a.mp3", "down_votes": "2"}, Reason.FEW_VOTES, "at most 1 votes against it"),
    ],
)
def test_a_row_that_cannot_be_used_is_rejected_and_the_next_one_read(
    common_voice: Write, row: dict[str, str], reason: Reason, detail: str
) -> None:
    path = common_voice([row, {"path": "good.mp3"}], clips=["a.mp3", "good.mp3"])
    clips = path / "en" / "clips"
    (clips / "folder.mp3").mkdir()
    (clips / "link.mp3").symlink_to(path / "en" / "validated.tsv")
    (clips / "loop.mp3").symlink_to("loop.mp3")
    (good,), (rejection,) = read(path, min_up_votes=2, max_down_votes=1)
    assert good.audio_id.endswith("/good")
    assert rejection.reason is reason
    assert rejection.step == "candidates"
    assert detail in rejection.detail


def test_a_torn_line_is_rejected_by_file_and_line(common_voice: Write) -> None:
    path = common_voice([{"path": "a.mp3"}])
    table = path / "en" / "validated.tsv"
    table.write_bytes(table.read_bytes() + b"f00d\ta.mp3\tHel\n" + b"\xff\xfe\x00\n")
    candidates, rejections = read(path)
    assert len(candidates) == 1
    assert [row.row_id for row in rejections] == [
        "common_voice/17.0-2024-03-15/en/validated.tsv:3",
        "common_voice/17.0-2024-03-15/en/validated.tsv:4",
    ]
    assert "en/validated.tsv line 3: a line must have 13 fields, got 3" in rejections[0].detail


def test_a_link_within_the_clips_is_read(common_voice: Write) -> None:
    path = common_voice([{"path": "a.mp3"}], clips=["b.mp3"])
    (path / "en" / "clips" / "a.mp3").symlink_to("b.mp3")
    assert len(read(path)[0]) == 1


def test_the_version_is_found_behind_a_link_or_set(common_voice: Write, tmp_path: Path) -> None:
    path = common_voice([{"path": "a.mp3"}])
    (tmp_path / "cv").symlink_to(path)
    assert read(tmp_path / "cv")[0][0].source.version == "17.0-2024-03-15"
    moved = path.rename(tmp_path / "mine")
    assert read(moved, version="17.0")[0][0].source.version == "17.0"
    with pytest.raises(CorpusError, match="else set `version`"):
        read(moved)


def test_votes_are_only_needed_where_they_are_filtered(common_voice: Write) -> None:
    path = common_voice([{"path": "a.mp3"}], columns=["client_id", "path", "sentence"])
    assert len(read(path)[0]) == 1
    with pytest.raises(CorpusError, match="missing: up_votes"):
        read(path, min_up_votes=1)
    with pytest.raises(CorpusError, match="missing: down_votes"):
        read(path, max_down_votes=1)


def test_a_wrong_folder_is_an_error_that_says_what_is_there(
    common_voice: Write, tmp_path: Path
) -> None:
    path = common_voice([{"path": "a.mp3"}])
    with pytest.raises(CorpusError, match="no such folder"):
        read(tmp_path / "cv-corpus-1")
    with pytest.raises(CorpusError, match="give the folder above it"):
        read(path / "en", version="1")
    with pytest.raises(CorpusError, match=r"found the folders: cv-corpus-17\.0-2024-03-15"):
        read(tmp_path, version="1")
    with pytest.raises(CorpusError, match="no locale de; it has: en"):
        read(path, locales=["de"])
    with pytest.raises(CorpusError, match=r"no table other\.tsv; it has: validated\.tsv"):
        read(path, tsv="other")


def test_a_table_without_a_needed_column_is_an_error_before_any_row(common_voice: Write) -> None:
    common_voice([{"path": "a.mp3"}], locale="de")
    path = common_voice([], locale="en", columns=["client_id", "path"])
    config = CommonVoiceConfig(kind="common_voice", path=path)
    with pytest.raises(CorpusError, match=r"validated\.tsv: line 1 .* missing: sentence"):
        read_corpus(config, entry=0, speaker_salt="")


def test_a_missing_or_linked_folder_of_clips_is_an_error(
    common_voice: Write, tmp_path: Path
) -> None:
    path = common_voice([{"path": "a.mp3"}])
    (path / "en" / "clips").rename(tmp_path / "clips")
    with pytest.raises(CorpusError, match="must hold the folder clips"):
        read(path)
    (path / "en" / "clips").symlink_to(tmp_path / "clips")
    with pytest.raises(CorpusError, match="is a link that leaves the corpus folder"):
        read(path)


def test_a_table_that_is_a_loop_of_links_is_no_table(common_voice: Write) -> None:
    path = common_voice([{"path": "a.mp3"}])
    (path / "en" / "dev.tsv").symlink_to("dev.tsv")
    with pytest.raises(CorpusError, match=r"no table dev\.tsv; it has: validated\.tsv"):
        read(path, tsv="dev")


@pytest.mark.real_speech
def test_real_common_voice_is_read_whole(real_speech: Path) -> None:
    path = real_speech / "common_voice" / "cv-corpus-6.1-2020-12-11"
    candidates, rejections = read(path)
    assert (len(candidates), rejections) == (276, [])
    counts = Counter(row.language for row in candidates)
    assert (counts["en"], counts["de"], counts["th"], len(counts)) == (100, 20, 6, 16)
    assert {row.source.version for row in candidates} == {"6.1-2020-12-11"}
    assert all((path / row.audio_path).is_file() for row in candidates)


def split_by_locale(table: Path, folder: Path) -> Iterator[tuple[str, int]]:
    """Makes a release of the rows of a table, with empty clips; yields locale and rows."""
    with gzip.open(table, "rb") as content:
        header, *lines = content.read().splitlines(keepends=True)
    names = header.decode().rstrip("\r\n").split("\t")

    def locale_of(line: bytes) -> str:
        cells = line.decode().rstrip("\r\n").split("\t")
        return cells[names.index("locale")] if "locale" in names else "en"

    for locale, rows in itertools.groupby(sorted(lines, key=locale_of), key=locale_of):
        (folder / locale / "clips").mkdir(parents=True)
        kept = list(rows)
        (folder / locale / "validated.tsv").write_bytes(header + b"".join(kept))
        for row in kept:
            (folder / locale / "clips" / row.decode().split("\t")[1]).touch()
        yield locale, len(kept)


@pytest.mark.real_speech
@pytest.mark.parametrize(
    ("table", "num_rows", "num_locales"),
    [
        ("cv-corpus-6.1_59langs_100each_validated.tsv.gz", 5_734, 59),
        ("cv_ta_v8-style_invalidated.tsv.gz", 5_596, 1),
        ("artie-bias-corpus_en.tsv.gz", 1_712, 1),
    ],
)
def test_real_tables_of_each_layout_are_read_row_by_row(
    real_speech: Path, tmp_path: Path, table: str, num_rows: int, num_locales: int
) -> None:
    folder = tmp_path / "cv-corpus-0"
    counts = dict(split_by_locale(real_speech / "manifests" / "common_voice" / table, folder))
    assert (sum(counts.values()), len(counts)) == (num_rows, num_locales)
    candidates, rejections = read(folder)
    assert rejections == []
    assert Counter(row.language for row in candidates) == counts
    assert {row.speaker.gender for row in candidates} <= {None, "female", "male", "other"}
