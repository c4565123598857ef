"""Level 1: each fault in a row is found by its own rule alone, and named to the row."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from planting import broken, change, judged, rows_of, settle, write_again

from sllm_data.shards import part_name
from sllm_data.validation.levels import RULES

SAMPLES = "samples/part-00001.parquet"
AUDIO = "audio/part-00000.parquet"
INDEX = "index/part-00000.parquet"
REQUESTS = "requests/main/part-00000.parquet"
RESPONSES = "responses/main/part-00000.parquet"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the finding must name."""

    part: str
    row: str = ""
    column: str = ""
    value: str = ""


def _set(root, file, column, value, *, row=1, shown=None, name=None):  # noqa: PLR0913 - a fault
    """Changes one column of one row; `column` may lead into structs and lists."""
    *path, last = column.split(".")

    def edit(rows):
        at = rows[row]
        for step in path:
            at = at[int(step)] if step.lstrip("-").isdigit() else at[step]
        at[last] = value(at[last]) if callable(value) else value

    before = rows_of(root, file)[row]
    change(root, file, edit)
    keys = ("request_id", "sample_id", "audio_id", "row_id")
    key = before[next(name for name in keys if name in before)]
    named = name or ".".join(p for p in column.split(".") if not p.lstrip("-").isdigit())
    return Found(part=file, row=key, column=named, value=str(value) if shown is None else shown)


def _null(root):
    return _set(root, SAMPLES, "messages.0.role", None, shown="", name="messages")


def _enum(root):
    return _set(root, SAMPLES, "generator.prompt_mode", "bytes")


def _hash_format(root):
    return _set(root, SAMPLES, "pool_sha256", "ABC")


def _id_format(root):
    return _set(root, REQUESTS, "request_key", "xyz", row=_generated(root))


def _generated(root):
    return next(i for i, r in enumerate(rows_of(root, REQUESTS)) if r["target"] == "generated")


def _json_format(root):
    return _set(root, AUDIO, "extra", "[1]")


def _language_format(root):
    return _set(root, SAMPLES, "response_language", "english!")


def _empty_text(root):
    return _set(root, AUDIO, "codec", " ")


def _clip_numbers(root):
    seconds = rows_of(root, AUDIO)[1]["duration_s"] + 1
    return _set(root, AUDIO, "duration_s", seconds)


def _duration_bounds(root):
    rate = rows_of(root, AUDIO)[1]["sampling_rate"]
    change(root, AUDIO, lambda rows: rows[1].update(num_samples=41 * rate))
    return _set(root, AUDIO, "duration_s", 41.0)


def _prompt_length(root):
    return _set(root, REQUESTS, "prompt_token_ids", [7] * 2000, shown="2000")


def _response_length(root):
    _set(root, SAMPLES, "response_token_ids", [1, 2])
    return _set(root, SAMPLES, "num_response_tokens", 5)


def _likeliest_tokens(root):
    return _set(root, SAMPLES, "response_top_token_ids", [[1, 2]], shown="[2]")


def _score_range(root):
    return _set(root, SAMPLES, "quality.copy_rate", 1.5)


def _index_verdict(root):
    return _set(root, INDEX, "reason", "silent")


def _span_form(root):
    found = _set(root, SAMPLES, "messages.-1.content.0.supervised", False, shown="")
    return Found(part=found.part, row=found.row, column="messages")


def _known_task(root):
    return _set(root, SAMPLES, "task", "singing")


def _row_counts(root):
    write_again(root, SAMPLES, entries={"sllm_data.counts": '{"tasks": {"singing": 3}}'})
    settle(root)
    return Found(part=SAMPLES, column="tasks.singing", value="3")


def _audio_ref(root):
    row = rows_of(root, SAMPLES)[1]["audio_refs"][0]
    found = _set(
        root,
        SAMPLES,
        "audio_refs.0.audio_id",
        "c/1/en/x",
        shown=f"c/1/en/x in part {row['audio_part']}",
    )
    return Found(part=found.part, row=found.row, column="audio_refs", value=found.value)


def _span_in_audio(root):
    spans = rows_of(root, SAMPLES)[1]["messages"][0]["content"]
    place, span = next((i, s) for i, s in enumerate(spans) if s["type"] == "audio")
    last = span["num_samples"]
    shown = f"samples 1 to {last + 1} of {last}"
    found = _set(root, SAMPLES, f"messages.0.content.{place}.start_sample", 1, shown=shown)
    return Found(part=found.part, row=found.row, column="messages", value=shown)


def _accounted(root):
    strange = "0" * 32 + ":main"
    before = rows_of(root, RESPONSES)[1]["request_id"]
    _set(root, RESPONSES, "request_id", strange)
    return Found(part=REQUESTS, row=before, value=before)


def _row_order(root):
    ids = [row["sample_id"] for row in rows_of(root, SAMPLES)]
    change(root, SAMPLES, lambda rows: rows.insert(0, rows.pop()))
    return Found(part=SAMPLES, row=ids[0], column="sample_id", value=ids[0])


def _task_eligible(root):
    rows = rows_of(root, INDEX)
    place = next(i for i, row in enumerate(rows) if set(row["tasks"]) & {"keywords", "intent"})
    strange = ", ".join(
        task for task in rows[place]["tasks"] if task not in ("transcription", "translation")
    )
    _set(root, AUDIO, "transcript", "yes", row=place)
    return Found(part=INDEX, row=rows[place]["audio_id"], column="tasks", value=strange)


def _part_pages(root):
    path = root / SAMPLES
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    settle(root)
    return Found(part=SAMPLES)


def _layout_checksums(root):
    write_again(root, SAMPLES, write_page_checksum=False)
    settle(root)
    return Found(part=SAMPLES, column="sample_id")


def _contract(root, **fields):
    (root / "contract.yaml").write_text(yaml.safe_dump(fields))


def _allowed_task(root):
    first = rows_of(root, REQUESTS)[0]
    _contract(root, tasks=sorted(_every_task(root) - {first["task"]}))
    return Found(part=REQUESTS, row=first["request_id"], column="task", value=first["task"])


def _every_task(root):
    files = sorted((root / "index").glob("*.parquet"))
    return {t for f in files for r in rows_of(root, f"index/{f.name}") for t in r["tasks"]}


def _allowed_language(root):
    _contract(root, languages=["de"])
    first = rows_of(root, AUDIO)[0]
    return Found(part=AUDIO, row=first["audio_id"], column="language", value="en")


def _allowed_licence(root):
    _contract(root, licences=["CC0-1.0"])
    first = rows_of(root, AUDIO)[0]
    return Found(part=AUDIO, row=first["audio_id"], column="source.licence", value="CC-BY-4.0")


def _required_split(root):
    def forget(rows):
        for row in rows:
            row["split"] = "train" if row["split"] == "validation" else row["split"]

    for path in sorted((root / "samples").glob("*.parquet")):
        change(root, f"samples/{path.name}", forget)
    _contract(root, required_splits=["train", "validation"])
    return Found(part="samples", column="split", value="validation")


def _min_samples(root):
    files = sorted((root / "samples").glob("*.parquet"))
    rows = sum(len(rows_of(root, f"samples/{f.name}")) for f in files)
    _contract(root, min_samples=rows + 1)
    return Found(part="samples", value=str(rows))


PLANTED = {
    "null": _null,
    "enum": _enum,
    "hash_format": _hash_format,
    "id_format": _id_format,
    "json_format": _json_format,
    "language_format": _language_format,
    "empty_text": _empty_text,
    "clip_numbers": _clip_numbers,
    "duration_bounds": _duration_bounds,
    "prompt_length": _prompt_length,
    "response_length": _response_length,
    "likeliest_tokens": _likeliest_tokens,
    "score_range": _score_range,
    "index_verdict": _index_verdict,
    "span_form": _span_form,
    "known_task": _known_task,
    "row_counts": _row_counts,
    "audio_ref": _audio_ref,
    "span_in_audio": _span_in_audio,
    "accounted": _accounted,
    "row_order": _row_order,
    "task_eligible": _task_eligible,
    "part_pages": _part_pages,
    "layout_checksums": _layout_checksums,
    "allowed_task": _allowed_task,
    "allowed_language": _allowed_language,
    "allowed_licence": _allowed_licence,
    "required_split": _required_split,
    "min_samples": _min_samples,
}


@pytest.mark.parametrize("rule", PLANTED)
def test_a_planted_fault_is_found_by_its_rule_alone(dataset, rule):
    expected = PLANTED[rule](dataset)
    report = judged(dataset, 1)
    assert set(broken(report)) == {rule}
    outcome = next(o for o in report.outcomes if o.rule.name == rule)
    places = {(f.part, f.row, f.column, f.value) for f in outcome.findings}
    assert (expected.part, expected.row, expected.column, expected.value) in places
    assert not report.passed


def test_every_rule_of_level_1_has_a_planted_fault():
    rules = {rule.name for rule in RULES.values() if rule.level == 1}
    # below, and in test_alignments
    assert rules == set(PLANTED) | {"unique_id", "quota", "word_form"}


def test_a_quota_that_could_be_met_is_missed(rich, copied):
    root = copied(rich)
    given, asked = f"index/{part_name(0)}", f"requests/main/{part_name(0)}"
    row = next(
        row
        for row in rows_of(root, given)
        if row["kept"] and row["tasks"] and "transcription" not in row["tasks"]
    )
    old = row["tasks"][0]

    def swap(rows):
        for other in rows:
            if other["audio_id"] != row["audio_id"]:
                continue
            if "tasks" in other:
                other["tasks"] = ["transcription", *other["tasks"][1:]]
            elif other["task"] == old:
                other["task"] = "transcription"

    change(root, given, swap)
    change(root, asked, swap)
    report = judged(root, 1)
    assert set(broken(report)) == {"quota"}
    (outcome,) = (o for o in report.outcomes if o.count)
    assert {(f.row, f.column) for f in outcome.findings} == {
        (row["split"], old),
        (row["split"], "transcription"),
    }
    assert "transcription must have" in " ".join(f.message for f in outcome.findings)


def test_a_quota_of_new_tasks_over_old_clips_is_checked_too(rich, copied):
    root = copied(rich)
    growth = [p for p in sorted((root / "index").glob("*")) if rows_of_new(root, p)]
    file = f"index/{growth[0].name}"
    place = next(i for i, row in enumerate(rows_of(root, file)) if row["tasks"])
    audio_id = rows_of(root, file)[place]["audio_id"]
    change(root, file, lambda rows: rows[place].update(tasks=[]))
    change(
        root,
        f"requests/main/{growth[0].name}",
        lambda rows: rows.pop(next(i for i, r in enumerate(rows) if r["audio_id"] == audio_id)),
    )
    assert "quota" in broken(judged(root, 1))


def rows_of_new(root, path):
    """Whether a part of the index gives nothing but the new task."""
    tasks = {task for row in rows_of(root, f"index/{path.name}") for task in row["tasks"]}
    return tasks == {"intent"}


def test_a_share_of_the_rows_finds_a_fault_that_is_everywhere(dataset):
    def spoil(rows):
        for row in rows:
            row["pool_sha256"] = "ABC"

    for path in sorted((dataset / "samples").glob("*.parquet")):
        change(dataset, f"samples/{path.name}", spoil)
    report = judged(dataset, 1, sample=0.01)
    looked = report.looked[1, "samples"]
    assert looked.parts <= looked.rows < looked.of_rows
    assert broken(report) == {"hash_format": looked.rows}
    assert broken(judged(dataset, 1)) == {"hash_format": looked.of_rows}


def test_only_the_first_findings_are_listed_and_all_are_counted(dataset):
    def spoil(rows):
        for row in rows:
            row["pool_sha256"] = "ABC"

    change(dataset, SAMPLES, spoil)
    (outcome,) = (o for o in judged(dataset, 1, keep=2).outcomes if o.count)
    rows = [row["sample_id"] for row in rows_of(dataset, SAMPLES)]
    assert outcome.count == len(rows)
    assert [f.row for f in outcome.findings] == rows[:2]


def test_several_processes_find_what_one_finds(tmp_path):
    rows = {
        "audio_id": [f"c/1/en/{number}" for number in range(60_000)],
        "audio_part": pa.array([0] * 60_000, pa.int32()),
        "kept": [True] * 60_000,
        "reason": pa.array([None] * 60_000, pa.string()),
        "split": ["train", "trial", "test"] * 20_000,
        "tasks": [["intent"]] * 60_000,
    }
    (tmp_path / "index").mkdir()
    for number in range(4):
        part = pa.table(rows).slice(15_000 * number, 15_000)
        pq.write_table(part, tmp_path / f"index/{part_name(number)}")
    one, two = judged(tmp_path, 1), judged(tmp_path, 1, jobs=2)
    assert [o.findings for o in one.outcomes] == [o.findings for o in two.outcomes]
    assert broken(one)["enum"] == broken(two)["enum"] == 20_000


def test_clips_of_a_part_that_can_not_be_read_are_not_missed(dataset):
    (dataset / AUDIO).write_bytes(b"")
    assert set(broken(judged(dataset, 1))) == {"part_readable"}
