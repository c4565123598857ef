"""What the backbone is taught and examined on: instructions about stories, answered exactly.

The wordings and the order of instruction and content are those of the pipeline; they are
handed in, since the testbed does not know the pipeline.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sllm_data.seeding import rng_for
from sllm_data.testbed.answers import TASKS
from sllm_data.testbed.events import MAX_SENTENCES, Half, Story, endless_stories

Layout = Callable[[str, str], str]
"""Makes the user's turn of an instruction and a content."""

SENTENCES = (1,)
STORIES = tuple(range(2, MAX_SENTENCES + 1))
"""Sentences in the texts of an exam."""

_SYSTEMS = (
    "You are a helpful assistant.",
    "Follow the instruction.",
    "You help with texts about what people did.",
    "Answer briefly and add nothing.",
)
_SYSTEM_SHARE = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class Lesson:
    """One turn of a user and the one right answer."""

    task: str
    system: str | None
    prompt: str
    answer: str

    @property
    def messages(self) -> list[dict[str, str]]:
        """What comes before the answer, as chat templates take it."""
        turns = [{"role": "system", "content": self.system}] if self.system else []
        return [*turns, {"role": "user", "content": self.prompt}]


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """How the tasks are worded."""

    wordings: Mapping[str, Sequence[str]]
    """The instructions of each of TASKS, without variables."""
    layouts: Sequence[Layout]

    def __post_init__(self) -> None:
        missing = sorted(TASKS.keys() - {task for task, texts in self.wordings.items() if texts})
        if missing:
            raise ValueError(f"wordings must hold every task, there is none for {missing[0]}")
        if not self.layouts:
            raise ValueError("layouts must hold one at least")

    def lesson(self, task: str, story: Story, rng: random.Random) -> Lesson:
        """Returns one task about one story, in any of its wordings and layouts."""
        layout = rng.choice(self.layouts)
        return Lesson(
            task=task,
            system=rng.choice(_SYSTEMS) if rng.random() < _SYSTEM_SHARE else None,
            prompt=layout(rng.choice(self.wordings[task]), story.text),
            answer=TASKS[task](story),
        )

    def exam(
        self, *, seed: int, per_task: int, lengths: Sequence[int] = SENTENCES, half: Half = "test"
    ) -> list[Lesson]:
        """Returns as many lessons of each task, each over another story of one half.

        Args:
            seed: Of stories, wordings and layouts.
            per_task: How many.
            lengths: Sentences in the stories, in turns.
            half: Of the world.
        """
        told = {
            length: endless_stories(seed=seed, half=half, num_events=length) for length in lengths
        }
        return [
            self.lesson(
                task,
                next(told[lengths[number % len(lengths)]]),
                rng_for(seed, "testbed-exam", task, number),
            )
            for number in range(per_task)
            for task in sorted(TASKS)
        ]
