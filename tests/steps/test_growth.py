"""A finished dataset takes what its corpora list now, under the configuration that it has."""

import shutil
from pathlib import Path

import pytest
import yaml
from steps_datasets import build, digests, rows

from sllm_data.errors import OutputError, RejectedError
from sllm_data.files import shipped_folder
from sllm_data.steps import Progress, run_step
from sllm_data.testbed import write_librispeech
from sllm_data.validation.opening import Options
from sllm_data.validation.runner import validate


@pytest.fixture
def corpus(tmp_path) -> Path:
    """A corpus of one subset, to which tests add others as new nights."""
    nights = {f"train-night-{number}": 6 for number in range(3)}
    write_librispeech(tmp_path / "to-come", subsets=nights, num_speakers=2, seed=100)
    folder = tmp_path / "LibriSpeech"
    folder.mkdir()
    return _night(folder, 0)


def _night(folder: Path, number: int) -> Path:
    """Adds six utterances of two more speakers, in a subset that nobody has to name."""
    subset = f"train-night-{number}"
    (folder.parent / "to-come" / subset).rename(folder / subset)
    return folder


@pytest.fixture
def run(configured, corpus, tmp_path):
    """Makes or extends the dataset over the corpus; arguments override fields."""

    def work(*, extend=True, corpora=None, **fields):
        entry = {"kind": "librispeech", "path": str(corpus)}
        config = configured(tmp_path / "d", corpora=[entry | (corpora or {})], **fields)
        return build(config, extend=extend)

    return work


def _untouched(before, after):
    parts = {name: digest for name, digest in before.items() if name.endswith(".parquet")}
    return all(after[name] == digest for name, digest in parts.items())


def _extensions(root):
    return len(yaml.safe_load((root / "run.yaml").read_text())["extensions"])


def test_new_utterances_of_the_same_folder_become_new_parts(run, corpus, tmp_path):
    root = tmp_path / "d"
    run()
    for night in (1, 2):
        before = digests(root)
        written = {path: path.stat().st_mtime_ns for path in root.rglob("part-*.parquet")}
        asked = len(rows(root, "responses/main"))
        _night(corpus, night)
        reports = {report.step: report for report in run()}

        assert _untouched(before, digests(root))
        assert written == {path: path.stat().st_mtime_ns for path in written}
        assert len(rows(root, "candidates")) == 6 * (night + 1)
        assert len(rows(root, "responses/main")) > asked
        assert reports["generate.main"].parts_done == 1
    assert _extensions(root) == 3
    assert validate(root, Options(level=3, jobs=1)).passed


def test_where_nothing_is_new_not_a_byte_changes(run, tmp_path):
    root = tmp_path / "d"
    run()
    before = {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}

    assert all(report.was_done for report in run())
    assert before == {
        path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


def test_without_the_flag_new_utterances_are_left_alone(run, corpus, tmp_path):
    run()
    _night(corpus, 1)

    assert all(report.was_done for report in run(extend=False))
    assert _extensions(tmp_path / "d") == 1


def test_an_extension_of_a_night_goes_on_with_or_without_the_flag(
    run, corpus, configured, tmp_path
):
    root = tmp_path / "d"
    run()
    _night(corpus, 1)
    entry = {"kind": "librispeech", "path": str(corpus)}
    config = configured(root, corpora=[entry])
    run_step(config, "candidates", Progress(None), extend=True)
    _night(corpus, 2)  # comes too late for this one
    run(extend=False)

    assert _extensions(root) == 2
    assert len(rows(root, "candidates")) == 12
    run()
    assert _extensions(root) == 3
    assert len(rows(root, "candidates")) == 18


def test_a_limit_counts_what_is_there_already(run, corpus, tmp_path):
    run(corpora={"limit": 8})
    _night(corpus, 1)
    run(corpora={"limit": 8})
    assert len(rows(tmp_path / "d", "candidates")) == 8

    _night(corpus, 2)
    assert all(report.was_done for report in run(corpora={"limit": 8}))


def test_what_was_rejected_before_is_not_rejected_again(run, corpus, tmp_path):
    root = tmp_path / "d"
    lost = next(corpus.rglob("*.flac"))
    lost.unlink()
    run()
    first = rows(root, "rejections/candidates") + rows(root, "rejections/ingest")
    _night(corpus, 1)
    run()

    assert len(first) == 1
    assert rows(root, "rejections/candidates") + rows(root, "rejections/ingest") == first


def test_an_utterance_listed_twice_is_rejected_once_for_all_nights(run, corpus, tmp_path):
    root = tmp_path / "d"
    transcripts = next(corpus.rglob("*.trans.txt"))
    transcripts.write_text(
        transcripts.read_text() + transcripts.read_text().splitlines()[0] + "\n"
    )
    run()
    _night(corpus, 1)
    run()

    (rejected,) = rows(root, "rejections/candidates")
    assert rejected["reason"] == "duplicate_id"


def test_a_budget_holds_for_new_utterances_too(run, corpus, tmp_path):
    root = tmp_path / "d"
    run()
    _night(corpus, 1)
    before = (root / "run.yaml").read_bytes()

    with pytest.raises(RejectedError, match="what is left must fit into its budget"):
        run(budget={"gigabytes": 1e-7, "sample": 4, "probe_seconds": 1})
    assert (root / "run.yaml").read_bytes() == before


def test_rows_of_a_grown_dataset_are_those_of_one_made_at_once(run, corpus, configured, tmp_path):
    run()
    _night(corpus, 1)
    run()
    entry = {"kind": "librispeech", "path": str(corpus)}
    build(configured(tmp_path / "whole", corpora=[entry]))

    def samples(root):
        found = rows(root, "samples", ["sample_id", "split", "response"])
        return sorted(tuple(row.values()) for row in found)

    assert samples(tmp_path / "d") == samples(tmp_path / "whole")


def test_wordings_that_were_edited_since_are_not_mixed_in(run, corpus, tmp_path):
    shutil.copytree(shipped_folder("instruction_pools"), tmp_path / "pools")
    pools = {"prompts": {"pools": [str(tmp_path / "pools")]}}
    run(**pools)
    pool = tmp_path / "pools/transcription.en.yaml"
    pool.write_text(pool.read_text().replace("word", "sign"))
    _night(corpus, 1)
    before = digests(tmp_path / "d")

    with pytest.raises(OutputError, match=r"plan.main was made with other wordings"):
        run(**pools)
    assert digests(tmp_path / "d") == before
    assert _extensions(tmp_path / "d") == 1
