"""What a training cost on plain text."""

import pytest

from sllm_data.errors import CorpusError
from sllm_data.evaluation.config import BootstrapConfig
from sllm_data.evaluation.forced import Retention, retention_of
from sllm_data.evaluation.retention import read_texts, retention
from sllm_data.testbed.events import endless_stories
from sllm_data.trainer.trained import Trained

CONFIG = BootstrapConfig()


@pytest.fixture(scope="module")
def texts():
    stories = endless_stories(seed=5, half="test", num_events=2)
    return [next(stories).text for _ in range(12)]


def _cost(trained: Trained, texts: list[str], **options: int) -> Retention:
    found = retention_of(retention(trained, texts, **options), CONFIG)
    assert found is not None
    return found


def test_an_llm_that_moved_is_compared_with_what_it_was(new_trained, texts):
    moved, still = (_cost(new_trained(mode), texts) for mode in ("lora", "frozen"))
    assert moved.texts == still.texts == 12
    assert moved.backbone.value == pytest.approx(still.trained.value)
    assert moved.added.value != 0
    assert moved.trained.value - moved.backbone.value == pytest.approx(moved.added.value)
    assert still.added.value == 0


def test_how_texts_are_packed_does_not_matter(trained, texts):
    at_once = _cost(trained, texts)
    one_by_one = _cost(trained, texts, budget=1)
    assert one_by_one.trained.value == pytest.approx(at_once.trained.value, rel=1e-5)
    assert one_by_one.tokens == at_once.tokens


def test_texts_stand_one_a_line_or_in_json(tmp_path):
    plain, lines = tmp_path / "a.txt", tmp_path / "a.jsonl"
    plain.write_text("one text\n\nanother\r\n", encoding="utf-8")
    lines.write_text('{"text": "one text"}\n{"text": "another", "id": 3}\n', encoding="utf-8")
    assert read_texts(plain) == read_texts(lines) == ["one text", "another"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "must hold a text on each line, holds none"),
        ("a.txt", b"fine\n\xff\n", "line 2: must be UTF-8"),
        ("a.jsonl", b'{"text": "a"}\n{"words": "b"}\n', "line 2: must be UTF-8, and JSON with"),
        ("a.jsonl", b'{"text": 3}\n', "line 1: text must be a string, got int"),
        ("a.jsonl", b"[" * 100_000, "line 1: must be UTF-8, and JSON"),
    ],
)
def test_a_broken_file_of_texts_is_named_to_the_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        read_texts(tmp_path / name)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"none\.txt: must be a file of texts"):
        read_texts(tmp_path / "none.txt")


def test_texts_too_short_to_predict_anything_are_refused(trained):
    with pytest.raises(CorpusError, match="must have 2 tokens or more, none of 1 has"):
        retention(trained, [""])
