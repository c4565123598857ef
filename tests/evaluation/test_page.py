"""The folder that people look at: JSON, pictures, and one page that asks nobody for anything."""

import base64
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from sllm_data.errors import ShardError
from sllm_data.evaluation.bootstrap import Estimate
from sllm_data.evaluation.diagnostics import Diagnostics, map_plot
from sllm_data.evaluation.forced import Retention
from sllm_data.evaluation.page import Evaluated, page
from sllm_data.evaluation.paired import PairedStates
from sllm_data.evaluation.plots import bars
from sllm_data.evaluation.predictions import Prediction
from sllm_data.evaluation.rows import chosen_rows
from sllm_data.evaluation.tables import tabulate
from sllm_data.evaluation.timed import Latency
from sllm_data.evaluation.writing import write_evaluation
from tests.evaluation.eval_rows import CONFIG, SENTENCE, answer

HOSTILE = "</script><script src=//x.example>alert(1)</script> {title} & \"' \u202e\n$x^"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def _evaluated(predictions: list[Prediction], dataset: Path | None = None) -> Evaluated:
    return Evaluated(
        predictions=predictions,
        config=CONFIG,
        report=tabulate(predictions, CONFIG),
        facts={"dataset": HOSTILE},
        dataset=dataset,
    )


def _hostile() -> list[Prediction]:
    texts = dict.fromkeys(
        ("task", "task_params", "reference", "transcript", "instruction_id", "model"), HOSTILE
    )
    return [
        answer(HOSTILE, sample_id=f"{HOSTILE}{number}", side=side, **texts)
        for number in range(2)
        for side in ("speech", "text")
    ]


def _tags(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Tags()
    parser.feed(text)
    return parser.tags


def test_what_others_wrote_is_never_markup(tmp_path):
    write_evaluation(_evaluated(_hostile()), tmp_path, num_examples=2)
    text = (tmp_path / "index.html").read_text()
    assert not {"script", "x"} & {tag for tag, _ in _tags(text)}
    assert "&lt;/script&gt;" in text


def test_the_page_asks_nobody_for_anything(tmp_path):
    write_evaluation(_evaluated(_hostile()), tmp_path, num_examples=2)
    sources = [
        attributes[name]
        for _, attributes in _tags((tmp_path / "index.html").read_text())
        for name in ("src", "href", "action")
        if name in attributes
    ]
    assert sources
    assert all(str(source).startswith("data:") for source in sources)


def test_the_folder_holds_json_and_pictures_of_what_there_is(tmp_path):
    rows = [
        answer(side=side, sample_id=str(k), task="summary", reference="x", nll=1.0, nll_tokens=2)
        for side in ("speech", "text")
        for k in range(3)
    ]
    files = write_evaluation(_evaluated(rows), tmp_path / "out", num_examples=1)
    names = [path.name for path in files]
    assert names == [
        "evaluation.json",
        "scores.png",
        "following.png",
        "anchor.png",
        "nll_gap.png",
        "index.html",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files if path.suffix == ".png")
    document = json.loads(files[0].read_text())
    assert document["groups"][0]["anchor"]["value"] == 1
    assert document["config"]["anchor"]["max_copy_rate"] == 0.8
    assert document["facts"] == {"dataset": HOSTILE}


def test_time_plain_text_and_the_map_of_states_stand_on_the_page(tmp_path):
    chance = np.random.default_rng(0)
    states = PairedStates(
        rows=tuple("abcdefgh"),
        speech=chance.normal(size=(2, 8, 4)).astype(np.float32),
        text=chance.normal(size=(2, 8, 4)).astype(np.float32),
    )
    seen = Diagnostics(
        attention={},
        similarity=[0.5, None],
        plots={"states": map_plot(states, seed=0)},
    )
    latency = Latency(
        rows=4,
        audio_seconds=12.5,
        transcriber="<ctc>",
        lengths=(1, 16),
        speech=(0.5, 1.0),
        cascade=(1.0, 1.25),
    )
    values = {"trained": 2.5, "backbone": 2.0, "added": 0.5}
    retention = Retention(
        texts=3,
        tokens=1200,
        **{name: Estimate(value=value, rows=3) for name, value in values.items()},
    )
    evaluated = replace(
        _evaluated([answer()]),
        diagnostics=seen,
        losses={"as it is": Estimate(value=1.5, rows=8), "silence": Estimate(value=0.75, rows=8)},
        latency=[latency],
        retention=retention,
    )
    write_evaluation(evaluated, tmp_path, num_examples=0)
    text = (tmp_path / "index.html").read_text()
    shown = {tags["alt"]: tags["src"] for tag, tags in _tags(text) if tag == "img"}
    for name in ("latency", "states"):
        content = (tmp_path / f"{name}.png").read_bytes()
        assert base64.b64decode(shown[name].partition("base64,")[2]) == content
    for line in (
        ("1", "0.500", "1.000", "2.00"),
        ("16", "1.000", "1.250", "1.25"),
        *((name, f"{value:.3f}") for name, value in values.items()),
        ("as it is", "1.500", "8"),
        ("silence", "0.750", "8"),
    ):
        assert f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" in text
    assert "4 rows with 12.5 s of speech at once; transcriber: &lt;ctc&gt;" in text
    assert "over 3 texts of 1,200 tokens" in text
    document = json.loads((tmp_path / "evaluation.json").read_text())
    assert document["latency"][0]["cascade"] == [1.0, 1.25]
    assert document["retention"]["added"]["value"] == 0.5
    assert document["diagnostics"]["cka"] == [0.5, None]


def test_the_same_predictions_give_the_same_files(tmp_path):
    for name in "ab":
        write_evaluation(_evaluated(_hostile()), tmp_path / name, num_examples=1)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_picture_without_a_figure_is_not_drawn():
    assert bars("nothing", ["a"], {"speech": [None]}) is None


def test_answers_stand_beside_each_other_with_the_sound(dataset):
    rows, _ = chosen_rows(dataset, split="test", limit=1)
    predictions = [
        answer(
            said,
            sample_id=row.sample_id,
            side=side,
            task=row.task,
            reference=row.extra["response"],
            eval_group=row.extra["eval_group"],
            transcript=row.extra["transcript"],
        )
        for row in rows
        for side, said in (("speech", row.extra["transcript"]), ("text", row.extra["response"]))
    ]
    text = page(_evaluated(predictions, dataset), plots={}, num_examples=1)
    assert text.count("<article>") == len(rows) == 5
    assert text.count("<audio controls") == 5
    assert text.count('<div class="right"><h4>text') == 5
    assert "Is the speech positive, negative or neutral?" in text
    assert text.count('<div class="copied"><h4>speech') == 4  # a transcription may copy


def test_as_many_answers_are_shown_of_each_task_as_asked_for():
    rows = [
        answer(sample_id=f"{task}{number}", task=task)
        for task in ("who", "what")
        for number in range(4)
    ]
    for number in (0, 3):
        text = page(_evaluated(rows), plots={}, num_examples=number)
        assert text.count("<article>") == 2 * number
    assert SENTENCE in text


def test_a_clip_that_is_not_there_is_told(dataset, tmp_path):
    (row, *_), _ = chosen_rows(dataset, split="test", limit=1)
    (tmp_path / "samples").symlink_to(dataset / "samples")
    rows = [answer(sample_id=row.sample_id)]
    with pytest.raises(ShardError, match=r"audio/part-\d+.parquet: can't be read"):
        page(_evaluated(rows, tmp_path), plots={}, num_examples=1)
