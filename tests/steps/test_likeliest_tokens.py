"""The likeliest tokens of answers, from a server into rows: asked, reused, checked."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from planting import broken, change, judged, write_again
from steps_datasets import build, rows

from sllm_data.config import RunConfig
from tests.generation.conftest import Reply, ScriptedServer

Row = dict[str, Any]

SAMPLES = "samples/part-00000.parquet"


def _answer(_path: str, body: Row) -> Reply:
    """Two tokens; at each place the likeliest are 0, 1, 2, ..., as many as are asked for."""
    asked = body.get("logprobs", 0)
    place = {f"token_id:{token}": -1.0 - token for token in range(asked)}
    # the sampled token comes first, and is none of the likeliest
    told = [{"token_id:99": -30.0} | place] * 2
    logprobs = {"token_logprobs": [-30.0] * 2, "top_logprobs": told} if asked else None
    return ScriptedServer.good(
        "well said", prompt_tokens=len(body["prompt"]), token_ids=[99, 99], logprobs=logprobs
    )


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with closing(ScriptedServer()) as running:
        running.script = running.probe = _answer
        yield running


@pytest.fixture(scope="module")
def asking(
    server: ScriptedServer, configured: Callable[..., RunConfig], spoken: Path, tiny_backbone: Path
) -> Callable[..., RunConfig]:
    """Makes a configuration over a few clips that asks for so many of the likeliest tokens."""
    corpora = [{"kind": "librispeech", "path": str(spoken / "LibriSpeech"), "limit": 8}]

    def make(output: Path, count: int, **fields: Any) -> RunConfig:
        backbone = {
            "engine": "openai",
            "model": "tiny",
            "base_url": server.url,
            "tokenizer": str(tiny_backbone),
            "top_logprobs": count,
        }
        judge = {"wrong_language": False, "copied": False, "judge": True, "judge_unscored": "keep"}
        return configured(output, corpora=corpora, backbone=backbone, filters=judge, **fields)

    return make


@pytest.fixture(scope="module")
def told(asking: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose answers have their three likeliest tokens."""
    root = tmp_path_factory.mktemp("likeliest") / "dataset"
    build(asking(root, 3))
    return root


def _asked(root: Path, table: str = "responses/main") -> list[Row]:
    return [row for row in rows(root, table) if row["engine"] != "none"]


def test_rows_carry_them_where_an_engine_answered_and_nowhere_else(told: Path) -> None:
    samples = rows(told, "samples")
    generated = [row for row in samples if row["generator"]["engine"] == "openai"]
    assert generated
    for row in generated:
        assert row["response_token_ids"] == [99, 99]
        assert row["response_top_token_ids"] == [[0, 1, 2]] * 2
        assert row["response_logprobs"] == [[-1.0, -2.0, -3.0]] * 2
    transcripts = [row for row in samples if row not in generated]
    assert transcripts
    assert {row["response_logprobs"] for row in transcripts} == {None}
    assert {row["response_top_token_ids"] for row in transcripts} == {None}


def test_only_passes_that_answer_for_rows_ask_for_them(told: Path) -> None:
    judgements = _asked(told, "responses/judge")
    assert judgements
    assert {row["top_logprobs"] for row in judgements} == {None}


def test_a_dataset_with_them_has_no_fault(told: Path) -> None:
    report = judged(told, 3)
    assert broken(report) == {}
    assert report.passed


@pytest.mark.parametrize(("wanted", "found"), [(0, None), (2, [[0, 1]] * 2), (3, [[0, 1, 2]] * 2)])
def test_answers_with_enough_of_them_are_reused_and_the_rest_is_cut(
    told: Path, asking: Callable[..., RunConfig], tmp_path: Path, wanted: int, found: object
) -> None:
    build(asking(tmp_path / "new", wanted, reuse=[str(told)]))
    asked = _asked(tmp_path / "new")
    assert all(row["reused_from"] for row in asked)
    assert all(row["top_token_ids"] == found for row in asked)
    assert judged(tmp_path / "new", 2).passed


def test_answers_with_too_few_of_them_are_asked_for_again(
    told: Path, asking: Callable[..., RunConfig], tmp_path: Path
) -> None:
    build(asking(tmp_path / "new", 4, reuse=[str(told)]))
    asked = _asked(tmp_path / "new")
    assert not any(row["reused_from"] for row in asked)
    assert all(row["top_token_ids"] == [[0, 1, 2, 3]] * 2 for row in asked)
    # the judge was never asked for them: what it said stands
    assert all(row["reused_from"] for row in _asked(tmp_path / "new", "responses/judge"))


def test_a_dataset_of_before_there_were_such_columns_is_reused_where_none_are_wanted(
    told: Path, asking: Callable[..., RunConfig], tmp_path: Path
) -> None:
    old = Path(shutil.copytree(told, tmp_path / "old"))
    for path in sorted(old.glob("responses/*/part-*.parquet")):
        name = str(path.relative_to(old))
        write_again(old, name, edit=lambda t: t.drop_columns(["top_token_ids", "top_logprobs"]))
    for wanted in (0, 3):
        root = tmp_path / f"new{wanted}"
        build(asking(root, wanted, reuse=[str(old)]))
        assert all(bool(row["reused_from"]) == (wanted == 0) for row in _asked(root))


@pytest.mark.parametrize(
    ("column", "edit"),
    [
        ("response_top_token_ids", lambda _: None),
        ("response_top_token_ids", lambda places: places[:1]),
        ("response_top_token_ids", lambda places: [places[0], places[1][:2]]),
        ("response_top_token_ids", lambda places: [places[0], [0, 0, 1]]),
        ("response_logprobs", lambda places: [[-2.0, -1.0, -3.0], places[1]]),
        ("response_logprobs", lambda places: [[0.5, -1.0, -3.0], places[1]]),
        ("response_logprobs", lambda places: [[-0.1, -0.1, -0.1], places[1]]),
        ("response_logprobs", lambda places: [[-1.0, -2.0, float("nan")], places[1]]),
        ("response_logprobs", lambda places: [[-1.0, -2.0, float("-inf")], places[1]]),
    ],
)
def test_likeliest_tokens_that_can_not_be_are_found(
    told: Path, tmp_path: Path, column: str, edit: Callable[[Any], Any]
) -> None:
    root = Path(shutil.copytree(told, tmp_path / "dataset"))
    place = next(
        i for i, row in enumerate(rows(root, "samples")) if row["generator"]["engine"] == "openai"
    )
    change(root, SAMPLES, lambda found: found[place].update({column: edit(found[place][column])}))
    assert set(broken(judged(root, 2))) == {"likeliest_tokens", "sample_response"}


def test_fewer_likeliest_tokens_than_the_run_asked_for_are_found(
    told: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(told, tmp_path / "dataset"))

    def cut(found: list[Row]) -> None:
        for row in found:
            for column in ("response_top_token_ids", "response_logprobs"):
                row[column] = row[column] and [place[:2] for place in row[column]]

    change(root, SAMPLES, cut)
    report = judged(root, 1)
    assert set(broken(report)) == {"likeliest_tokens"}
    (outcome,) = (o for o in report.outcomes if o.count)
    assert "must be 3 tokens of each place" in outcome.findings[0].message
