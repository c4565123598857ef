"""What the backbone is asked next: more of what it gets wrong, and longer stories bit by bit.

A *skill* is a task on stories of one length. Asked alike, most of a training would go to what
was learnt long ago: a name is found after minutes, while a story of four sentences is put
into Marenic only near the end.
"""

from collections import Counter
from dataclasses import dataclass

from sllm_data.seeding import rng_for, seed_for
from sllm_data.testbed.answers import TASKS
from sllm_data.testbed.events import MAX_SENTENCES, endless_stories
from sllm_data.testbed.lessons import Course, Lesson

_ALWAYS = 0.1  # the weight of a skill that is never wrong; one that always is has 1 more
_SINGLE = 5.0  # single sentences are asked more often than all stories together
_OPENS_AT = 0.75  # right answers about stories of one length, before longer ones are told
_LEAST_ASKED = 20
_MEMORY = 50  # answers that a share of right ones looks back on


@dataclass(frozen=True, slots=True)
class Skill:
    """A task on stories of one length."""

    task: str
    num_events: int


class Curriculum:
    """Draws lessons of the half `train`; what it draws depends on how the last were answered."""

    def __init__(self, course: Course, *, seed: int) -> None:
        """Begins with single sentences, of every task as many.

        Args:
            course: How the tasks are worded.
            seed: Of stories, tasks and wordings.
        """
        self._course = course
        self._seed = seed
        self._drawn = 0
        self._stories = {
            length: endless_stories(
                seed=seed_for(seed, "testbed-curriculum-stories", length), num_events=length
            )
            for length in range(1, MAX_SENTENCES + 1)
        }
        self._skills = [Skill(task, 1) for task in sorted(TASKS)]
        self._asked: Counter[Skill] = Counter()
        self._right: dict[Skill, float] = {}

    @property
    def longest(self) -> int:
        """Sentences in the longest stories that are told so far."""
        return self._skills[-1].num_events

    def draw(self) -> tuple[Skill, Lesson]:
        """Draws the next lesson."""
        rng = rng_for(self._seed, "testbed-curriculum", self._drawn)
        self._drawn += 1
        (skill,) = rng.choices(self._skills, [self._weight(skill) for skill in self._skills])
        story = next(self._stories[skill.num_events])
        return skill, self._course.lesson(skill.task, story, rng)

    def mark(self, skill: Skill, *, right: bool) -> None:
        """Takes down whether a lesson was answered exactly."""
        self._asked[skill] += 1
        before = self._right.get(skill, 0.0)
        self._right[skill] = before + (right - before) / min(self._asked[skill], _MEMORY)
        newest = [skill for skill in self._skills if skill.num_events == self.longest]
        known = sum(self._right.get(skill, 0.0) for skill in newest) / len(newest)
        often = all(self._asked[skill] >= _LEAST_ASKED for skill in newest)
        if known > _OPENS_AT and often and self.longest < MAX_SENTENCES:
            self._skills += [Skill(skill.task, self.longest + 1) for skill in newest]

    def _weight(self, skill: Skill) -> float:
        share = _SINGLE if skill.num_events == 1 else 1.0
        return share * (_ALWAYS + 1 - self._right.get(skill, 0.0))
