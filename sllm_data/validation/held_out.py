"""Held-out wordings and tasks are really held out of training.

What is held out is told by the run (flags in its pools, `held_out` of its tasks) and by the
rows themselves: one row in a held-out group makes its wording or task a held-out one.
"""

from contextlib import suppress

import pyarrow as pa

from sllm_data.errors import PoolError
from sllm_data.steps.context import pools_of
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Subject
from sllm_data.validation.views import Views

RULES = (
    Rule(
        name="held_out_wording",
        level=3,
        meaning="a wording that is held out, by its pool or by the evaluation group of a row, is "
        "in no row of train and in none whose evaluation group is train",
    ),
    Rule(
        name="held_out_task",
        level=3,
        meaning="a task that is held out, by run.yaml or by the evaluation group of a row, is in "
        "no row of train, and all its rows are of that group",
    ),
)


def check(views: Views) -> None:
    """Asks both questions of the samples."""
    if "samples" not in views.tables:
        return
    wordings, tasks = _flagged_wordings(views.subject), _flagged_tasks(views.subject)
    views.connection.execute("CREATE TABLE flagged AS SELECT * FROM wordings")
    views.connection.execute("CREATE TABLE flagged_tasks AS SELECT * FROM tasks")
    del wordings, tasks  # DuckDB reads them by their names
    message = (
        "format('{} must be held out, is in a row of split {} and evaluation group {}', "
        "value, split, eval_group) AS message"
    )
    views.note(
        "held_out_wording",
        "instruction_id",
        f"""
        WITH held AS (
            SELECT DISTINCT instruction_id FROM samples WHERE eval_group = 'held_out_instruction'
            UNION SELECT instruction_id FROM samples JOIN flagged
                USING (instruction_id, pool_sha256)
        )
        SELECT file, place, row, instruction_id AS value, {message} FROM samples
        WHERE instruction_id IN (FROM held) AND (split = 'train' OR eval_group = 'train')""",
    )
    views.note(
        "held_out_task",
        "task",
        f"""
        WITH held AS (
            SELECT DISTINCT task FROM samples WHERE eval_group = 'held_out_task'
            UNION SELECT task FROM flagged_tasks
        )
        SELECT file, place, row, task AS value, {message} FROM samples
        WHERE task IN (FROM held) AND (split = 'train' OR eval_group <> 'held_out_task')""",
    )


def _flagged_wordings(subject: Subject) -> pa.Table:
    """The wordings that the run's pools hold out, with the digest of the pool's file.

    A pool that is not there any more, or was edited since, has nothing to say: what the rows
    themselves say is judged in any case.
    """
    flagged: list[tuple[str, str]] = []
    if subject.config is not None:
        with suppress(PoolError):
            flagged = [
                (wording.id, pool.sha256)
                for pool in pools_of(subject.config)
                for wording in pool.instructions
                if wording.held_out
            ]
    return pa.table(
        {
            "instruction_id": pa.array([wording for wording, _ in flagged], pa.string()),
            "pool_sha256": pa.array([digest for _, digest in flagged], pa.string()),
        }
    )


def _flagged_tasks(subject: Subject) -> pa.Table:
    tasks = subject.config.tasks if subject.config else {}
    names = [name for name, task in tasks.items() if task.held_out]
    return pa.table({"task": pa.array(names, pa.string())})
