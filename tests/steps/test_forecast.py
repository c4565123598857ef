"""A forecast against the run that follows it: the same rows, tokens and bytes; what is left."""

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from steps_datasets import build, digests, rows

from sllm_data.config import RunConfig, resolve
from sllm_data.errors import ConfigError, OutputError, RejectedError
from sllm_data.reporting.forecast import Forecast
from sllm_data.reporting.forecast_text import forecast_as_text
from sllm_data.steps import Progress, run_step
from sllm_data.steps.forecast import check_budget, forecast
from sllm_data.testbed import write_librispeech
from sllm_data.testbed.assets import shipped

SILENT = Progress(None)


def _forecast(config: RunConfig, *, extend: bool = False) -> Forecast:
    return forecast(config, SILENT, extend=extend)


def _left(found: Forecast, turn: str = "main") -> dict[str, float]:
    return {each.task: each.left.value for each in found.requests if each.turn == turn}


def _all_left(found: Forecast) -> float:
    return sum(each.left.value for each in found.passes)


def _asked(root: Path, turn: str = "main") -> Counter[str]:
    return Counter(
        row["task"]
        for row in rows(root, f"requests/{turn}", ["task", "target"])
        if row["target"] == "generated"
    )


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """A corpus of 300 utterances."""
    folder = tmp_path_factory.mktemp("many") / "LibriSpeech"
    subsets = {"train-clean-a": 240, "dev-clean-a": 30, "test-clean-a": 30}
    write_librispeech(folder, subsets=subsets, num_speakers=4, seed=8)
    return folder


@pytest.fixture
def over_many(many, document, tmp_path):
    """Makes a configuration over it; a fifth of it is looked at."""

    def make(**fields: object) -> RunConfig:
        corpora = [{"kind": "librispeech", "path": str(many)}]
        given = {"corpora": corpora, "part_size": 50, "budget": {"sample": 60}} | fields
        return resolve(document(tmp_path / "dataset", **given), where="test")

    return make


def test_where_every_utterance_is_looked_at_the_run_is_as_forecast(configured, tmp_path):
    config = configured(tmp_path / "dataset")
    found = _forecast(config)
    build(config)
    answers = [row for row in rows(config.output, "responses/main") if row["engine"] != "none"]
    samples = Counter(row["task"] for row in rows(config.output, "samples", ["task"]))

    assert _left(found) == _asked(config.output)
    assert {task: each.value for task, each in found.samples.items()} == samples
    assert found.all_samples.low == found.all_samples.high == samples.total()
    for name, column in (
        ("prompt_tokens", "num_prompt_tokens"),
        ("response_tokens", "num_response_tokens"),
    ):
        forecasts = sum(getattr(each, name).value for each in found.requests)
        assert forecasts == pytest.approx(sum(row[column] for row in answers))


def test_gigabytes_are_those_that_the_run_writes(over_many):
    config = over_many(budget={"sample": 1000})
    found = _forecast(config)
    build(config)

    for table, size in found.gigabytes.items():
        written = sum(path.stat().st_size for path in config.output.glob(f"{table}/**/part-*"))
        assert size.value * 1e9 == pytest.approx(written, rel=0.3)


def test_a_sample_says_what_the_whole_will_be_within_its_interval(over_many):
    config = over_many()
    found = _forecast(config)
    build(config)
    total = _asked(config.output).total()
    (main,) = found.passes

    assert (found.utterances, found.sampled) == (300, 60)
    assert main.left.low <= total <= main.left.high
    assert main.left.low < main.left.value < main.left.high
    assert found.all_samples.low <= len(rows(config.output, "samples")) <= found.all_samples.high


def test_limits_and_samples_of_the_corpora_are_counted_exactly(over_many, many):
    corpora = [
        {"kind": "librispeech", "path": str(many), "limit": 130, "subsets": ["train-clean-a"]}
    ]

    assert _forecast(over_many(corpora=corpora)).utterances == 130


def test_nothing_is_written_where_the_dataset_will_be(configured, tmp_path):
    config = configured(tmp_path / "dataset")
    _forecast(config)
    assert not config.output.exists()

    build(config)
    before = digests(config.output)
    _forecast(config)
    assert digests(config.output) == before


def test_of_a_finished_dataset_nothing_is_left(configured, tmp_path):
    config = configured(tmp_path / "dataset")
    build(config)
    found = _forecast(config)

    assert _all_left(found) == 0
    assert (found.starts, found.engine_hours.value) == (0, 0)
    assert sum(each.known.value for each in found.requests) == _asked(config.output).total()
    assert found.gigabytes_left.value < 0.2 * found.gigabytes_there


@pytest.mark.parametrize("mode", ["draw", "quota"])
def test_of_a_dataset_that_was_begun_the_rest_is_forecast(configured, tmp_path, mode):
    config = configured(tmp_path / "dataset", draw={"mode": mode})
    build(config)
    part = config.output / "responses/main/part-00001.parquet"
    for name in ("generate.main", "assemble"):
        (config.output / f"manifest/{name}.json").unlink()
    answers = pq.read_table(part, columns=["engine"])["engine"].to_pylist()
    lost = sum(engine != "none" for engine in answers)
    part.unlink()

    assert lost > 0
    assert _all_left(_forecast(config)) == lost


@pytest.mark.parametrize("step", ["candidates", "ingest", "index", "plan.main"])
def test_a_forecast_is_the_same_wherever_the_run_has_come_to(configured, tmp_path, step):
    config = configured(tmp_path / "dataset")
    before = _left(_forecast(config))
    for name in ("candidates", "ingest", "index", "plan.main"):
        run_step(config, name, SILENT)
        if name == step:
            break

    assert _left(_forecast(config)) == before


def test_answers_of_a_dataset_that_is_reused_are_not_asked_again(configured, tmp_path):
    build(configured(tmp_path / "older"))
    config = configured(tmp_path / "dataset", reuse=[str(tmp_path / "older")])
    found = _forecast(config)

    assert _all_left(found) == 0
    assert found.gigabytes_left.value > 0


def test_an_extension_is_forecast_for_what_it_adds(document, spoken, tmp_path):
    def config(*subsets: str) -> RunConfig:
        corpora = [
            {"kind": "librispeech", "path": str(spoken / "LibriSpeech"), "name": name}
            | {"subsets": [name]}
            for name in subsets
        ]
        return resolve(document(tmp_path / "dataset", corpora=corpora), where="test")

    build(config("train-clean-a"))
    with pytest.raises(OutputError, match="--extend"):
        _forecast(config("train-clean-a", "dev-clean-a"))
    found = _forecast(config("train-clean-a", "dev-clean-a"), extend=True)
    before = _asked(tmp_path / "dataset")
    build(config("train-clean-a", "dev-clean-a"), extend=True)

    assert sum(each.known.value for each in found.requests) == before.total()
    assert _all_left(found) == _asked(tmp_path / "dataset").total() - before.total() > 0


def test_every_pass_is_counted_and_probed(configured, tmp_path):
    none = {name: {"weight": 0} for name in configured(tmp_path).tasks}
    config = configured(
        tmp_path / "dataset",
        tasks=none
        | {"question_answering": {"question": "question", "max_tokens": 60}, "intent": {}},
        prompts={"preparation": "restored"},
        followup={"chance": 0.5},
        filters={"wrong_language": False, "copied": False, "repetition": False, "judge": True},
        backbone={"engine": "scripted", "function": "asking_script:answer"},
        max_rejected_fraction=1.0,
    )
    found = _forecast(config)
    build(config)

    for turn in ("restore", "question", "main", "followup", "followup_answer", "judge"):
        assert _left(found, turn) == _asked(config.output, turn)
        assert next(each for each in found.passes if each.turn == turn).speed.answers > 0


def test_few_answers_stand_for_all_of_a_pass_and_of_those_after_it(over_many):
    backbone = {
        "engine": "scripted",
        "function": "asking_script:answer",
        "max_in_flight": 4,
        "latency_s": 0.02,
    }
    filters = {"wrong_language": False, "copied": False, "repetition": False}
    config = over_many(
        backbone=backbone,
        filters=filters,
        followup={"chance": 0.5},
        budget={"sample": 300, "probe_seconds": 0.4},
    )
    found = _forecast(config)
    main, followup, _ = found.passes

    assert main.speed.answers < main.left.value == 307
    assert followup.left.value == pytest.approx(0.5 * main.left.value, rel=0.4)
    assert found.all_samples.value == pytest.approx(
        main.left.value + found.samples["transcription"].value, rel=0.05
    )
    # what is beyond the probe takes its share of a full engine
    assert main.hours.value * 3600 == pytest.approx(
        main.left.value / main.speed.requests_per_second, rel=0.5
    )


def test_money_is_hours_times_gpus_times_the_price(over_many):
    found = _forecast(over_many(budget={"sample": 60, "price_per_gpu_hour": 2.5}))

    assert found.money.value == pytest.approx(2.5 * found.engine_hours.value)
    assert found.money.high == pytest.approx(2.5 * found.engine_hours.high)
    assert _forecast(over_many()).money is None


def test_more_rejections_than_a_run_allows_are_told_not_raised(configured, tmp_path):
    found = _forecast(configured(tmp_path / "dataset", max_rejected_fraction=0.0))

    assert any("the run would stop there" in note for note in found.notes)


def test_a_forecast_is_plain_values_and_readable_tables(over_many):
    found = _forecast(over_many(budget={"sample": 60, "price_per_gpu_hour": 2.5}))
    text = forecast_as_text(found)

    assert json.loads(json.dumps(found.as_json()))["utterances"] == 300
    for words in ("60 of 300 utterances", "engine time", "GB of audio/", "2.5 a GPU hour"):
        assert words in text


def test_a_run_within_its_budget_is_made(configured, tmp_path):
    config = configured(tmp_path / "dataset", budget={"engine_hours": 1, "gigabytes": 1})
    build(config)

    assert rows(config.output, "samples")


@pytest.mark.parametrize(
    ("name", "budget"),
    [
        ("engine_hours", {"engine_hours": 1e-9}),
        ("gigabytes", {"gigabytes": 1e-6}),
        ("money", {"money": 1e-9, "price_per_gpu_hour": 2.5}),
    ],
)
def test_a_run_that_takes_more_than_its_budget_does_not_start(configured, tmp_path, name, budget):
    config = configured(tmp_path / "dataset", budget=budget)
    with pytest.raises(
        RejectedError, match=rf"{name} is forecast as .* to .*, budget.{name} allo"
    ):
        build(config)

    assert [path.name for path in config.output.iterdir()] == [".lock"]


def test_a_begun_run_whose_rest_fits_goes_on(configured, tmp_path):
    config = configured(tmp_path / "dataset")
    found = _forecast(config)
    for name in ("candidates", "ingest"):
        run_step(config, name, SILENT)
    tight = configured(
        tmp_path / "dataset", budget={"gigabytes": found.gigabytes["audio"].value / 2}
    )
    build(tight)

    assert rows(tight.output, "samples")


def test_a_finished_dataset_has_no_budget_to_keep(configured, tmp_path):
    build(configured(tmp_path / "dataset"))
    config = configured(tmp_path / "dataset", budget={"engine_hours": 1e-9})
    check_budget(config, SILENT)

    assert all(report.was_done for report in build(config))


def test_a_limit_of_money_needs_a_price(configured, tmp_path):
    with pytest.raises(ConfigError, match="price_per_gpu_hour must be given where money"):
        configured(tmp_path, budget={"money": 5})


@pytest.mark.engine
@pytest.mark.filterwarnings("default")  # vLLM's imports warn
def test_the_real_engine_is_probed_and_then_asked(world_document, tmp_path, monkeypatch):
    # engines in this process: the second starts at once
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    backbone = {
        "engine": "vllm",
        "model": str(shipped("backbone")),
        "max_model_len": 512,
        "max_num_seqs": 4,
        "kv_cache_gib": 1,
        "enforce_eager": True,
        "dtype": "float32",
    }
    document = world_document(tmp_path / "dataset", backbone=backbone)
    config = resolve(document | {"budget": {"engine_hours": 1}}, where="test")
    found = _forecast(config)
    build(config)
    asked = rows(config.output, "requests/main", ["target", "prompt_token_ids"])
    generated = [row for row in asked if row["target"] == "generated"]
    answers = [row for row in rows(config.output, "responses/main") if row["engine"] == "vllm"]
    (main,) = found.passes

    assert main.left.value == len(generated) == len(answers) > 7
    assert main.speed.answers == len(answers)
    assert main.speed.is_full
    assert found.starts == 1
    assert found.start_seconds > 1
    summary = json.loads((config.output / "reports/generate.main.json").read_text())
    assert summary["start_seconds"] > 1  # beside `seconds`: what was forecast can be compared
    assert sum(each.prompt_tokens.value for each in found.requests) == pytest.approx(
        sum(len(row["prompt_token_ids"]) for row in generated)
    )
    # greedy: what the probe was answered is what the run is answered, but for a few near ties
    assert sum(each.response_tokens.value for each in found.requests) == pytest.approx(
        sum(row["num_response_tokens"] for row in answers), rel=0.05
    )
    summary = json.loads((config.output / "reports/generate.main.json").read_text())
    # others may be at work on this machine: the same order is all that can be promised here
    assert 0.2 < main.hours.value * 3600 / summary["seconds"] < 5
