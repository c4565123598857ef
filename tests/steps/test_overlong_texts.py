"""Texts beyond all measure: they are rejected or passed over, and stop no run."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from steps_datasets import build, rows

from sllm_data.steps.planner import longest_transcript

_ENDLESS = "endless" * 10_000  # one word, so that max_tokens does not cut it


def answer_without_end(request):
    return _ENDLESS


@pytest.fixture
def talk(tmp_path) -> Path:
    """A LibriSpeech folder of one short and one endless transcript."""
    chapter = tmp_path / "LibriSpeech/train-a/1/2"
    chapter.mkdir(parents=True)
    for number in range(2):
        noise = np.random.default_rng(number).uniform(-0.3, 0.3, 8_000)
        content = io.BytesIO()
        sf.write(content, noise, 16_000, format="FLAC")
        (chapter / f"1-2-{number}.flac").write_bytes(content.getvalue())
    lines = ("1-2-0 THE FERRY WAS LATE", f"1-2-1 {'AND SO ON ' * 25_000}")
    (chapter / "1-2.trans.txt").write_text("\n".join(lines))
    return tmp_path / "LibriSpeech"


@pytest.mark.parametrize("preparation", ["as_read", "restored"])
@pytest.mark.parametrize("longest", [1024, 1_000_000])
def test_a_transcript_that_fits_into_no_prompt_is_rejected_once(
    tmp_path, configured, talk, preparation, longest
):
    build(
        configured(
            tmp_path / "d",
            corpora=[{"kind": "librispeech", "path": str(talk)}],
            prompts={"preparation": preparation, "max_prompt_tokens": longest},
        )
    )
    (rejection,) = rows(tmp_path / "d", "rejections")
    bound = longest_transcript(longest)
    assert rejection["row_id"] == "librispeech/slr12/train-a/1-2-1"
    assert rejection["reason"] == "prompt_too_long"
    assert rejection["detail"] == (
        f"the transcript must have at most {bound} bytes to fit into a prompt, has 249999"
    )
    assert {row["transcript"] for row in rows(tmp_path / "d", "samples")} == {"THE FERRY WAS LATE"}


def test_an_answer_without_end_is_not_shown_to_the_judge(tmp_path, configured):
    filters = {"wrong_language": False, "judge": True, "judge_unscored": "drop"}
    function = f"{answer_without_end.__module__}:answer_without_end"
    build(
        configured(
            tmp_path / "d",
            backbone={"engine": "scripted", "function": function},
            filters=filters,
            max_rejected_fraction=1.0,
        )
    )
    assert rows(tmp_path / "d", "responses/main")
    assert rows(tmp_path / "d", "requests/judge") == []
    rejected = [row for row in rows(tmp_path / "d", "rejections") if row["step"] == "assemble"]
    assert {row["reason"] for row in rejected} == {"judged_bad"}
    assert {row["detail"] for row in rejected} == {"the judge gave no readable score"}
