"""A report in each format: nothing is lost, and no value from a dataset breaks a format."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planting import change, judged, xml_of

from sllm_data.validation.findings import Finding, Looked
from sllm_data.validation.formats import FORMATS, as_json, as_junit, as_markdown, as_text
from sllm_data.validation.levels import RULES
from sllm_data.validation.report import Outcome, Report

SAMPLES = "samples/part-00001.parquet"

texts = st.text(max_size=30) | st.sampled_from(
    ["\x1b[2J", "a|b", "``", "`", "\n## x", "]]>", "<b>", "\x00", "\ud800", "@all", "\ufffe", "é"]
)
findings = st.builds(
    Finding, rule=st.just("enum"), part=texts, message=texts, row=texts, column=texts, value=texts
)
outcomes = st.builds(
    Outcome,
    rule=st.sampled_from(sorted(RULES.values(), key=lambda rule: rule.name)),
    weight=st.sampled_from(["error", "warning", "off"]),
    count=st.just(3),
    findings=st.lists(findings, min_size=1, max_size=3).map(tuple),
)


def report_of(*found: Outcome, dataset: str = "out/x") -> Report:
    return Report(
        dataset=dataset,
        level=1,
        foreign=False,
        schema_version=1,
        contract="",
        sample=1.0,
        outcomes=found,
        looked={(1, "samples"): Looked(parts=2, rows=10, of_rows=1000)},
        seconds=1.25,
    )


@given(outcomes, texts)
def test_junit_is_xml_whatever_is_found(outcome, dataset):
    root = xml_of(as_junit(report_of(outcome, dataset=dataset)))
    (case,) = root.iter("testcase")
    assert case.get("name") == outcome.rule.name
    assert case.get("classname") == f"level {outcome.rule.level}"


@given(outcomes, texts)
def test_a_finding_is_one_line_of_text_without_control_characters(outcome, dataset):
    text = as_text(report_of(outcome, dataset=dataset))
    assert all(line.isprintable() for line in text.split("\n"))
    listed = [line for line in text.split("\n") if line.startswith("  ")]
    assert len(listed) == len(outcome.findings) + (len(outcome.findings) < outcome.count)


@given(outcomes)
def test_a_finding_is_one_row_of_a_markdown_table(outcome):
    text = as_markdown(report_of(outcome))
    rows = [line for line in text.split("\n") if line.startswith("| ")][1:]
    assert len(rows) == len(outcome.findings)
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == 6


@given(outcomes, texts)
def test_json_holds_what_was_found(outcome, dataset):
    document = json.loads(as_json(report_of(outcome, dataset=dataset)))
    (rule,) = document["rules"]
    assert rule["count"] == outcome.count
    assert [f["value"] for f in rule["findings"]] == [f.value for f in outcome.findings]
    assert document["passed"] == (outcome.weight != "error")


def test_a_code_span_ends_where_it_began():
    hostile = Finding(rule="enum", part="a`b", message="m", value="``|`")
    row = as_markdown(report_of(_outcome(hostile))).split("\n")[-1]
    assert "`` a`b ``" in row
    assert "``` ``\\|` ```" in row


def test_markdown_names_nobody_and_links_nowhere():
    hostile = Finding(rule="enum", part="", message="@all see https://x.y [a](b) <i>")
    row = as_markdown(report_of(_outcome(hostile))).split("\n")[-1]
    assert "@" not in row
    assert "://" not in row
    assert "\\[a\\](b) \\<i\\>" in row


def _outcome(*found, weight="error", count=0):
    return Outcome(rule=RULES["enum"], weight=weight, count=count or len(found), findings=found)


def test_text_tells_rule_place_and_verdict():
    found = Finding(
        rule="enum", part=SAMPLES, message="must be one of a, b", row="r", column="c", value="v"
    )
    text = as_text(report_of(_outcome(found, count=5)))
    assert f"error: enum (level 1): {RULES['enum'].meaning}" in text
    assert f"  {SAMPLES}  r  c  v  must be one of a, b" in text
    assert "  ... and 4 more" in text
    assert "looked at samples 10 of 1,000 rows in 2 parts" in text
    assert text.endswith("falls short: 5 errors, 0 warnings, 1 rules, 1.2 s")


def test_junit_tells_failures_warnings_and_what_is_off():
    found = Finding(rule="enum", part=SAMPLES, message="m")
    root = xml_of(
        as_junit(
            report_of(
                _outcome(found),
                _outcome(found, weight="warning"),
                _outcome(weight="off"),
                _outcome(),
            )
        )
    )
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "1")
    assert [[child.tag for child in case] for case in suite] == [
        ["failure"],
        ["system-out"],
        ["skipped"],
        [],
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_tells_part_row_column_rule_and_value(dataset, form):
    change(dataset, SAMPLES, lambda rows: rows[1].update(pool_sha256="ABC"))
    report = judged(dataset, 1)
    text = FORMATS[form](report)
    (outcome,) = (o for o in report.outcomes if o.count)
    (found,) = outcome.findings
    for word in (SAMPLES, found.row, "pool_sha256", "hash_format", "ABC"):
        assert word in text


def test_json_of_a_dataset_has_a_stable_form(dataset):
    document = judged(dataset, 1).as_json()
    assert list(document) == [
        "format",
        "sllm_data",
        "dataset",
        "level",
        "passed",
        "errors",
        "warnings",
        "foreign",
        "schema_version",
        "contract",
        "sample",
        "seconds",
        "looked",
        "rules",
    ]
    assert document["format"] == 1
    assert {frozenset(rule) for rule in document["rules"]} == {
        frozenset({"name", "level", "weight", "count", "findings"})
    }
