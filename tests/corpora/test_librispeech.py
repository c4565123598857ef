import gzip
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sllm_data.corpora.config import LibriSpeechConfig
from sllm_data.corpora.librispeech import read_librispeech
from sllm_data.errors import CorpusError
from sllm_data.records import Candidate, Reason, Rejection

Write = Callable[[Mapping[str, bytes | str]], Path]

CHAPTER = {
    "train-clean-100/19/198/19-198.trans.txt": "19-198-0000 ONE DAY\n19-198-0001 TWO\n",
    "train-clean-100/19/198/19-198-0000.flac": "",
    "train-clean-100/19/198/19-198-0001.flac": "",
}


def read(
    path: Path, *subsets: str, name: str | None = None
) -> tuple[list[Candidate], list[Rejection]]:
    config = LibriSpeechConfig(kind="librispeech", path=path, subsets=subsets, name=name)
    rows = list(read_librispeech(config, entry=3))
    candidates = [row for row in rows if isinstance(row, Candidate)]
    return candidates, [row for row in rows if isinstance(row, Rejection)]


def test_an_utterance_has_its_text_its_place_and_its_terms(librispeech: Write) -> None:
    candidates, rejections = read(librispeech(CHAPTER))
    assert rejections == []
    first = candidates[0]
    assert first.audio_id == "librispeech/slr12/train-clean-100/19-198-0000"
    assert first.audio_path == "train-clean-100/19/198/19-198-0000.flac"
    assert (first.transcript, first.language, first.entry) == ("ONE DAY", "en", 3)
    assert (first.speaker.id, first.speaker.gender) == ("19", None)
    assert first.source.licence == "CC-BY-4.0"
    assert first.extra == {"subset": "train-clean-100", "chapter_id": "198"}


def test_the_folder_above_librispeech_reads_the_same(librispeech: Write) -> None:
    root = librispeech(CHAPTER)
    assert read(root.parent) == read(root)


def test_tables_add_sex_chapter_and_book(librispeech: Write) -> None:
    tables = {
        "SPEAKERS.TXT": "; comment\n19   | F | train-clean-100  | 25.19 | |CBW|Kara\n",
        "CHAPTERS.TXT": ";x\n198 | 19 | 8.42 | train-clean-100 | 219 | 121 | A | B | Old Title\n",
        "BOOKS.TXT": b"; x\n121 | Northanger Abbey | Jane Aust\xe9n\n7\n",
    }
    first = read(librispeech({**CHAPTER, **tables}))[0][0]
    assert first.speaker.gender == "female"
    assert first.extra == {
        "subset": "train-clean-100",
        "chapter_id": "198",
        "chapter_title": "A | B",
        "book_id": "121",
        "book_title": "Northanger Abbey",
    }


def test_the_title_of_a_book_comes_from_the_chapters_where_books_are_missing(
    librispeech: Write,
) -> None:
    chapters = "198 | 19 | 8.42 | train-clean-100 | 219 | 121 | Chapter 01 | Northanger Abbey\n"
    first = read(librispeech({**CHAPTER, "CHAPTERS.TXT": chapters}))[0][0]
    assert first.extra["book_title"] == "Northanger Abbey"


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("SPEAKERS.TXT", "19 | F | train-clean-100"),
        ("SPEAKERS.TXT", "19 | X | train-clean-100 | 25.19 | Kara"),
        ("CHAPTERS.TXT", "198 | 19 | 8.42"),
        ("CHAPTERS.TXT", "198 | 19 | 8.42 | train-clean-100 | 219 | 121 | one title"),
    ],
)
def test_a_malformed_table_is_an_error_with_its_line(
    librispeech: Write, table: str, line: str
) -> None:
    with pytest.raises(CorpusError, match=rf"{table}: line 2 must be `id"):
        read(librispeech({**CHAPTER, table: f"; comment\n{line}\n"}))


@pytest.mark.parametrize(
    ("subset", "split"),
    [
        ("train-other-500", "train"),
        ("dev-clean-2", "validation"),
        ("test-other", "test"),
        ("mine", None),
    ],
)
def test_the_split_follows_from_the_subset(
    librispeech: Write, subset: str, split: str | None
) -> None:
    root = librispeech({f"{subset}/1/2/1-2.trans.txt": "1-2-0 A\n", f"{subset}/1/2/1-2-0.mp3": ""})
    assert [row.corpus_split for row in read(root)[0]] == [split]


def test_another_name_and_the_version_begin_the_audio_id(librispeech: Write) -> None:
    candidates, _ = read(librispeech(CHAPTER), name="mini")
    assert candidates[0].audio_id.startswith("mini/slr12/train-clean-100/")
    assert candidates[0].source.corpus == "mini"


def test_a_line_without_audio_and_audio_without_a_line_are_rejected(librispeech: Write) -> None:
    root = librispeech(
        {
            "dev-clean/1/2/1-2.trans.txt": "1-2-0000 A\n1-2-0001 B\n",
            "dev-clean/1/2/1-2-0001.flac": "",
            "dev-clean/1/2/1-2-0002.flac": "",
            "dev-clean/1/3/1-3-0000.flac": "",
        }
    )
    candidates, rejections = read(root)
    assert [row.audio_id for row in candidates] == ["librispeech/slr12/dev-clean/1-2-0001"]
    assert {str(row.audio_id).split("/")[-1]: row.reason for row in rejections} == {
        "1-2-0000": Reason.AUDIO_MISSING,
        "1-2-0002": Reason.TRANSCRIPT_MISSING,
        "1-3-0000": Reason.TRANSCRIPT_MISSING,
    }


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1-2-0000 \xff", Reason.MALFORMED_ROW),
        (b"1-2-0000 A\x00B", Reason.MALFORMED_ROW),
        (b"9-9-0000 OTHER CHAPTER", Reason.MALFORMED_ROW),
        (b"1-2-0\x1b0 A", Reason.MALFORMED_ROW),
        (b"1-2-0001 AGAIN", Reason.DUPLICATE_ID),
        (b"1-2-../../../x A", Reason.AUDIO_MISSING),
    ],
)
def test_a_bad_line_is_rejected_with_its_place_and_the_others_are_read(
    librispeech: Write, line: bytes, reason: Reason
) -> None:
    root = librispeech(
        {
            "dev-clean/1/2/1-2.trans.txt": b"1-2-0001 GOOD\n\n" + line + b"\n",
            "dev-clean/1/2/1-2-0001.flac": "",
        }
    )
    candidates, (rejection,) = read(root)
    assert [row.transcript for row in candidates] == ["GOOD"]
    assert rejection.reason is reason
    assert "1-2.trans.txt:3" in rejection.row_id + rejection.detail


def test_a_line_with_an_id_alone_is_an_utterance_without_text(librispeech: Write) -> None:
    root = librispeech({"dev-clean/1/2/a.trans.txt": "1-2-0\n", "dev-clean/1/2/1-2-0.WAV": ""})
    assert [(row.transcript, row.audio_path) for row in read(root)[0]] == [
        ("", "dev-clean/1/2/1-2-0.WAV")
    ]


def test_of_one_utterance_in_two_formats_flac_is_read_and_the_other_rejected(
    librispeech: Write,
) -> None:
    root = librispeech({**CHAPTER, "train-clean-100/19/198/19-198-0001.mp3": ""})
    candidates, (rejection,) = read(root)
    assert {Path(row.audio_path).suffix for row in candidates} == {".flac"}
    assert rejection.reason is Reason.DUPLICATE_ID
    assert rejection.row_id == "librispeech/slr12/train-clean-100/19/198/19-198-0001.mp3"


def test_a_folder_in_place_of_audio_is_missing_audio(librispeech: Write) -> None:
    root = librispeech({"dev-clean/1/2/1-2.trans.txt": "1-2-0 A\n"})
    (root / "dev-clean/1/2/1-2-0.flac").mkdir()
    assert [row.reason for row in read(root)[1]] == [Reason.AUDIO_MISSING]


def test_loops_of_links_are_missing_audio_and_no_folders(librispeech: Write) -> None:
    root = librispeech(CHAPTER)
    (root / "loop").symlink_to("loop")
    clip = root / "train-clean-100/19/198/19-198-0001.flac"
    clip.unlink()
    clip.symlink_to(clip.name)
    assert [row.reason for row in read(root)[1]] == [Reason.AUDIO_MISSING]


def test_audio_behind_a_link_out_of_the_corpus_is_rejected(
    librispeech: Write, tmp_path: Path
) -> None:
    root = librispeech(CHAPTER)
    (tmp_path / "secret.flac").touch()
    clip = root / "train-clean-100/19/198/19-198-0001.flac"
    clip.unlink()
    clip.symlink_to(tmp_path / "secret.flac")
    assert [row.reason for row in read(root)[1]] == [Reason.PATH_OUTSIDE_CORPUS]


def test_audio_behind_a_link_within_the_corpus_is_read(librispeech: Write) -> None:
    root = librispeech({**CHAPTER, "store/clip.flac": ""})
    clip = root / "train-clean-100/19/198/19-198-0001.flac"
    clip.unlink()
    clip.symlink_to(root / "store/clip.flac")
    assert len(read(root)[0]) == 2


def test_a_subset_that_is_a_link_out_of_the_corpus_is_an_error(
    librispeech: Write, tmp_path: Path
) -> None:
    root = librispeech(CHAPTER)
    (tmp_path / "elsewhere").mkdir()
    (root / "train-clean-100").rename(tmp_path / "elsewhere" / "a")
    (root / "train-clean-100").symlink_to(tmp_path / "elsewhere" / "a")
    with pytest.raises(CorpusError, match="is a link that leaves the corpus folder"):
        read(root)


def test_names_that_are_no_text_are_rejected_as_text(librispeech: Write) -> None:
    root = librispeech(CHAPTER)
    (
        root / "train-clean-100/19/198" / b"19-198-\xff.flac".decode("utf-8", "surrogateescape")
    ).touch()
    _, (rejection,) = read(root)
    assert (rejection.row_id + rejection.detail).encode().isascii()


def test_hidden_folders_and_folders_without_chapters_are_no_subsets(librispeech: Write) -> None:
    root = librispeech({**CHAPTER, ".cache/1/2/1-2.trans.txt": "1-2-0 A\n", "intro/1/2/x.txt": ""})
    assert len(read(root)[0]) == 2


@pytest.mark.parametrize(
    ("files", "subsets", "message"),
    [
        ({}, (), "no such folder"),
        ({"intro/x.txt": ""}, (), "has none; found the folders: intro"),
        (CHAPTER, ("dev-clean",), "no subset dev-clean; it has: train-clean-100"),
    ],
)
def test_a_wrong_folder_or_subset_is_an_error_that_names_what_is_there(
    librispeech: Write, files: dict[str, str], subsets: tuple[str, ...], message: str
) -> None:
    with pytest.raises(CorpusError, match=message):
        read(librispeech(files), *subsets)


@pytest.mark.real_speech
def test_real_librispeech_is_read_whole(real_speech: Path) -> None:
    candidates, rejections = read(real_speech / "librispeech")
    assert (len(candidates), rejections) == (76, [])
    assert len({row.audio_id for row in candidates}) == 76
    assert {row.speaker.gender for row in candidates} == {"female", "male"}
    assert all(row.extra["book_title"] and row.transcript.isupper() for row in candidates)
    assert read(real_speech / "librispeech", "train-clean-5", "dev-clean")[0] == [
        row
        for subset in ("train-clean-5", "dev-clean")
        for row in candidates
        if row.extra["subset"] == subset
    ]


@pytest.mark.real_speech
def test_a_subset_of_real_size_without_its_audio_is_read_line_by_line(
    real_speech: Path, librispeech: Write
) -> None:
    with gzip.open(real_speech / "manifests/librispeech/dev-clean.tsv.gz", "rt") as table:
        header, *lines = (line.rstrip("\n").split("\t") for line in table)
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    files: dict[str, str] = {}
    for row in rows:
        speaker, chapter, _ = row["id"].split("-")
        name = f"dev-clean/{speaker}/{chapter}/{speaker}-{chapter}.trans.txt"
        files[name] = files.get(name, "") + f"{row['id']} {row['text']}\n"
    candidates, rejections = read(librispeech(files))
    assert candidates == []
    assert {str(row.audio_id).split("/")[-1] for row in rejections} == {row["id"] for row in rows}
    assert {row.reason for row in rejections} == {Reason.AUDIO_MISSING}
