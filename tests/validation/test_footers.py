"""Level 0: each fault in a manifest, a footer or the layout is found by its own rule alone."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from planting import (
    as_foreign,
    broken,
    change,
    edit_manifest,
    judged,
    record,
    rows_of,
    settle,
    write_again,
)

from sllm_data.files import output_lock
from sllm_data.shards import read_manifest
from sllm_data.shards.features import footer_entry
from sllm_data.steps import Progress, run_all
from sllm_data.validation.index_parts import index_parts
from sllm_data.validation.levels import RULES

SAMPLES = "samples/part-00001.parquet"
AUDIO = "audio/part-00000.parquet"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the finding must name."""

    part: str
    column: str = ""
    value: str = ""
    message: str = ""


def _run_document(root):
    text = (root / "run.yaml").read_text()
    identity = text.partition("\nidentity: ")[2].partition("\n")[0]
    (root / "run.yaml").write_text(text.replace(identity, "f" * 32))
    return Found(part="run.yaml", column="identity", value="f" * 32, message=identity)


def _manifest_document(root):
    edit_manifest(root, "assemble", lambda m: m.update(step="ingest"))
    return Found(part="manifest/assemble.json", message="is of 'ingest'")


def _schema_document(root):
    document = json.loads((root / "schema.json").read_text())
    document["tables"]["samples"]["key"] = "response"
    (root / "schema.json").write_text(json.dumps(document))
    return Found(part="schema.json", column="response", message="the key must be sample_id")


def _finished(root):
    (root / "samples/.part-00001.parquet.tmp").touch()
    return Found(part="samples/.part-00001.parquet.tmp", message="run it again")


def _part_unexpected(root):
    shutil.copy(root / SAMPLES, root / "samples/part-00009.parquet")
    return Found(part="samples/part-00009.parquet", message="no manifest names it")


def _part_missing(root):
    (root / AUDIO).unlink()
    return Found(part=AUDIO, message="the file is missing")


def _manifest_inputs(root):
    edit_manifest(root, "assemble", lambda m: m["inputs"].update(ingest="0" * 64))
    return Found(
        part="manifest/assemble.json",
        column="inputs.ingest",
        value="0" * 64,
        message="ingest was made anew after assemble had read it",
    )


def _part_identity(root):
    write_again(root, SAMPLES, entries={"sllm_data.identity": "1" * 32})
    settle(root)
    return Found(part=SAMPLES, value="1" * 32, message="a configuration of assemble")


def _footer_counts(root):
    edit_manifest(root, "assemble", lambda m: m["counts"]["tasks"].update(transcription=999))
    return Found(part="manifest/assemble.json", column="tasks.transcription", value="999")


def _nothing_lost(root):
    rows = len(rows_of(root, SAMPLES))
    change(root, SAMPLES, lambda rows: rows.pop())
    return Found(part=SAMPLES, value=str(rows - 1), message="rejections must make the")


def _part_readable(root):
    content = (root / SAMPLES).read_bytes()
    (root / SAMPLES).write_bytes(content[:-20])
    return Found(part=SAMPLES, message="it was cut off or overwritten")


def _part_size(root):
    size = record(root, "assemble", SAMPLES)["bytes"]
    _edit_record(root, bytes=size + 1)
    return Found(part=SAMPLES, value=str(size), message=f"the manifest says {size + 1}")


def _footer_digest(root):
    digest = record(root, "assemble", SAMPLES)["footer_sha256"]
    _edit_record(root, footer_sha256="0" * 64)
    return Found(part=SAMPLES, value=digest, message="the manifest says 000")


def _part_rows(root):
    rows = record(root, "assemble", SAMPLES)["rows"]
    _edit_record(root, rows=7)
    return Found(part=SAMPLES, value=str(rows), message=f"the manifest says 7, found {rows}")


def _edit_record(root, **fields):
    def edit(manifest):
        next(p for p in manifest["parts"] if p["file"] == SAMPLES).update(fields)

    edit_manifest(root, "assemble", edit)


def _footer_entries(root):
    write_again(root, SAMPLES, entries={"sllm_data.table": "audio"})
    settle(root)
    return Found(part=SAMPLES, column="sllm_data.table", value="audio", message="must be samples")


def _schema_version(root):
    document = json.loads((root / "schema.json").read_text())
    newer = document["schema_version"] + 1
    path = root / SAMPLES
    write_again(root, SAMPLES, entries={"sllm_data.schema_version": str(newer)})
    _set_record(root, path)
    return Found(part=SAMPLES, value=str(newer), message="which schema.json publishes")


def _set_record(root, path):
    # no settle: the package's own reader refuses a newer part, as it should
    content = path.read_bytes()
    length = int.from_bytes(content[-8:-4], "little") + 8
    digest = hashlib.sha256(content[-length:]).hexdigest()
    _edit_record(root, bytes=len(content), footer_sha256=digest)


def _part_schema(root):
    edit = partial(_cast, column="speech_share", kind=pa.float64())
    write_again(root, SAMPLES, edit=edit, entries=_described(root, edit))
    settle(root)
    return Found(
        part=SAMPLES, column="speech_share", value="double", message="must be float, is double"
    )


def _cast(table, column, kind):
    place = table.schema.get_field_index(column)
    field = pa.field(column, kind, nullable=False)
    return table.set_column(place, field, table.column(column).cast(kind))


def _described(root, edit):
    return {"huggingface": footer_entry(edit(pq.read_table(root / SAMPLES)).schema)}


def _extra_column(root):
    def edit(table):
        return table.append_column("score", pa.array([0.5] * table.num_rows))

    write_again(root, SAMPLES, edit=edit, entries=_described(root, edit))
    settle(root)
    return Found(part=SAMPLES, column="score", value="double", message="extra_columns")


def _huggingface_entry(root):
    write_again(root, SAMPLES, entries={"huggingface": '{"info": {"features": {}}}'})
    settle(root)
    return Found(part=SAMPLES, column="sample_id", value='{"info": {"features": {}}}')


def _layout_compression(root):
    write_again(root, SAMPLES, compression={"response": "snappy"})
    settle(root)
    return Found(part=SAMPLES, column="sample_id", value="UNCOMPRESSED", message="ZSTD")


def _layout_pages(root):
    write_again(root, AUDIO, use_dictionary=True)
    settle(root)
    return Found(part=AUDIO, column="audio.bytes", value="dictionary", message="PLAIN")


PLANTED = {
    "run_document": _run_document,
    "manifest_document": _manifest_document,
    "schema_document": _schema_document,
    "finished": _finished,
    "part_unexpected": _part_unexpected,
    "part_missing": _part_missing,
    "manifest_inputs": _manifest_inputs,
    "part_identity": _part_identity,
    "footer_counts": _footer_counts,
    "nothing_lost": _nothing_lost,
    "part_readable": _part_readable,
    "part_size": _part_size,
    "footer_digest": _footer_digest,
    "part_rows": _part_rows,
    "footer_entries": _footer_entries,
    "schema_version": _schema_version,
    "part_schema": _part_schema,
    "extra_column": _extra_column,
    "huggingface_entry": _huggingface_entry,
    "layout_compression": _layout_compression,
    "layout_pages": _layout_pages,
}


@pytest.mark.parametrize("rule", PLANTED)
def test_a_planted_fault_is_found_by_its_rule_alone(dataset, rule):
    expected = PLANTED[rule](dataset)
    report = judged(dataset, 0)
    assert set(broken(report)) == {rule}
    outcome = next(o for o in report.outcomes if o.rule.name == rule)
    found = outcome.findings[0]
    assert (found.part, found.column, found.value) == (
        expected.part,
        expected.column,
        expected.value,
    )
    assert expected.message in found.message
    assert not report.passed


def test_every_rule_of_level_0_has_a_planted_fault():
    rules = {rule.name for rule in RULES.values() if rule.level == 0}
    assert rules == set(PLANTED) | {"layout_row_groups"}  # below


def test_a_row_group_that_is_too_large_is_told(plain, tmp_path):
    root = as_foreign(plain, tmp_path / "f", "audio")
    rows = pa.concat_tables([pq.read_table(root / "audio/data-0.parquet")] * 10)
    pq.write_table(rows, root / "audio/data-0.parquet")
    outcome = next(o for o in judged(root, 0).outcomes if o.rule.name == "layout_row_groups")
    (found,) = outcome.findings
    assert (found.part, found.value) == ("audio/data-0.parquet", str(rows.num_rows))
    assert "at most 100 rows" in found.message


def test_a_step_that_was_never_finished_is_named(dataset):
    (dataset / "manifest/assemble.json").unlink()
    report = judged(dataset, 0)
    assert set(broken(report)) == {"finished"}
    (outcome,) = (o for o in report.outcomes if o.count)
    assert "the step assemble is not finished; run it again" in [
        f.message for f in outcome.findings
    ]


def test_a_killed_run_that_never_wrote_the_readme_is_unfinished(dataset):
    (dataset / "README.md").unlink()
    assert broken(judged(dataset, 0)) == {"finished": 1}


def test_the_work_folder_of_an_interrupted_run_is_named(dataset):
    (dataset / ".work").mkdir()
    assert broken(judged(dataset, 0)) == {"finished": 1}


def test_a_run_that_is_going_on_is_named(dataset):
    with output_lock(dataset):
        report = judged(dataset, 0)
    assert broken(report) == {"finished": 1}
    (outcome,) = (o for o in report.outcomes if o.count)
    assert outcome.findings[0].message == "a run is writing this folder now; wait for its end"


def test_an_extension_that_stopped_half_way_is_named(plain, copied, configured, spoken):
    root = copied(plain)
    corpora = [
        {"kind": "librispeech", "path": str(spoken / "LibriSpeech")},
        {"kind": "common_voice", "path": str(spoken / "cv-corpus-test"), "version": "test"},
    ]
    for report in run_all(configured(root, corpora=corpora), Progress(None), extend=True):
        if report.step == "plan.main":
            break
    report = judged(root, 0)
    assert set(broken(report)) == {"finished"}
    (outcome,) = (o for o in report.outcomes if o.count)
    assert {f.part: f.message for f in outcome.findings} == {
        f"manifest/{step}.json": "must be of extension 1, is of 0; run it again with --extend"
        for step in ("generate.main", "assemble")
    }


def test_a_manifest_that_is_no_json_is_a_finding_and_the_rest_is_looked_at(dataset):
    (dataset / "manifest/assemble.json").write_text("{")
    (dataset / AUDIO).unlink()
    assert set(broken(judged(dataset, 0))) >= {"manifest_document", "part_missing"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"counts": []}, "counts: Input should be"),
        ({"counts": {"tasks": {"intent": "3"}}}, "counts.tasks.intent: Input should be"),
        ({"extension": "0"}, "extension: Input should be"),
        ({"extra": {"0": "zero"}}, "extra: must be numbers of parts"),
        ({"schema_version": 99}, "must have the schema version of schema.json"),
    ],
)
def test_a_manifest_that_says_what_none_says_is_a_finding(dataset, fields, message):
    edit_manifest(dataset, "index", lambda m: m.update(fields))
    report = judged(dataset, 0)
    (outcome,) = (o for o in report.outcomes if o.rule.name == "manifest_document")
    (found,) = outcome.findings
    assert found.part == "manifest/index.json"
    assert message in found.message


def test_a_manifest_of_no_step_is_a_finding(dataset):
    (dataset / "manifest/index.json").rename(dataset / "manifest/indices.json")
    found = broken(judged(dataset, 0))
    assert found["manifest_document"] == 1


def test_a_damaged_run_yaml_is_a_finding(dataset):
    (dataset / "run.yaml").write_text("{")
    assert set(broken(judged(dataset, 0))) == {"run_document"}


def test_a_part_beyond_the_manifest_of_its_input_is_missed_elsewhere(dataset):
    def lose_last(manifest):
        manifest["parts"] = [p for p in manifest["parts"] if "part-00001" not in p["file"]]

    edit_manifest(dataset, "assemble", lose_last)
    report = judged(dataset, 0)
    missing = next(o for o in report.outcomes if o.rule.name == "part_missing")
    assert missing.findings[0].part == "rejections/assemble/part-00001.parquet"
    assert missing.findings[0].message == "manifest/assemble.json must name it, does not"


@pytest.mark.parametrize("size", [0, 3, 8, 12])
def test_a_file_that_is_no_parquet_is_named(dataset, size):
    (dataset / SAMPLES).write_bytes(b"PAR1" * (size // 4) + b"x" * (size % 4))
    assert set(broken(judged(dataset, 0))) == {"part_readable"}


def test_level_0_reads_no_page(dataset):
    path = dataset / AUDIO
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[-8:-4], "little") + 8
    content[4:-length] = bytes(len(content) - length - 4)
    path.write_bytes(content)
    assert broken(judged(dataset, 0)) == {}


def test_the_rich_dataset_has_the_shapes_it_promises(rich):
    manifests = {p.stem: read_manifest(p) for p in (rich / "manifest").glob("*.json")}
    assert any(part.growth for part in index_parts(manifests))
    assert any(p.rows == 0 for p in manifests["ingest"].parts if p.file.startswith("audio/"))
    assert {"plan.restore", "generate.judge"} <= manifests.keys()
    assert manifests["assemble"].extension == 1
