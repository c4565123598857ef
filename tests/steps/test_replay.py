"""Asking again: what is drawn, compared and refused, and that a run is not disturbed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from steps_datasets import build, digests, rows

from sllm_data.errors import ConfigError, EngineError, ModelError, OutputError, ShardError
from sllm_data.files import output_lock
from sllm_data.reporting.replay_text import replay_as_text
from sllm_data.steps import Progress
from sllm_data.steps.replay import replay
from sllm_data.steps.replay_sample import _shares, draw_sample
from tests.generation.conftest import ScriptedServer

SILENT = Progress(None)
DRIFTING = "backbone.function=drifting_script:answer"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, configured) -> Path:
    root = tmp_path_factory.mktemp("finished") / "dataset"
    build(configured(root, part_size=6))
    return root


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    return shutil.copytree(finished, tmp_path / "dataset")


def test_an_exact_engine_answers_the_same_and_only_the_report_is_new(copied):
    before = digests(copied)
    report = replay(copied, sample=30, progress=SILENT)

    assert report.verdict == "identical"
    assert report.total.asked == report.total.identical == 30
    assert (report.total.mean_distance, report.total.refused) == (0, 0)
    assert digests(copied) == before
    written = json.loads((copied / "reports/replay.json").read_text())
    assert written == json.loads(json.dumps(report.as_json()))


def test_every_task_is_asked_in_proportion_and_transcripts_are_not(finished):
    report = replay(finished, sample=30, progress=SILENT)
    answered = [row["request_id"] for row in rows(finished, "responses/main")]
    asked = Counter(
        row["task"] for row in rows(finished, "requests/main") if row["target"] == "generated"
    )

    assert report.answers == asked
    assert report.not_asked == {"transcript": len(answered) - asked.total(), "no_answer": 0}
    for task, number in asked.items():
        assert abs(report.tasks[task].asked - 30 * number / asked.total()) < 2


def test_the_sample_is_the_same_whatever_the_parts(finished, tmp_path, configured):
    build(configured(tmp_path / "large", part_size=1000))

    def drawn(root: Path) -> list[str]:
        return [one.request.request_id for one in draw_sample(root, "main", 12).asked]

    assert drawn(finished) == drawn(tmp_path / "large")
    assert drawn(finished) != sorted(drawn(finished))


@given(
    answers=st.dictionaries(st.text(max_size=2), st.integers(1, 400), min_size=1, max_size=9),
    count=st.integers(1, 1000),
)
def test_shares_are_whole_and_reach_every_task(answers, count):
    shares = _shares(count, answers)

    assert sum(shares.values()) == max(len(answers), min(count, sum(answers.values())))
    assert all(1 <= shares[task] <= number for task, number in answers.items())


@pytest.fixture(scope="module")
def drifting(tmp_path_factory, configured):
    """A dataset of a function that says a word more to one request in DRIFT, once that is set."""
    source = """
        import os
        def answer(request):
            changed = request.seed % int(os.environ.get("DRIFT", 10**12)) == 0
            return "one two three" + (" four" if changed else "")
    """
    folder = tmp_path_factory.mktemp("drifting")
    (folder / "drifting_script.py").write_text(textwrap.dedent(source))
    backbone = {"engine": "scripted", "function": "drifting_script:answer"}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        build(configured(folder / "dataset", backbone=backbone))
        yield folder / "dataset"


def test_an_engine_that_changed_is_measured(drifting, monkeypatch):
    monkeypatch.setenv("DRIFT", "1")
    report = replay(drifting, max_distance=0.5, overrides=[DRIFTING], progress=SILENT)

    assert report.verdict == "close"
    assert report.total.identical_text == 0
    assert report.total.mean_distance == pytest.approx(5 / 18)  # ` four` of the longer text
    assert report.total.p95_distance == pytest.approx(5 / 18)


def test_what_is_close_is_for_the_caller_to_say(drifting, monkeypatch):
    monkeypatch.setenv("DRIFT", "3")
    report = replay(drifting, max_distance=0.0, overrides=[DRIFTING], progress=SILENT)

    assert report.verdict == "different"
    assert 0 < report.total.identical < report.total.asked
    changed = report.total.asked - report.total.identical
    assert report.total.mean_distance == pytest.approx(changed / report.total.asked * 5 / 18)


def test_an_answer_that_ends_otherwise_is_not_identical(tmp_path, configured):
    root = tmp_path / "d"
    build(configured(root))
    path = next((root / "responses/main").glob("*.parquet"))
    _edit(path, "finish_reason", "length")
    report = replay(root, sample=1000, progress=SILENT)

    assert report.verdict == "close"
    assert report.total.identical_text == report.total.asked
    assert report.total.finish_reasons["then"]["length"] > 0
    assert "length" not in report.total.finish_reasons["now"]


def _edit(path: Path, column: str, value: object) -> None:
    table = pq.read_table(path)
    place = table.schema.get_field_index(column)
    field = table.schema.field(place)
    values = pa.array([value] * table.num_rows, field.type)
    _write(path, table.set_column(place, field, values))


def _write(path: Path, table: pa.Table) -> None:
    """Writes other rows under the footer of a part."""
    entries = pq.read_metadata(path).metadata
    with pq.ParquetWriter(path, table.schema.remove_metadata()) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({k: v for k, v in entries.items() if k[:5] == b"sllm_"})


def test_reused_answers_are_said_separately(tmp_path, configured):
    build(configured(tmp_path / "old"))
    build(configured(tmp_path / "new", reuse=[str(tmp_path / "old")]))
    report = replay(tmp_path / "new", sample=9, progress=SILENT)

    assert report.tasks == {}
    assert report.reused is not None
    assert report.reused.asked == report.total.asked == 9
    assert "(reused answers)" in replay_as_text(report)


@pytest.mark.parametrize("turn", ["restore", "judge"])
def test_the_other_passes_have_reports_of_their_own(tmp_path, configured, turn):
    filters = {"wrong_language": False, "copied": False, "judge": True, "judge_unscored": "keep"}
    build(configured(tmp_path, filters=filters, prompts={"preparation": "restored"}))
    report = replay(tmp_path, turn=turn, sample=5, progress=SILENT)

    assert (report.verdict, report.total.asked) == ("identical", 5)
    assert json.loads((tmp_path / f"reports/replay.{turn}.json").read_text())["turn"] == turn
    assert not (tmp_path / "reports/replay.json").exists()


def test_a_run_that_is_going_on_is_not_disturbed(copied):
    (copied / "manifest/generate.main.json").unlink()
    newest = max((copied / "responses/main").glob("*.parquet"))
    newest.rename(newest.with_name(f".{newest.name}.tmp"))
    with output_lock(copied):
        report = replay(copied, progress=SILENT)

    assert report.verdict == "identical"
    assert newest.with_name(f".{newest.name}.tmp").exists()


def test_requests_without_an_answer_are_counted(copied):
    path = next((copied / "responses/main").glob("*.parquet"))
    table = pq.read_table(path)
    _write(path, table.filter(pc.equal(table["engine"], "none")))
    report = replay(copied, progress=SILENT)

    assert report.not_asked["no_answer"] == sum(e != "none" for e in table["engine"].to_pylist())
    assert f"{report.not_asked['no_answer']} without an answer then" in replay_as_text(report)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("seed=2", "--set must leave what the answers depend on as it is, got seed: 1 -> 2"),
        ("backbone.function=echo", "got backbone.function: 'task' -> 'echo'"),
        ("backbone.latency=1", "backbone.latency is not a known key"),
        ("nonsense", "--set must be name=value"),
    ],
)
def test_only_where_things_are_may_be_set(finished, override, sentence):
    with pytest.raises(ConfigError, match=sentence.replace(".", r"\.")):
        replay(finished, overrides=[override], progress=SILENT)


def test_operational_fields_may_be_set(finished):
    overrides = ["backbone.order=shuffled", "backbone.max_in_flight=2"]
    assert replay(finished, overrides=overrides, progress=SILENT).verdict == "identical"


@pytest.fixture(scope="module")
def rendering(tmp_path_factory, configured, tiny_backbone) -> Path:
    """A folder with a model, and a dataset whose prompts were rendered with its tokenizer."""
    folder = tmp_path_factory.mktemp("rendering")
    model = shutil.copytree(tiny_backbone, folder / "model")
    backbone = {"engine": "scripted", "tokenizer": str(model)}
    build(configured(folder / "dataset", backbone=backbone))
    return folder


@pytest.fixture
def model(rendering, tiny_backbone):
    """The model's folder, which a test may spoil."""
    yield rendering / "model"
    shutil.rmtree(rendering / "model", ignore_errors=True)
    shutil.copytree(tiny_backbone, rendering / "model")


def test_a_model_folder_that_moved_is_named_with_set(rendering, model, tmp_path):
    model.rename(tmp_path / "model")
    with pytest.raises(ModelError, match="there is no such model folder"):
        replay(rendering / "dataset", progress=SILENT)
    overrides = [f"backbone.tokenizer={tmp_path}/model"]

    assert replay(rendering / "dataset", overrides=overrides, progress=SILENT).total.identical


@pytest.mark.parametrize(
    ("file", "found"), [("config.json", "revision"), ("chat_template.jinja", "chat_template_sha")]
)
def test_a_model_that_is_not_the_recorded_one_is_refused(rendering, model, file, found):
    path = model / file
    path.write_text(path.read_text() + (" " if file.endswith("json") else "{# new #}"))

    with pytest.raises(ModelError, match=f"must be the model that the requests were .*{found}"):
        replay(rendering / "dataset", progress=SILENT)


def test_no_dataset_and_no_answers_are_one_sentence(finished, tmp_path):
    with pytest.raises(OutputError, match=r"must be a dataset, found no run\.yaml"):
        replay(tmp_path, progress=SILENT)
    with pytest.raises(ShardError, match="must have answers of an engine in the pass judge"):
        replay(finished, turn="judge", progress=SILENT)


def test_a_run_yaml_without_a_configuration_is_one_sentence(copied):
    document = yaml.safe_load((copied / "run.yaml").read_text())
    (copied / "run.yaml").write_text(yaml.safe_dump(document | {"config": None}))

    with pytest.raises(ConfigError, match="must hold the configuration as config, found None"):
        replay(copied, progress=SILENT)


def test_a_damaged_part_is_named(copied):
    path = copied / "responses/main/part-00001.parquet"
    path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(ShardError, match=r"responses/main/part-00001\.parquet: must be a whole"):
        replay(copied, progress=SILENT)


def _echo(server: ScriptedServer) -> None:
    server.script = lambda _path, body: server.good(body["messages"][-1]["content"][:20])


@pytest.fixture(scope="module")
def serving(tmp_path_factory, configured):
    """A server, and a dataset of its answers."""
    root = tmp_path_factory.mktemp("serving") / "dataset"
    with closing(ScriptedServer()) as server:
        _echo(server)
        backbone = {
            "engine": "openai",
            "model": "tiny",
            "base_url": server.url,
            "backoff_s": 0.01,
            "start_timeout_s": 1.0,
        }
        build(configured(root, backbone=backbone))
        yield server, root


@pytest.fixture
def served(serving, tmp_path):
    """The same with a copy of the dataset."""
    server, root = serving
    _echo(server)
    return server, shutil.copytree(root, tmp_path / "served")


def test_a_server_is_asked_again_at_its_new_address(served):
    _, root = served
    with closing(ScriptedServer()) as moved:
        _echo(moved)
        overrides = [f"backbone.base_url={moved.url}"]
        report = replay(root, sample=10, overrides=overrides, progress=SILENT)

        assert (report.verdict, report.now.engine) == ("identical", "openai")
        assert len(moved.bodies) == 10
        asked = {one.request.seed for one in draw_sample(root, "main", 10).asked}
        assert {body["seed"] for _, body in moved.bodies} == asked


def test_what_the_server_refuses_now_counts_as_quite_different(served):
    server, root = served
    server.script = lambda _path, _body: server.bad(400, "not any more")
    overrides = [f"backbone.base_url={server.url}"]
    report = replay(root, sample=10, overrides=overrides, progress=SILENT)

    assert (report.verdict, report.total.refused) == ("different", 10)
    assert (report.total.mean_distance, report.total.p95_distance) == (1.0, 1.0)


def test_prompts_that_must_go_out_in_another_form_are_not_asked(served):
    server, root = served
    for path in (root / "responses/main").glob("*.parquet"):
        _edit(path, "prompt_mode", "ids")
    asked_before = len(server.bodies)

    with pytest.raises(
        EngineError, match="must take prompts as ids, as it did then; it takes mes"
    ):
        replay(root, overrides=[f"backbone.base_url={server.url}"], progress=SILENT)
    assert len(server.bodies) == asked_before


def test_a_dataset_sends_nothing_to_its_server_unless_the_user_names_it(served, monkeypatch):
    server, root = served
    monkeypatch.setenv("A_SECRET", "of the user")
    _edit_backbone(root, api_key_env="A_SECRET")
    asked_before = len(server.headers)

    with pytest.raises(ConfigError, match=r"base_url and backbone\.api_key_env must be named"):
        replay(root, progress=SILENT)
    with pytest.raises(ConfigError, match=r"yaml: backbone\.api_key_env must be named by you"):
        replay(root, overrides=[f"backbone.base_url={server.url}"], progress=SILENT)
    assert len(server.headers) == asked_before


def test_a_dataset_imports_nothing_unless_the_user_names_it(copied, monkeypatch):
    (copied / "evil_script.py").write_text(f"open({str(copied / 'mark')!r}, 'w')\n")
    monkeypatch.syspath_prepend(str(copied))
    _edit_backbone(copied, function="evil_script:answer")

    with pytest.raises(ConfigError, match=r"backbone\.function must be named by you"):
        replay(copied, progress=SILENT)
    assert not (copied / "mark").exists()


def _edit_backbone(root: Path, **fields: str) -> None:
    document = yaml.safe_load((root / "run.yaml").read_text())
    document["config"]["backbone"] |= fields
    (root / "run.yaml").write_text(yaml.safe_dump(document))


@pytest.mark.parametrize(("drift", "status"), [("2", 1), (str(10**12), 0)])
def test_the_command_says_by_its_status_whether_answers_are_different(drifting, drift, status):
    command = ["replay", str(drifting), "--set", DRIFTING, "--max-distance", "0", "--json"]
    said = subprocess.run(
        [sys.executable, "-m", "sllm_data.cli", *command],
        capture_output=True,
        text=True,
        env=os.environ | {"DRIFT": drift, "PYTHONPATH": str(drifting.parent)},
        check=False,
    )

    assert (said.returncode, said.stderr) == (status, "")
    assert json.loads(said.stdout)["verdict"] == ("different" if status else "identical")


def test_ctrl_c_ends_cleanly_and_leaves_no_report(tmp_path, configured, monkeypatch):
    source = """
        import os, pathlib, time
        def answer(request):
            if "ASKED" in os.environ:
                pathlib.Path(os.environ["ASKED"]).touch()
                time.sleep(0.2)
            return "yes"
    """
    root, asked = tmp_path / "dataset", tmp_path / "asked"
    (tmp_path / "slow_script.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(str(tmp_path))
    named = "backbone.function=slow_script:answer"
    build(configured(root, backbone={"engine": "scripted", "function": "slow_script:answer"}))
    process = subprocess.Popen(
        [sys.executable, "-m", "sllm_data.cli", "replay", str(root), "--set", named],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"ASKED": str(asked), "PYTHONPATH": str(tmp_path)},
        start_new_session=True,
        # a shell starts background jobs with SIGINT ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    while process.poll() is None and not asked.exists():
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate()

    assert process.returncode == 130
    assert "Traceback" not in said
    assert not (root / "reports/replay.json").exists()


@pytest.mark.engine
@pytest.mark.filterwarnings("default")  # vLLM's imports warn
def test_vllm_in_strict_mode_gives_every_token_again(tmp_path, configured, tiny_backbone):
    backbone = {
        "engine": "vllm",
        "model": str(tiny_backbone),
        "temperature": 0.8,
        "determinism": "strict",
        "max_model_len": 512,
        "kv_cache_gib": 1,
        "enforce_eager": True,
    }
    tasks = {name: {"max_tokens": 16} for name in ("repetition", "intent", "keywords")}
    tasks |= {name: {"weight": 0} for name in ("sentiment", "continuation", "translation")}
    build(configured(tmp_path, backbone=backbone, tasks=tasks, max_rejected_fraction=1))
    report = replay(tmp_path, sample=24, progress=SILENT)

    assert report.verdict == "identical"
    assert report.total.asked == report.total.with_token_ids == report.total.identical_token_ids
    assert report.then == ((report.now, 24),)
    assert report.now.determinism == "strict"
