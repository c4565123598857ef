"""What the restore and judge passes read back from the parts of others."""

import pytest

from sllm_data.shards import TABLES, part_name, write_part
from sllm_data.steps.rows import request_row, response_row
from sllm_data.steps.side_passes import judge_drafts, restore_draft, restored_answers
from tests.steps.test_planner import asked, planner, response

PROVENANCE = {
    "engine": "scripted",
    "engine_version": "1",
    "prompt_mode": "messages",
    "determinism": "exact",
}


def write_pass(root, turn, maker, requests, texts) -> None:
    """Writes part 0 of a pass; a text of None is a request without a response."""
    model = maker.model_columns()
    write_part(
        root,
        f"requests/{turn}/{part_name(0)}",
        (request_row(request, model=model) for request in requests),
        table=TABLES["requests"],
        identity="i",
    )
    answers = [
        response_row(response(text))
        | PROVENANCE
        | {"request_id": request.request_id, "request_key": request.request_key}
        for request, text in zip(requests, texts, strict=True)
        if text is not None
    ]
    file = f"responses/{turn}/{part_name(0)}"
    write_part(root, file, answers, table=TABLES["responses"], identity="i")


def test_restored_transcripts_are_found_by_their_utterance(tmp_path):
    maker = planner()
    drafts = [restore_draft(maker, asked(i)) for i in range(3)]
    requests, _ = maker.finish(drafts)
    write_pass(tmp_path, "restore", maker, requests, ["One.", None, "Three."])
    assert restored_answers(tmp_path, 0) == {"c/1/en/0": "One.", "c/1/en/2": "Three."}


@pytest.fixture
def judged(tmp_path):
    maker = planner(output=str(tmp_path), filters={"judge": True})
    rows = [asked(0, "intent"), asked(1, "transcription"), asked(2, "intent"), asked(3, "summary")]
    requests, _ = maker.requests(rows)
    texts = ["To explain a delay.", "The ferry was late.", "", "A ferry came late in fog."]
    write_pass(tmp_path, "main", maker, requests, texts)
    return maker, requests, judge_drafts(maker, 0)


def test_only_answers_that_were_generated_and_pass_the_cheap_verdicts_are_judged(judged):
    _, requests, drafts = judged
    assert [draft.sample_id for draft in drafts] == [requests[0].sample_id, requests[3].sample_id]


def test_a_judge_sees_wording_transcript_and_answer(judged):
    maker, requests, drafts = judged
    content = drafts[0].messages[-1].content
    assert maker.wording(requests[0]) in content
    assert requests[0].transcript_prepared in content
    assert "To explain a delay." in content


def test_a_judge_answers_greedily_and_shortly(judged):
    _, _, drafts = judged
    assert all(draft.request_id == f"{draft.sample_id}:judge" for draft in drafts)
    assert {(d.sampling.temperature, d.sampling.max_tokens) for d in drafts} == {(0.0, 8)}
    assert {(draft.task, draft.split) for draft in drafts} == {("judge", "train")}
