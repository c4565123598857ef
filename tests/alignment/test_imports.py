"""Word times from files: what each form says, and what is said of a file that is wrong."""

from pathlib import Path

import pytest

from sllm_data.alignment.imports import ImportedWords, collect_word_times
from sllm_data.alignment.timing import NotAlignedError
from sllm_data.errors import CorpusError
from sllm_data.records import Reason

CONDENSED = '84-1-0000 ",GO,,DO," "0.490,0.890,1.270,1.380,1.5"\n84-1-0001 "A" "0.5"\n'

GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2
tiers? <exists>
size = {size}
item []:
{tiers}"""
TIER = """    item [{number}]:
        class = "IntervalTier"
        name = "{name}"
        xmin = 0
        xmax = 2
        intervals: size = {size}
{intervals}"""
INTERVAL = """        intervals [{number}]:
            xmin = {start}
            xmax = {end}
            text = "{text}"
"""


def grid(**tiers: list[tuple[float, float, str]]) -> str:
    written = ""
    for number, (name, entries) in enumerate(tiers.items(), start=1):
        intervals = "".join(
            INTERVAL.format(number=k, start=start, end=end, text=text)
            for k, (start, end, text) in enumerate(entries, start=1)
        )
        written += TIER.format(number=number, name=name, size=len(entries), intervals=intervals)
    return GRID.format(size=len(tiers), tiers=written)


def collected(tmp_path: Path, *, tier: str | None = None, **files: str) -> ImportedWords:
    folder = tmp_path / "times"
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("__", "-").replace("_", ".")).write_text(text, encoding="utf-8")
    collect_word_times(folder, tmp_path / "times.sqlite", tier=tier)
    return ImportedWords(tmp_path / "times.sqlite")


def found(words: ImportedWords, *names: str) -> list[tuple[str, float, float, float | None]]:
    return [
        (w.text, w.timing.start_s, w.timing.end_s, w.timing.confidence)
        for w in words.find(*names) or ()
    ]


def test_condensed_words_begin_where_the_one_before_ends(tmp_path):
    words = collected(tmp_path, **{"84__1_alignment_txt": CONDENSED})
    assert found(words, "84-1-0000") == [("GO", 0.49, 0.89, None), ("DO", 1.27, 1.38, None)]
    assert found(words, "84-1-0001") == [("A", 0.0, 0.5, None)]
    assert words.find("84-1-0002") is None


def test_a_textgrid_is_found_by_its_name_and_read_by_its_tier_of_words(tmp_path):
    text = grid(
        phones=[(0, 0.4, "G"), (0.4, 2, "OW")],
        words=[(0, 0.2, ""), (0.2, 1, "go"), (1, 2, "on")],
    )
    words = collected(tmp_path, u1_TextGrid=text)
    assert found(words, "u1") == [("go", 0.2, 1.0, None), ("on", 1.0, 2.0, None)]


def test_another_tier_can_be_named(tmp_path):
    text = grid(words=[(0, 1, "no")], MAU=[(0, 1, "yes")])
    assert found(collected(tmp_path, tier="MAU", u1_TextGrid=text), "u1")[0][0] == "yes"


def test_a_ctm_may_be_in_any_order_and_hold_confidences(tmp_path):
    text = (
        ";; by hand\nb.wav 1 0.5 0.2 two NA\na 1 0.1 0.2 one 0.98 lex x\n"
        "b.wav A 0.1 0.3 one 0.50\n\n"
    )
    words = collected(tmp_path, all_ctm=text)
    assert found(words, "a") == [("one", 0.1, pytest.approx(0.3), 0.98)]
    assert [row[::3] for row in found(words, "b")] == [("one", 0.5), ("two", None)]


def test_the_first_name_that_is_known_counts(tmp_path):
    words = collected(tmp_path, u1_TextGrid=grid(words=[(0, 1, "a")]))
    assert found(words, "folder/u1", "u1")[0][0] == "a"


@pytest.mark.parametrize(
    ("file", "text", "name", "detail"),
    [
        ("a_alignment_txt", 'u1 "A,B" "0.5"\n', "u1", "an end for each word"),
        ("a_alignment_txt", "u1 A B\n", "u1", "in quotation marks"),
        ("a_alignment_txt", 'u1 "A" "soon"\n', "u1", "could not convert"),
        ("a_ctm", "u1 1 0.5 word\n", "u1", "has 4"),
        ("a_ctm", "u1 1 0.5 x word\n", "u1", "could not convert"),
        ("a_ctm", "u1 1 0.5 0.1 word 7\n", "u1", r"confidence in \[0, 1\]"),
        ("u1_TextGrid", "hello", "u1", "must be a TextGrid"),
        ("u1_TextGrid", grid(words=[(0, "inf", "a")]), "u1", "must"),
        ("u1_TextGrid", grid(words=[(0, 1.2, "a"), (1, 2, "b")]), "u1", "overlap"),
        ("u1_TextGrid", grid(a=[(0, 1, "a")], b=[(1, 2, "b")]), "u1", "its tiers are: a, b"),
    ],
)
def test_an_utterance_with_unreadable_times_is_told_with_its_file(
    tmp_path, file, text, name, detail
):
    words = collected(tmp_path, **{file: text})
    with pytest.raises(NotAlignedError, match=detail) as caught:
        words.find(name)
    assert caught.value.reason is Reason.BAD_WORD_TIMES
    assert file.split("_")[0] in caught.value.detail


def test_one_bad_line_costs_one_utterance(tmp_path):
    words = collected(tmp_path, a_alignment_txt=CONDENSED + "84-1-0002 torn\n")
    assert len(found(words, "84-1-0000")) == 2
    with pytest.raises(NotAlignedError, match=r"a\.alignment\.txt:3"):
        words.find("84-1-0002")


def test_an_utterance_in_two_files_is_no_choice_of_ours(tmp_path):
    words = collected(tmp_path, a_ctm="u1 1 0 1 one\n", b_ctm="u1 1 0 1 two\n")
    with pytest.raises(NotAlignedError, match=r"in .*b\.ctm as well"):
        words.find("u1")


def test_a_line_without_a_name_is_an_error_with_its_place(tmp_path):
    with pytest.raises(CorpusError, match=r"a\.ctm:2: must begin with the name"):
        collected(tmp_path, a_ctm="u1 1 0 1 one\nlost\n")


def test_a_folder_without_word_times_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(CorpusError, match="found none"):
        collect_word_times(tmp_path, tmp_path / "db", tier=None)
    with pytest.raises(CorpusError, match="no such path"):
        collect_word_times(tmp_path / "nowhere", tmp_path / "db", tier=None)
    assert not (tmp_path / "db").exists()


def test_text_that_is_not_utf8_is_an_error(tmp_path):
    (tmp_path / "a.ctm").write_bytes(b"u1 1 0 1 \xff\n")
    with pytest.raises(CorpusError, match="must be UTF-8"):
        collect_word_times(tmp_path, tmp_path / "db", tier=None)
