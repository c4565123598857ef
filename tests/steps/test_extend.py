"""A finished dataset grows by corpora, tasks and utterances; no old part is touched."""

import pytest
from steps_datasets import build, digests, rows

from sllm_data.errors import OutputError

_LIBRISPEECH, _COMMON_VOICE = 0, 1


@pytest.fixture
def corpora(document, tmp_path):
    return document(tmp_path)["corpora"]


def _untouched(before, after):
    parts = {name: digest for name, digest in before.items() if name.endswith(".parquet")}
    return all(after[name] == digest for name, digest in parts.items())


def test_a_corpus_is_added_without_touching_an_old_part(tmp_path, configured, corpora):
    root = tmp_path / "d"
    build(configured(root, corpora=corpora[:1]))
    before = digests(root)
    build(configured(root, corpora=corpora), extend=True)
    after = digests(root)

    assert _untouched(before, after)
    kinds = {row["audio_id"].split("/")[0] for row in rows(root, "audio", ["audio_id"])}
    assert kinds == {"librispeech", "common_voice"}
    ids = [row["sample_id"] for row in rows(root, "samples", ["sample_id"])]
    assert len(set(ids)) == len(ids)


def test_an_extended_dataset_has_the_clips_and_splits_of_one_made_at_once(
    tmp_path, configured, corpora
):
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    build(configured(grown, corpora=corpora[:1]))
    build(configured(grown, corpora=corpora), extend=True)
    build(configured(whole, corpora=corpora))

    def samples(root):
        return sorted(
            (r["sample_id"], r["split"], r["response"], r["audio_refs"][0]["audio_id"])
            for r in rows(root, "samples")
        )

    assert samples(grown) == samples(whole)


def test_a_raised_limit_adds_utterances(tmp_path, configured, corpora):
    root = tmp_path / "d"
    few = [corpora[_LIBRISPEECH] | {"limit": 5}]
    more = [corpora[_LIBRISPEECH] | {"limit": 12}]
    build(configured(root, corpora=few))
    before = digests(root)
    build(configured(root, corpora=more), extend=True)

    assert _untouched(before, digests(root))
    assert len(rows(root, "candidates")) == 12


@pytest.mark.parametrize("mode", ["draw", "quota"])
def test_a_new_task_is_asked_of_old_audio(tmp_path, configured, mode):
    root = tmp_path / "d"
    draw = {"mode": mode, "multi_task_share": 0.5}
    build(configured(root, draw=draw, tasks={"intent": {"weight": 0}}))
    before = digests(root)
    old_tasks = {row["task"] for row in rows(root, "samples", ["task"])}
    build(configured(root, draw=draw), extend=True)
    added = [row for row in rows(root, "requests/main") if row["task"] == "intent"]

    assert "intent" not in old_tasks
    assert added
    assert _untouched(before, digests(root))
    ids = [row["request_id"] for row in rows(root, "requests/main")]
    assert len(set(ids)) == len(ids)


def test_growth_needs_the_flag_and_says_so(tmp_path, configured, corpora):
    root = tmp_path / "d"
    build(configured(root, corpora=corpora[:1]))

    with pytest.raises(OutputError, match="run it with --extend"):
        build(configured(root, corpora=corpora))


def test_what_is_no_growth_is_refused_even_with_the_flag(tmp_path, configured, corpora):
    root = tmp_path / "d"
    build(configured(root, corpora=corpora[:1]))

    with pytest.raises(OutputError, match="part_size: 12 -> 13; choose another output"):
        build(configured(root, corpora=corpora, part_size=13), extend=True)


def test_an_unfinished_dataset_is_finished_before_it_grows(tmp_path, configured, corpora):
    root = tmp_path / "d"
    build(configured(root, corpora=corpora[:1]))
    (root / "manifest/assemble.json").unlink()

    with pytest.raises(OutputError, match="must be finished before it can be extended"):
        build(configured(root, corpora=corpora), extend=True)


def test_an_extension_runs_to_the_end_again_at_once(tmp_path, configured, corpora):
    root = tmp_path / "d"
    build(configured(root, corpora=corpora[:1]))
    build(configured(root, corpora=corpora), extend=True)

    assert all(report.was_done for report in build(configured(root, corpora=corpora)))
