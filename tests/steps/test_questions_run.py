"""Runs in which the backbone writes what is asked about, and asks on."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from steps_datasets import build, digests, rows

from sllm_data.errors import PoolError
from sllm_data.validation.opening import Options
from sllm_data.validation.runner import validate

ASKING = {"engine": "scripted", "function": "asking_script:answer"}
TASKS = {
    "question_answering": {"question": "question", "max_tokens": 60},
    "verification": {"question": "statement", "max_tokens": 60},
    "intent": {"max_tokens": 60},
}


def asking(configured, root, **fields):
    """A configuration of three tasks, two of which ask about what is written first."""
    none = {name: {"weight": 0} for name in configured(root).tasks}
    asked = {"backbone": ASKING, "tasks": none | TASKS}
    draw = {"mode": "draw", "multi_task_share": 1.0, "multi_task_count": 3}
    filters = {"wrong_language": False, "copied": False, "repetition": False}
    return configured(root, **asked | {"draw": draw, "filters": filters} | fields)


@pytest.fixture(scope="module")
def built(configured, tmp_path_factory):
    """A dataset in which half of the answers are asked on; only read it."""
    root = tmp_path_factory.mktemp("questions") / "d"
    build(asking(configured, root, followup={"chance": 0.5, "max_tokens": 40}))
    return root


def findings(root):
    report = validate(root, Options(level=3, jobs=1))
    return {outcome.rule.name for outcome in report.outcomes if outcome.is_failure}


def test_a_wording_asks_about_what_the_backbone_wrote(built):
    samples = rows(built, "samples")
    by_task = {task: [s for s in samples if s["task"] == task] for task in TASKS}
    assert all(by_task.values())
    for sample in by_task["question_answering"]:
        question = json.loads(sample["task_params"])["question"]
        assert question.startswith("What about")
        spans = [span["text"] or "" for turn in sample["messages"] for span in turn["content"]]
        assert question in "".join(spans)
        assert question in sample["text_messages"][0]["content"]
    truths = [json.loads(s["task_params"]) for s in by_task["verification"]]
    assert {each["truth"] for each in truths} == {"true", "false"}
    assert all(each["statement"].startswith("It is about") for each in truths)
    assert findings(built) == set()


def test_a_task_without_a_usable_question_is_a_rejection(built):
    rejected = [r for r in rows(built, "rejections/plan.main") if r["reason"] == "no_question"]
    asked = rows(built, "requests/question")
    assert 0.05 < len(rejected) / len(asked) < 0.4
    assert {r["detail"] for r in rejected} == {
        "the question must be one line, has 2",
        "the statement must be one line, has 2",
    }
    given = sum(len(row["tasks"]) for row in rows(built, "index"))
    assert given == len(rows(built, "requests/main")) + len(rows(built, "rejections/plan.main"))


def test_rows_have_the_same_ids_whatever_was_written(built, configured, tmp_path):
    other = tmp_path / "other"
    reworded = ASKING | {"function": "asking_script:answer_otherwise"}
    build(asking(configured, other, backbone=reworded))
    written = [
        {
            (row["audio_id"], row["task"]): (row["sample_id"], row["task_params"])
            for row in rows(root, "requests/main")
            if row["task"] != "intent"
        }
        for root in (built, other)
    ]
    assert written[0].keys() == written[1].keys() != set()
    assert all(written[0][key][0] == written[1][key][0] for key in written[0])
    assert all(written[0][key][1] != written[1][key][1] for key in written[0])


def test_some_answers_get_a_second_turn(built):
    root = built
    samples = rows(root, "samples")
    second = [s for s in samples if len(s["text_messages"]) > 2]
    assert 0.2 < len(second) / len(samples) < 0.6
    first = {r["request_id"].partition(":")[0]: r for r in rows(root, "responses/main")}
    for sample in second:
        roles = [turn["role"] for turn in sample["messages"]]
        assert roles == ["user", "assistant", "user", "assistant"]
        trained = [
            span["text"]
            for turn in sample["messages"]
            for span in turn["content"]
            if span["supervised"]
        ]
        assert trained == [first[sample["sample_id"]]["text"], sample["response"]]
        assert sample["response"].startswith("That would be 3 turns later")
        assert sample["text_messages"][2]["content"].startswith("What about")
    useless = rows(root, "rejections/plan.followup_answer")
    assert {row["reason"] for row in useless} == {"no_question"}
    counts = json.loads((root / "manifest/assemble.json").read_text())["counts"]
    assert counts["second_turns"] == {"kept": len(second)}


def test_a_second_answer_that_the_filters_drop_leaves_a_row_of_one_turn(configured, tmp_path):
    root = tmp_path / "d"
    cut = {"wrong_language": False, "copied": False, "repetition": False, "truncated": "drop"}
    build(asking(configured, root, followup={"chance": 1.0, "max_tokens": 2}, filters=cut))
    samples = rows(root, "samples")
    assert samples
    assert all(len(s["text_messages"]) == 2 for s in samples)
    counts = json.loads((root / "manifest/assemble.json").read_text())["counts"]
    asked = len(rows(root, "responses/followup_answer"))
    assert counts["second_turns"] == {"truncated": asked}
    assert findings(root) == set()


def test_the_passes_are_resumed_to_the_byte(built, configured, tmp_path):
    shutil.copytree(built, tmp_path / "a")
    config = asking(configured, tmp_path / "a", followup={"chance": 0.5, "max_tokens": 40})
    whole = digests(built)
    for name in ("responses/question", "requests/followup_answer", "samples"):
        for path in (tmp_path / "a" / name).glob("part-*.parquet"):
            path.unlink()
    for step in ("generate.question", "plan.followup_answer", "assemble"):
        (tmp_path / "a" / f"manifest/{step}.json").unlink()
    build(config)
    assert digests(tmp_path / "a") == whole


@pytest.mark.parametrize(
    ("table", "change", "rule"),
    [
        ("samples", lambda s: s["text_messages"][2].update(content="Else?"), "sample_second"),
        ("samples", lambda s: s.update(response="Else."), "sample_second"),
        ("requests/question", lambda r: r.update(task="intent"), "request_ids"),
        ("requests/followup_answer", lambda r: r.update(sample_id="0" * 32), "accounted"),
    ],
)
def test_a_row_that_is_not_what_was_asked_on_is_found(built, tmp_path, table, change, rule):
    root = tmp_path / "d"
    shutil.copytree(built, root)
    for path in sorted((root / table).glob("part-*.parquet")):
        content = pq.read_table(path)
        written = content.to_pylist()
        for row in written:
            if table != "samples" or len(row["text_messages"]) > 2:
                change(row)
                break
        else:
            continue
        schema = content.schema
        pq.write_table(pa.Table.from_pylist(written, schema=schema), path)
        break
    assert rule in findings(root)


def test_a_wording_that_leaves_out_the_question_is_refused(configured, tmp_path):
    tasks = {"intent": {"question": "question"}}
    with pytest.raises(PoolError, match=r"must use \{\{ question \}\} on both sides"):
        build(asking(configured, tmp_path / "d", tasks=tasks))
