"""Studies: their arms and figures, and all of one as a command."""

import json
import statistics
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from sllm_data.errors import ConfigError, TrainingError
from sllm_data.evaluation.predictions import Prediction
from sllm_data.experiments.arms import (
    Arm,
    Outcome,
    Scale,
    _done,
    _Forecast,
    run_arms,
    train_document,
)
from sllm_data.experiments.figures import (
    DRAWN,
    FIGURES,
    by_length,
    figures_of,
    over_seeds,
    scores_of,
)
from sllm_data.experiments.result import Study
from sllm_data.experiments.spoken import WHOLE, Data, make_dataset
from sllm_data.experiments.studies import STUDIES
from sllm_data.experiments.study import (
    _ahead,
    _seconds_before,
    as_text,
    place_of,
    run_study,
    write_study,
)
from sllm_data.shards import read_part
from sllm_data.steps import Progress
from sllm_data.trainer.config import resolve_train
from tests.evaluation.eval_dataset import write_dataset

SCALE = Scale(steps=8, budget=256, rows=1)


TRANSCRIPT = "the baker lost six tables"
INSIDE = {
    "attention": {
        side: {
            "share": [0.1, *last],
            "saliency_share": [0.0, 0.5, 0.5],
            "instruction": [0.1, 0.2, 0.3],
            "content": [0.4, 0.4, 0.4],
        }
        for side, last in {"speech": (0.2, 0.4), "backbone": (0.4, 0.8)}.items()
    },
    "cka": [0.1, 0.9],
    "losses": {
        name: {"value": 2.0}
        for name in ("as it is", "other instruction", "no instruction", "silence", "other speech")
    },
}


def answers(side, task, group, *, right, of, **changed):
    """Some answers, the first ones right, and which audio they are about."""
    said, place = changed.get("said", "no"), changed.get("place", "train-world")
    reference = TRANSCRIPT if task == "transcription" else "six tables"
    return {
        Prediction(
            sample_id=f"{task}-{group}-{place}-{number}",
            side=side,
            task=task,
            reference=reference,
            prediction=reference if number < right else said,
            eval_group=group,
            transcript=TRANSCRIPT,
        ): f"librispeech/world/{place}/{number}"
        for number in range(of)
    }


def outcome(seed, right, tmp_path, *, inside=None):
    heard = {
        **answers("speech", "transcription", "train", right=9, of=10),
        **answers("speech", "summary", "train", right=right, of=10, said=TRANSCRIPT),
        **answers("speech", "topic", "train", right=right + 2, of=10),
        **answers("speech", "topic", "train", right=1, of=4, place="test-unseen-voices"),
        **answers("speech", "who", "held_out_task", right=1, of=2),
        **answers("text", "topic", "train", right=8, of=10),
        **answers("backbone", "topic", "train", right=10, of=10),
    }
    return Outcome(
        arm=STUDIES["anchor-bias"].core[0],
        seed=seed,
        folder=tmp_path,
        evaluation=tmp_path / "evaluation",
        answers=list(heard),
        heard={each.sample_id: audio_id for each, audio_id in heard.items()},
        inside=inside,
        report={},
    )


def test_figures_are_means_over_tasks_of_a_side_and_group(tmp_path):
    found = figures_of(outcome(1, 4, tmp_path))
    assert set(found) == set(FIGURES)
    assert found["anchor_speech"] == pytest.approx(6 / 20)
    assert found["transcription"] == 0.9
    assert found["exact_speech"] == pytest.approx(0.5)  # of 0.4 and 0.6, without new voices
    assert found["unseen_voices"] == 0.25
    assert found["exact_text"] == 0.8
    assert found["text_retention"] == 0.8
    assert found["held_out_task"] == 0.5
    assert found["held_out_instruction"] is None
    assert found["wording_ratio"] is None
    assert found["instruction_speech"] is None


def test_tasks_of_an_arm_are_told_from_those_that_only_others_train(tmp_path):
    one = outcome(1, 4, tmp_path)
    arm = replace(one.arm, tasks=("transcription", "topic"))
    found = figures_of(replace(one, arm=arm))
    assert (found["exact_trained"], found["exact_untrained"]) == (0.6, 0.4)
    everything = figures_of(replace(one, arm=replace(arm, tasks=())))
    assert everything["exact_trained"] == everything["exact_speech"]
    assert everything["exact_untrained"] is None


def test_scores_are_by_task_group_and_side(tmp_path):
    found = {
        (each.group, each.task, each.side): each for each in scores_of(outcome(1, 4, tmp_path))
    }
    topic = found["train", "topic", "speech"]
    assert (topic.rows, topic.exact) == (10, 0.6)
    assert found["unseen voices", "topic", "speech"].rows == 4
    assert found["train", "topic", "text"].exact == 0.8


def test_answers_are_counted_by_the_words_of_the_right_one(tmp_path):
    found = by_length(outcome(1, 4, tmp_path), "speech")
    assert found == {"2 to 4": (26, pytest.approx(12 / 26)), "5 to 8": (10, 0.9)}


def test_figures_from_inside_are_of_the_last_layers(tmp_path):
    found = figures_of(outcome(1, 4, tmp_path, inside=INSIDE))
    assert found["instruction_speech"] == pytest.approx(0.3)
    assert found["instruction_backbone"] == pytest.approx(0.6)
    assert found["instruction_text"] is None
    assert found["alignment"] == 0.9
    assert found["other_instruction"] == 2.0


def test_steps_to_a_loss_are_those_of_the_first_that_is_low_enough(tmp_path):
    losses = {25: 1.2, 50: 0.9, 75: 0.4, 100: 0.6}
    found = figures_of(replace(outcome(1, 4, tmp_path), losses=losses))
    assert found["steps_to_1.0"] == 50
    assert found["steps_to_0.5"] == 75
    assert found["steps_to_0.2"] is None


def test_times_are_those_of_the_cascade_over_those_of_the_model(tmp_path):
    one = {"rows": 1, "lengths": [1, 4, 64], "speech": [1, 2, 10], "cascade": [1, 3, 11]}
    found = figures_of(replace(outcome(1, 4, tmp_path), latency=[one]))
    assert found["time_one_4"] == 1.5
    assert found["time_one_64"] == pytest.approx(1.1)
    assert found["time_many_4"] is None


def test_several_seeds_give_a_mean_and_a_spread(tmp_path):
    found = over_seeds([outcome(1, 4, tmp_path), outcome(2, 6, tmp_path)])
    exact = found["transcripts-full-1.5e-3"]["exact_speech"]
    assert (exact.value, exact.low, exact.high) == pytest.approx((0.6, 0.5, 0.7))
    assert found["transcripts-full-1.5e-3"]["held_out_instruction"].value is None


@pytest.fixture
def study(tmp_path):
    """Of two seeds; what was heard is in a dataset."""
    dataset = write_dataset(tmp_path / "data/dataset", parts=1)
    (tmp_path / "data/run.yaml").write_text("recipe: <i>testbed</i>\n")
    outcomes = []
    for seed, prediction in ((1, TRANSCRIPT), (2, "good")):
        folder = tmp_path / f"arms/a-1.5-seed{seed}"
        evaluation = folder / "evaluation-test-1-8"
        evaluation.mkdir(parents=True)
        (evaluation / "states.png").write_bytes(b"png")
        (folder / "train.yaml").write_text("seed: <b>1</b>\n")
        answer = Prediction(
            sample_id=f"sent{0:028}",
            side="speech",
            task="sentiment",
            reference="good",
            prediction=prediction,
            eval_group="train",
            transcript=TRANSCRIPT,
        )
        one = replace(
            outcome(seed, 4, tmp_path, inside=INSIDE),
            folder=folder,
            evaluation=evaluation,
            report={"loss": 0.5, "labels": 1_000, "seconds": 90.0},
            answers=[answer],
            heard={answer.sample_id: "librispeech/world/train-world/1"},
        )
        outcomes.append(one)
    return Study(
        name="attention",
        outcomes=outcomes,
        figures=over_seeds(outcomes),
        scale=replace(SCALE, looked=8),
        hours=1.0,
        jobs=2,
        seconds=60.0,
        machine="a processor, 2 cores",
        dataset=dataset,
        run_yamls=[dataset.parent / "run.yaml"],
    )


def test_the_page_shows_figures_sound_and_all_that_made_it_and_escapes_them(study, tmp_path):
    write_study(study, tmp_path / "attention")
    page = (tmp_path / "attention/index.html").read_text()
    assert "seed: &lt;b&gt;1&lt;/b&gt;" in page
    assert "recipe: &lt;i&gt;testbed&lt;/i&gt;" in page
    assert 'href="../arms/a-1.5-seed1/evaluation-test-1-8/index.html"' in page
    assert page.count("<audio controls") == 1
    assert page.count("data:image/png;base64,") == 3  # bars, layers, the first seed's states
    assert "copies the transcript" in page
    assert "--seeds 2 --hours 1 --steps 8" in page
    assert "1,000 tokens trained in 1.5 minutes" in page
    assert (tmp_path / "attention/layers.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "attention/study.json").read_text())
    assert [each["figures"]["exact_speech"] for each in found["trainings"]] == [0.0, 1.0]
    assert found["trainings"][0]["inside"]["cka"] == INSIDE["cka"]
    assert "0.500 [0.000, 1.000]" in as_text(study)


def test_a_figure_that_some_seeds_have_not_says_how_many_have(study):
    first = replace(study.outcomes[0], losses={2: 0.1})
    plan = replace(study, name="interleaving", outcomes=(first, study.outcomes[1]))
    lines = replace(plan, figures=over_seeds(plan.outcomes)).lines()
    assert "2.000 (1 of 2)" in lines[0]


def test_what_earlier_calls_took_is_known_of_the_same_command_only(study, tmp_path):
    assert _seconds_before(tmp_path, study.command()) == 0
    write_study(study, tmp_path)
    assert _seconds_before(tmp_path, study.command()) == 60
    assert _seconds_before(tmp_path, "another") == 0
    whole = (tmp_path / "study.json").read_text()
    (tmp_path / "study.json").write_text(whole[: len(whole) // 2])
    assert _seconds_before(tmp_path, study.command()) == 0


def test_another_split_has_a_page_of_its_own(tmp_path):
    assert place_of(tmp_path, "losses", "test") == tmp_path / "losses"
    assert place_of(tmp_path, "losses", "validation") == tmp_path / "losses-validation"


def test_what_is_ahead_is_said_with_the_time_of_what_is_finished(tmp_path):
    arms = STUDIES["losses"].core[:2]
    assert _ahead(tmp_path, arms, [1], SCALE, 2) == (
        "datasets: 1 (0 there); trainings of 8 steps: 2 (0 finished), and the questions to each "
        "model; how long they take is said when the first steps are seen"
    )
    (tmp_path / "data/dataset").mkdir(parents=True)
    done = tmp_path / f"arms/{arms[0].name}-seed1"
    done.mkdir(parents=True)
    (done / "report.json").write_text(json.dumps({"report": {"seconds": 600.0}}))
    said = _ahead(tmp_path, arms, [1, 2], SCALE, 2)
    assert said.startswith("datasets: 1 (1 there); trainings of 8 steps: 4 (1 finished)")
    assert said.endswith("the others take about 15 minutes")


ARMS = {arm.name: arm for plan in STUDIES.values() for arm in (*plan.core, *plan.more)}


@pytest.mark.parametrize("arm", ARMS.values(), ids=ARMS)
def test_arms_are_configurations_that_train_takes(arm, tmp_path):
    datasets = {WHOLE: tmp_path / "all", arm.data: tmp_path / "dataset"}
    document = train_document(arm, 1, datasets, tmp_path / "out", SCALE)
    config = resolve_train(document, where="test")
    assert config.validation.datasets[0].path == datasets[WHOLE]
    assert config.data.datasets[0].tasks == arm.tasks
    assert config.stages[0].learning_rates.llm == arm.llm_rate
    assert (config.model.llm.mode == "frozen") == (arm.llm_rate == 0)


class _Folders(dict[Data, str]):
    def __missing__(self, data: Data) -> str:
        return data.folder


def test_arms_of_one_name_are_one_training_and_no_two_are_the_same(tmp_path):
    plans = [(*plan.core, *plan.more) for plan in STUDIES.values()]
    assert all(ARMS[arm.name] == arm for plan in plans for arm in plan)
    for plan in (*plans, ARMS.values()):
        documents = [
            json.dumps(train_document(arm, 1, _Folders(), tmp_path, SCALE)) for arm in plan
        ]
        assert len(set(documents)) == len(plan)


def test_figures_that_a_study_shows_are_explained():
    for plan in STUDIES.values():
        assert set(plan.shows) <= set(FIGURES)
        assert set(plan.draws) <= set(plan.shows) & set(DRAWN)


def test_how_long_it_will_take_is_said_once_from_steps_that_know_their_clips(tmp_path):
    outputs = [tmp_path / "first", tmp_path / "second"]
    for output in outputs:
        output.mkdir()
    (outputs[0] / "metrics.jsonl").write_text("{}\n" * 50)  # of an earlier start
    forecast = _Forecast(outputs, 400)

    def seen(steps):
        (outputs[1] / "metrics.jsonl").write_text("{}\n" * steps)
        return forecast.sentence()

    assert [seen(steps) for steps in (0, 100, 170, 180)] == [None] * 4
    said = seen(230)
    assert said is not None
    assert said.startswith("2 trainings of 400 steps: about 0 minutes to go")
    assert seen(300) is None


def test_an_evaluation_that_asked_as_much_is_not_made_again(tmp_path):
    def done(looked=0, *, cascades=False, rows=1):
        return _done(tmp_path, replace(SCALE, looked=looked, cascades=cascades, rows=rows))

    assert done() is None
    looked_into = tmp_path / "evaluation-test-1-8"
    looked_into.mkdir()
    assert done() is None  # begun, not finished
    (looked_into / "index.html").touch()
    assert done() == done(looked=8) == looked_into
    assert done(looked=9) is done(rows=2) is done(cascades=True) is None
    cascade = tmp_path / "evaluation-test-1-0-cascade"
    cascade.mkdir()
    (cascade / "index.html").touch()
    assert done(cascades=True) == done() == cascade


def test_an_arm_that_is_not_known_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'transcripts-full-1"):
        run_study(
            "anchor-bias",
            tmp_path,
            arms=["transcript-full-1.5e-3"],
            hours=0.1,
            scale=SCALE,
            seeds=[1],
            jobs=1,
            progress=Progress(None),
        )
    assert not list(tmp_path.iterdir())


def test_an_arm_that_fails_is_named_with_what_it_said(tmp_path):
    arm = Arm(name="none", means="none", train={"model": {"llm": {"mode": "frozen"}}})
    (tmp_path / "arms").mkdir()
    (tmp_path / "arms/none-seed1.log").write_text("said by an earlier command\n")
    with pytest.raises(
        TrainingError,
        match=r"sllm-data train .*none-seed1\.yaml must end well, ended with 2: error:",
    ):
        run_arms(
            [arm, arm],
            {WHOLE: tmp_path / "no-dataset"},
            tmp_path / "arms",
            SCALE,
            seeds=[1],
            jobs=1,
            say=lambda _: None,
        )


@pytest.mark.engine
@pytest.mark.timeout(1_800)
@pytest.mark.filterwarnings("default")  # vLLM's imports warn
def test_data_of_an_arm_differs_in_what_is_compared_and_takes_over_answers(tmp_path, monkeypatch):
    # engines in this process: all but the first start at once
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")

    def rows(data):
        dataset = make_dataset(tmp_path, data, hours=0.03, seed=1, progress=Progress(None))
        columns = ["audio_refs", "task", "split", "eval_group", "cut"]
        found = [
            row
            for part in sorted((dataset / "samples").glob("part-*"))
            for row in read_part(part, [*columns, "instruction_id"]).to_pylist()
        ]
        return [row for row in found if (row["split"], row["eval_group"]) == ("train", "train")]

    whole = rows(WHOLE)
    spoken = {row["audio_refs"][0]["audio_id"] for row in whole}
    single = rows(Data(tasks_each=1))
    assert sorted(row["audio_refs"][0]["audio_id"] for row in single) == sorted(spoken)
    assert len({row["task"] for row in single}) > 3

    both = rows(Data(heard_share=0.5, patterns=("repeat", "next")))
    cuts = Counter(row["cut"] for row in both)
    assert cuts.keys() == {None, "span/repeat", "span/next"}
    assert cuts[None] == len(whole)
    assert cuts["span/repeat"] > len(spoken) / 3

    less = {row["audio_refs"][0]["audio_id"] for row in rows(Data(hours_share=0.25))}
    half = {row["audio_refs"][0]["audio_id"] for row in rows(Data(hours_share=0.5))}
    assert less < half < spoken
    answered = sorted(
        (tmp_path / Data(hours_share=0.5).folder / "dataset/responses").rglob("part-*")
    )
    assert answered
    for part in answered:
        for row in read_part(part, ["engine", "reused_from"]).to_pylist():
            assert row["reused_from"] or row["engine"] == "none"

    few = rows(Data(wordings=1))
    assert len(few) == len(whole)
    assert {row["instruction_id"].split(".")[-1] for row in few} == {"01"}
    assert len({row["instruction_id"] for row in whole}) > 30
    many = rows(Data(wordings=8))
    assert len(many) == len(whole)
    assert {row["instruction_id"].split(".")[-1] for row in many} == {
        *("01", "02", "03", "04", "05", "06", "09", "10")
    }


@pytest.mark.engine
@pytest.mark.timeout(1_800)
def test_the_command_makes_a_page_of_a_study_and_goes_on_with_it(tmp_path, engine_inside):
    def run(name, arm):
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "sllm_data.cli", "experiment", name),
                *(str(tmp_path / "study"), "--hours", "0.03", "--steps", "4", "--arms", arm),
                *("--rows", "1", "--budget", "256"),
            ],
            env=engine_inside,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended

    arm = "self-powered-lora"
    first = run("anchor-bias", arm)
    assert first.stdout.count(arm) == 1
    study = json.loads((tmp_path / "study/anchor-bias/study.json").read_text())
    assert list(study["figures"]) == [arm]
    assert study["trainings"][0]["report"]["steps"] == 4
    page = (tmp_path / "study/anchor-bias/index.html").read_text()
    assert page.count("<audio controls") > 3
    assert "<summary>train.yaml</summary>" in page

    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "study").rglob("weights*")}
    assert len(made) == 1
    run("attention", arm)  # the same training, looked into
    cut = run("interleaving", "interleaved-word-0.5-lora")
    assert "data-word-0.5/dataset" in cut.stderr
    rows = [
        row
        for part in (tmp_path / "study/data-word-0.5/dataset/samples").glob("part-*")
        for row in read_part(part, ["kind", "speech_share"]).to_pylist()
    ]
    shares = [row["speech_share"] for row in rows if row["kind"] == "interleaved"]
    assert 0.2 < len(shares) / len(rows) < 0.8
    assert 0.3 < statistics.fmean(shares) < 0.7
    assert made == {path: path.stat().st_mtime_ns for path in made}
    inside = json.loads((tmp_path / "study/attention/study.json").read_text())
    assert 0 < inside["figures"][arm]["instruction_backbone"]["value"] < 1
