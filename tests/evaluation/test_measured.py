"""What is measured beside answers is saved, and gives the same figures and page again."""

import json
import re
import shutil
from dataclasses import asdict, fields

import numpy as np
import pytest

from sllm_data.errors import ShardError
from sllm_data.evaluation.asking import Asking
from sllm_data.evaluation.attended import LOOKED_AT, Attended, attention_shares, read_attended
from sllm_data.evaluation.config import BootstrapConfig, EvaluationConfig
from sllm_data.evaluation.evaluating import evaluate, rescore
from sllm_data.evaluation.lines import write_lines
from sllm_data.evaluation.paired import PairedStates, read_states, write_states
from sllm_data.evaluation.timed import Timed, latencies, read_timed
from tests.evaluation.eval_dataset import write_dataset
from tests.evaluation.eval_models import write_model

CONFIG = EvaluationConfig(bootstrap=BootstrapConfig(resamples=100))
BY_LAYER = [field.name for field in fields(Attended)][2:]
FILES = ("counterfactuals.jsonl", "attention.jsonl", "states.safetensors", "latency.jsonl")


@pytest.fixture(scope="module")
def asking(tmp_path_factory):
    """Eight clips, so that there is a map of them; one row of each."""
    dataset = write_dataset(tmp_path_factory.mktemp("eight") / "dataset", parts=4)
    sides = ("speech", "cascade")
    return Asking(dataset=dataset, split="train", sides=sides, max_tokens=4, diagnose=8)


@pytest.fixture(scope="module")
def first(trained, asking, tmp_path_factory):
    """The folder of an evaluation that saw and timed all there is."""
    folder = tmp_path_factory.mktemp("measured")
    model = write_model(folder / "model", trained)
    texts = ("Anna sold a lamp.", "The ferry was late.")
    evaluate(model, asking, folder / "first", config=CONFIG, texts=texts)
    return folder / "first"


@pytest.fixture
def copied(first, tmp_path):
    """A copy of it that may be spoiled."""
    return shutil.copytree(first, tmp_path / "copied")


def _again(folder, output, **options):
    rescore(folder / "predictions.jsonl", output, config=CONFIG, **options)
    return output


def _figures(folder):
    return json.loads((folder / "evaluation.json").read_text())


def _told(folder, tmp_path):
    with pytest.raises(ShardError) as caught:
        _again(folder, tmp_path / "again")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_was_saved_gives_the_same_figures_pictures_and_page(first, asking, tmp_path):
    again = _again(first, tmp_path, dataset=asking.dataset)
    figures = [_figures(folder) for folder in (first, again)]
    for each in figures:  # what was asked, or what was read
        assert each.pop("facts")
    assert figures[0] == figures[1]
    assert set(figures[0]["diagnostics"]) == {"rows", "losses", "attention", "cka"}
    assert [each["rows"] for each in figures[0]["latency"]] == [1, 8]

    pictures = [{path.name for path in folder.glob("*.png")} for folder in (first, again)]
    assert pictures[0] == pictures[1]
    assert pictures[0] >= {"attention.png", "cka.png", "states.png", "latency.png"}
    for name in pictures[0]:
        assert (first / name).read_bytes() == (again / name).read_bytes(), name

    facts = re.compile("<dl>.*?</dl>", re.DOTALL)
    pages = [facts.sub("", (each / "index.html").read_text(), 1) for each in (first, again)]
    assert pages[0] == pages[1]


def test_the_figures_are_those_of_the_files(copied, tmp_path):
    before = _figures(copied)
    timed = read_timed(copied / "latency.jsonl", known=_Any())
    slower = [asdict(each) | {"seconds": 2 * each.seconds} for each in timed]
    write_lines(copied / "latency.jsonl", [Timed(**each) for each in slower])
    states = read_states(copied / "states.safetensors", known=_Any())
    alike = PairedStates(rows=states.rows, speech=states.speech, text=states.speech)
    write_states(copied / "states.safetensors", alike)
    seen = read_attended(copied / "attention.jsonl", known=_Any())
    bare = [asdict(each) | {"content": (0.0,) * 4} for each in seen]
    write_lines(copied / "attention.jsonl", [Attended(**each) for each in bare])

    found = _figures(_again(copied, tmp_path / "again"))

    for one, other in zip(before["latency"], found["latency"], strict=True):
        assert other["speech"] == [2 * each for each in one["speech"]]
    assert found["diagnostics"]["cka"] == pytest.approx([1.0] * 5)
    assert before["diagnostics"]["cka"] != found["diagnostics"]["cka"]
    assert found["diagnostics"]["attention"]["text"]["share"] == [1.0] * 4


class _Any:
    """All rows there may be."""

    def __contains__(self, row):
        return True


def test_an_evaluation_of_an_older_version_gives_the_figures_that_it_has(copied, tmp_path):
    for name in FILES[1:]:
        (copied / name).unlink()
    found = _figures(_again(copied, tmp_path / "again"))
    assert set(found["diagnostics"]) == {"rows", "losses"}
    assert "latency" not in found
    assert not {"attention.png", "cka.png", "states.png", "latency.png"} & {
        path.name for path in (tmp_path / "again").iterdir()
    }


@pytest.mark.parametrize("name", FILES[:3])
def test_one_missing_file_about_the_inside_is_told(copied, tmp_path, name):
    (copied / name).unlink()
    told = _told(copied, tmp_path)
    assert told.startswith(f"{copied / name}: must stand beside ")
    assert told.endswith("is missing; put it back, or remove them")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("attention.jsonl", "must be the JSON of one row that was looked into"),
        ("states.safetensors", "must hold the states of rows on speech and text, whole"),
        ("latency.jsonl", "must be the JSON of one timed request"),
    ],
)
@pytest.mark.parametrize("kept", [-30, 700])
def test_a_file_that_is_cut_is_told(copied, tmp_path, name, told, kept):
    path = copied / name
    path.write_bytes(path.read_bytes()[:kept])
    found = _told(copied, tmp_path)
    assert found.startswith(str(path))
    assert told in found


@pytest.mark.parametrize("name", ["attention.jsonl", "latency.jsonl"])
def test_lines_that_are_missing_are_told(copied, tmp_path, name):
    path = copied / name
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert "the file is cut, evaluate again" in _told(copied, tmp_path)


@pytest.mark.parametrize("name", FILES[1:])
def test_a_file_of_another_evaluation_is_told(copied, tmp_path, name):
    path = copied / name
    known = b"%032d" % 5
    assert known in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(known, b"xxx" + known[3:]))
    told = _told(copied, tmp_path)
    assert told.startswith(str(path))
    assert "must be of a row of the predictions beside it, 'xxx" in told


def test_files_of_two_evaluations_are_told(copied, tmp_path):
    path = copied / "attention.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    row = json.loads(lines[0])["row"]
    path.write_text("".join(line for line in lines if json.loads(line)["row"] != row))
    assert f"must be of the rows of counterfactuals.jsonl, they differ in {row}" in _told(
        copied, tmp_path
    )


def _attended(**changed):
    values = {
        "row": "a",
        "side": "speech",
        **dict.fromkeys(("instruction", "content", "sink"), (0.25, 0.25)),
        **dict.fromkeys(("instruction_saliency", "content_saliency"), (1.0, 0.0)),
        **dict.fromkeys(("instruction_places", "content_places"), (2, 3)),
    }
    return Attended(**values | changed)


def _timed(**changed):
    values = {
        "rows": ("a", "b"),
        "audio_seconds": 3.0,
        "transcriber": "ears",
        "side": "speech",
        "tokens": 4,
        "seconds": 0.5,
    }
    return Timed(**values | changed)


def _states(**changed):
    values = {
        "rows": ("a", "b"),
        "speech": np.ones((3, 2, 4), np.float32),
        "text": np.zeros((3, 2, 4), np.float32),
    }
    return PairedStates(**values | changed)


def test_what_is_saved_comes_back_to_the_bit(tmp_path):
    attended = [_attended(side=side, sink=(1 / 3, 1e-300)) for side in LOOKED_AT]
    timed = [_timed(side=side, seconds=1 / 3) for side in ("speech", "cascade")]
    states = _states(speech=np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32))
    write_lines(tmp_path / "attended", attended)
    write_lines(tmp_path / "timed", timed)
    write_states(tmp_path / "states", states)
    assert read_attended(tmp_path / "attended", known="a") == attended
    assert read_timed(tmp_path / "timed", known="ab") == timed
    found = read_states(tmp_path / "states", known="ab")
    assert found.rows == states.rows
    assert np.array_equal(found.speech, states.speech)
    assert np.array_equal(found.text, states.text)


def test_shares_are_taken_row_by_row_and_then_averaged():
    rows = [
        _attended(instruction=(0.1, 0.1), content=(0.3, 0.1), content_places=(4, 3)),
        _attended(row="b", instruction=(0.4, 0.0), content=(0.4, 0.0), content_places=(4, 0)),
    ]
    found = attention_shares(rows)["speech"]
    assert found.rows == 2
    assert found.share == pytest.approx([(0.25 + 0.5) / 2, 0.5])
    by_length = (0.05 / (0.05 + 0.075) + 0.2 / (0.2 + 0.1)) / 2  # of two places and four
    assert found.share_by_length == pytest.approx([by_length, 0.5])
    assert found.saliency_share == pytest.approx([0.5, 0.5])


def test_a_curve_is_made_of_the_medians_of_each_batch():
    seconds = {("speech", 1): (3, 1, 2), ("cascade", 1): (5, 4, 9), ("speech", 4): (7, 7, 8)}
    timed = [
        _timed(side=side, tokens=tokens, seconds=float(each))
        for (side, tokens), found in (seconds | {("cascade", 4): (1, 14, 14)}).items()
        for each in found
    ]
    alone = [_timed(rows=("a",), side=side) for side in ("cascade", "speech")]
    both, one = latencies([*timed, *alone])
    assert (both.rows, one.rows) == (2, 1)
    assert (both.lengths, both.speech, both.cascade) == ((1, 4), (2, 7), (5, 14))
    assert both.ratios == (2.5, 2)


@pytest.mark.parametrize(
    ("make", "changed", "told"),
    [
        (_attended, {"side": "cascade"}, "side must be one of speech, text, backbone"),
        (_attended, {"sink": (0.5,)}, "must have a number for each layer"),
        (_attended, {"content": (0.5, float("nan"))}, "must be finite and 0 or more"),
        (_timed, {"side": "text"}, "side must be one of speech, cascade"),
        (_timed, {"rows": ()}, "rows and tokens must be 1 or more"),
        (_timed, {"seconds": 0.0}, "seconds must be finite and above 0"),
        (_timed, {"audio_seconds": -1.0}, "audio_seconds must be finite, 0 or more"),
        (_states, {"text": np.zeros((3, 1, 4), np.float32)}, "must have one shape"),
        (_states, {"rows": ("a", "a")}, "must be a row for each of 2 states, got 1"),
        (_states, {"text": np.full((3, 2, 4), np.nan, np.float32)}, "text must be finite"),
        (_states, {"text": np.zeros((3, 2, 4))}, "text must be finite and float32, got float64"),
    ],
)
def test_what_can_not_be_is_refused(make, changed, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        make(**changed)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([_attended(), _attended()], "line 2: each row must stand once for each side, a of side"),
        (
            [_attended(), _attended(side="text", **dict.fromkeys(BY_LAYER, (1,)))],
            "line 2: must have the 2 layers of the first line, has 1",
        ),
        ([], "must hold rows that were looked into, holds none"),
        ([_attended(row="c")], "line 1: must be of a row of the predictions beside it, 'c'"),
    ],
)
def test_rows_that_do_not_fit_together_are_told(tmp_path, lines, told):
    write_lines(tmp_path / "attention.jsonl", lines)
    with pytest.raises(ShardError, match=re.escape(told)):
        read_attended(tmp_path / "attention.jsonl", known="ab")


def test_a_file_of_no_timed_request_is_told(tmp_path):
    write_lines(tmp_path / "latency.jsonl", [])
    with pytest.raises(ShardError, match="must hold timed requests, holds none; remove it"):
        read_timed(tmp_path / "latency.jsonl", known="a")


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"{}", b"\x02" + b"\x00" * 7 + b"{}"])
def test_what_is_no_file_of_states_is_told(tmp_path, content):
    (tmp_path / "states").write_bytes(content)
    with pytest.raises(ShardError, match="must hold the states of rows on speech and text"):
        read_states(tmp_path / "states", known="a")
