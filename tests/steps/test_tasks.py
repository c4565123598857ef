"""Tasks for a whole index: by chance row by row, by exact quotas, and for new tasks later."""

from collections import Counter
from pathlib import Path

import duckdb
import pytest

from sllm_data.config import resolve
from sllm_data.documents import identity_of
from sllm_data.sampling import largest_remainder
from sllm_data.steps.dataset import Dataset
from sllm_data.steps.tasks import Admitted, TaskChooser

SPLITS = ("train", "validation", "test")
PLAIN = {
    "intent": {"weight": 2, "min_words": 1},
    "sentiment": {"weight": 1, "min_words": 1},
    "summary": {"weight": 1, "min_words": 1},
}


def utterances(count: int = 600) -> list[Admitted]:
    """Every tenth in each of validation and test; every third is German; 1 to 14 words."""
    return [
        Admitted(
            audio_id=f"c/1/en/{i:05d}",
            language="de" if i % 3 == 0 else "en",
            transcript=" ".join(["word"] * (1 + i % 14)),
            split=SPLITS[i % 10] if i % 10 < 3 else "train",
            emotion=None,
        )
        for i in range(count)
    ]


def dataset(*tasks: dict[str, dict[str, object]], mode: str = "quota", **draw: object) -> Dataset:
    """A dataset whose extensions had these tasks, the last of them being now."""
    configs = []
    for names in tasks:
        silent = {name: {"weight": 0} for name in resolve(_document(), where="x").tasks}
        document = _document() | {"tasks": silent | names, "draw": {"mode": mode} | draw}
        configs.append(resolve(document, where="x"))
    extensions = tuple(
        identity_of(config) | {"tasks": dict(names)}
        for config, names in zip(configs, tasks, strict=True)
    )
    return Dataset(root=Path("d"), config=configs[-1], extensions=extensions)


def _document() -> dict[str, object]:
    return {
        "seed": 1,
        "output": "d",
        "corpora": [{"kind": "librispeech", "path": "x"}],
        "backbone": {"engine": "scripted"},
    }


@pytest.fixture
def database():
    with duckdb.connect() as connection:
        yield connection


def fill(database, rows: list[Admitted], *, growth: frozenset[str] = frozenset()) -> None:
    database.execute("CREATE TABLE admitted (audio_id VARCHAR, split VARCHAR, growth BOOLEAN)")
    database.execute(
        "CREATE TABLE stored (audio_id VARCHAR, language VARCHAR, transcript VARCHAR, "
        "emotion VARCHAR)"
    )
    if not rows:
        return
    database.executemany(
        "INSERT INTO admitted VALUES (?, ?, ?)",
        [(row.audio_id, row.split, row.audio_id in growth) for row in rows],
    )
    database.executemany(
        "INSERT INTO stored VALUES (?, ?, ?, NULL)",
        [(row.audio_id, row.language, row.transcript) for row in rows],
    )


def shares(rows, chosen, split: str) -> Counter[str]:
    return Counter(
        task
        for row, tasks in zip(rows, chosen, strict=True)
        for task in tasks
        if row.split == split
    )


@pytest.mark.parametrize("split", SPLITS)
def test_quotas_are_exact_in_every_split(database, split):
    rows = utterances()
    fill(database, rows)
    chosen = TaskChooser(dataset(PLAIN), database).choose(rows, growth=False)
    found = shares(rows, chosen, split)
    weights = {"intent": 2.0, "sentiment": 1.0, "summary": 1.0}
    assert found == largest_remainder(found.total(), weights)


@pytest.mark.parametrize("mode", ["quota", "draw"])
def test_every_utterance_gets_tasks_that_are_eligible_and_distinct(database, mode):
    rows = utterances()
    fill(database, rows)
    tasks = {
        "intent": {"weight": 1, "min_words": 3},
        "translation": {"weight": 2, "to": ["de"], "response_language": "to"},
        "summary": {"weight": 1, "min_words": 12, "held_out": True},
    }
    chooser = TaskChooser(dataset(tasks, mode=mode, multi_task_share=1.0), database)
    for row, chosen in zip(rows, chooser.choose(rows, growth=False), strict=True):
        eligible = {"intent"} if len(row.transcript.split()) >= 3 else set()
        if row.language == "en":
            eligible.add("translation")
        if len(row.transcript.split()) >= 12 and row.split != "train":
            eligible.add("summary")
        assert len(set(chosen)) == len(chosen) == min(2, len(eligible))
        assert set(chosen) <= eligible


@pytest.mark.parametrize("mode", ["quota", "draw"])
def test_the_choice_does_not_depend_on_how_rows_are_asked_for(database, mode):
    rows = utterances(200)
    fill(database, rows)
    chooser = TaskChooser(dataset(PLAIN, mode=mode), database)
    whole = chooser.choose(rows, growth=False)
    pieces = [t for i in range(0, 200, 7) for t in chooser.choose(rows[i : i + 7], growth=False)]
    backwards = chooser.choose(rows[::-1], growth=False)[::-1]
    assert whole == pieces == backwards


def test_quotas_do_not_depend_on_the_order_of_the_index():
    rows = utterances(200)
    found = []
    for order in (rows, rows[::-1]):
        with duckdb.connect() as database:
            fill(database, order)
            found.append(TaskChooser(dataset(PLAIN), database).choose(rows, growth=False))
    assert found[0] == found[1]


def test_an_utterance_that_was_not_admitted_gets_nothing(database):
    rows = utterances(20)
    fill(database, rows[:10])
    chosen = TaskChooser(dataset(PLAIN), database).choose(rows, growth=False)
    assert all(chosen[:10])
    assert chosen[10:] == [()] * 10


def test_an_empty_index_needs_no_tasks(database):
    fill(database, [])
    grown = dataset(PLAIN, PLAIN | {"keywords": {"weight": 1}})
    assert TaskChooser(grown, database).choose([], growth=True) == []


def test_all_tasks_of_a_first_run_are_new_and_those_of_a_later_one_are_what_it_adds(database):
    fill(database, [])
    assert TaskChooser(dataset(PLAIN, mode="draw"), database).new_tasks == set(PLAIN)
    grown = dataset(PLAIN, PLAIN | {"keywords": {"weight": 1}}, mode="draw")
    assert TaskChooser(grown, database).new_tasks == {"keywords"}


def test_by_chance_an_old_utterance_gets_a_new_task_where_it_would_have_drawn_it_at_first(
    database,
):
    rows = utterances()
    fill(database, rows, growth=frozenset(row.audio_id for row in rows))
    all_tasks = PLAIN | {"keywords": {"weight": 3, "min_words": 1}}
    from_the_start = TaskChooser(dataset(all_tasks, mode="draw"), database)
    later = TaskChooser(dataset(PLAIN, all_tasks, mode="draw"), database)
    whole = from_the_start.choose(rows, growth=False)
    grown = later.choose(rows, growth=True)
    assert grown == [tuple(task for task in tasks if task == "keywords") for tasks in whole]
    assert any(grown)


@pytest.mark.parametrize("split", SPLITS)
def test_by_quota_a_new_task_gets_its_share_relative_to_the_old_ones(database, split):
    """Old tasks of weight 4 in all had one request each row: weight 1 is a quarter of that."""
    rows = utterances()
    fill(database, rows, growth=frozenset(row.audio_id for row in rows))
    new = {"keywords": {"weight": 1, "min_words": 1}}
    chooser = TaskChooser(dataset(PLAIN, PLAIN | new, multi_task_share=0.0), database)
    grown = chooser.choose(rows, growth=True)
    num_rows = sum(row.split == split for row in rows)
    assert shares(rows, grown, split) == {"keywords": round(num_rows / 4)}


def test_a_held_out_task_takes_no_share_of_train_from_a_new_one(database):
    rows = utterances()
    fill(database, rows, growth=frozenset(row.audio_id for row in rows))
    old = {
        "intent": {"weight": 1, "min_words": 1},
        "summary": {"weight": 3, "min_words": 1, "held_out": True},
    }
    new = {"keywords": {"weight": 1, "min_words": 1}}
    chooser = TaskChooser(dataset(old, old | new, multi_task_share=0.0), database)
    found = shares(rows, chooser.choose(rows, growth=True), "train")
    assert found == {"keywords": sum(row.split == "train" for row in rows)}


def test_a_new_task_is_given_to_eligible_utterances_only(database):
    rows = utterances()
    fill(database, rows, growth=frozenset(row.audio_id for row in rows))
    new = {"keywords": {"weight": 100, "min_words": 12}}
    chooser = TaskChooser(dataset(PLAIN, PLAIN | new), database)
    for row, chosen in zip(rows, chooser.choose(rows, growth=True), strict=True):
        long_enough = len(row.transcript.split()) >= 12
        assert chosen == (("keywords",) if long_enough else ())
