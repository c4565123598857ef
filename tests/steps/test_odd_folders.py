"""Folders whose names mean something to DuckDB: patterns, quotes, partitions."""

from dataclasses import replace
from pathlib import Path

import pytest
from steps_datasets import build, digests, rows

from sllm_data.reporting import collect_stats
from sllm_data.steps import Progress
from sllm_data.steps.diff import diff_datasets
from sllm_data.validation.opening import Options
from sllm_data.validation.runner import validate

ODD = "split=test/it's [a-c]*?/**"


@pytest.fixture(scope="module")
def grown(tmp_path_factory, document, configured) -> tuple[Path, Path]:
    """The same dataset in a plain folder and in an odd one, each made and then extended."""
    folder = tmp_path_factory.mktemp("odd")
    plain, odd = folder / "plain", folder / ODD
    corpora = document(plain)["corpora"]
    for root in (plain, odd, odd.with_name("b")):  # b fits the pattern
        build(configured(root, corpora=corpora[:1]))
        if root.name != "b":
            build(configured(root, corpora=corpora), extend=True)
    return plain, odd


def test_a_dataset_in_an_odd_folder_is_like_any_other(grown):
    plain, odd = grown
    assert digests(odd) == digests(plain)
    stats = [replace(collect_stats(root), throughput={}) for root in grown]
    assert stats[0] == stats[1]
    assert diff_datasets(plain, odd, examples=3, progress=Progress(None)).samples.is_equal


def test_a_dataset_in_an_odd_folder_is_judged_like_any_other(grown):
    reports = [validate(root, Options(level=3, jobs=1)) for root in grown]
    plain, odd = ([(o.rule.name, o.count) for o in report.outcomes] for report in reports)
    assert odd == plain


def test_answers_of_an_odd_folder_are_reused_in_another(grown, configured, tmp_path):
    _, odd = grown
    root = tmp_path / ODD
    build(configured(root, reuse=[str(odd)]))
    asked = [row for row in rows(root, "responses") if row["engine"] != "none"]
    assert asked
    assert all(row["reused_from"] for row in asked)
