"""Weighted draws without replacement, one utterance at a time.

Each (utterance, task) has a fixed exponential variate divided by the task's weight; the
utterance gets the tasks with the smallest (Efraimidis and Spirakis, 2006). So a draw knows
nothing of order or of other rows, and adding a task later changes no variate: it only
enters where it would have been drawn from the start.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

from sllm_data.sampling.config import DrawConfig, TaskConfig
from sllm_data.seeding import uniform

Choice = TypeVar("Choice")

_UNSPACED = ("zh", "ja", "th", "lo", "km", "my", "yue", "bo")
_MAX_EMOTION = 40  # characters
_UNKNOWN_EMOTIONS = frozenset({"unknown", "none", "n/a", "na", "other", "-", "?"})
_CHARACTERS_PER_WORD = 2  # of scripts without spaces, roughly


def base_language(code: str) -> str:
    """Returns the language of a code without region or script.

    >>> base_language("zh-CN")
    'zh'
    """
    return code.split("-", maxsplit=1)[0].lower()


def num_words(transcript: str, language: str) -> int:
    """Counts words; in scripts without spaces, two characters count as one.

    >>> num_words("guten Morgen", "de"), num_words("早上好吗", "zh-CN")
    (2, 2)
    """
    if base_language(language) in _UNSPACED:
        return math.ceil(len("".join(transcript.split())) / _CHARACTERS_PER_WORD)
    return len(transcript.split())


def is_eligible(
    task: TaskConfig, *, language: str, transcript: str, split: str, emotion: str | None = None
) -> bool:
    """Whether a task may be asked of an utterance of this language, length, split and emotion."""
    return (
        is_open(task, language=language, split=split)
        and num_words(transcript, language) >= task.min_words
        and (is_named(emotion) or not task.needs_emotion)
    )


def is_named(emotion: str | None) -> bool:
    """Whether an emotion is one that a prompt can name: a few printable words.

    >>> is_named("happy"), is_named(None), is_named("unknown")
    (True, False, False)
    """
    return (
        emotion is not None
        and 0 < len(emotion.strip()) <= _MAX_EMOTION
        and emotion.isprintable()
        and emotion.strip().casefold() not in _UNKNOWN_EMOTIONS
    )


def is_open(task: TaskConfig, *, language: str, split: str) -> bool:
    """Whether a task may be asked in a language and split, if the transcript is long enough."""
    own = base_language(language)
    if task.weight == 0 or (task.held_out and split == "train"):
        return False
    if task.languages and own not in {base_language(code) for code in task.languages}:
        return False
    return not (task.to and all(base_language(code) == own for code in task.to))


def num_tasks_for(config: DrawConfig, *, seed: int, audio_id: str) -> int:
    """Returns how many tasks an utterance is to get."""
    several = uniform(seed, "num_tasks", audio_id) < config.multi_task_share
    return config.multi_task_count if several else 1


def draw_tasks(
    weights: Mapping[str, float], *, seed: int, audio_id: str, count: int
) -> tuple[str, ...]:
    """Draws up to `count` distinct tasks; those with weight 0 are never drawn.

    Args:
        weights: Relative shares of the tasks that are eligible.
        seed: Of the run.
        audio_id: The utterance.
        count: How many; fewer come back where fewer are eligible.
    """
    keys = sorted(
        (-math.log(uniform(seed, "task", audio_id, task)) / weight, task)
        for task, weight in weights.items()
        if weight > 0
    )
    return tuple(task for _, task in keys[:count])


def pick(choices: Sequence[Choice], *, seed: int, stage: str, identity: tuple[str, ...]) -> Choice:
    """Picks one of the choices, uniformly; their order must be fixed."""
    return choices[int(uniform(seed, stage, *identity) * len(choices))]


def pick_weighted(
    shares: Mapping[str, float], *, seed: int, stage: str, identity: tuple[str, ...]
) -> str:
    """Picks one of the names by their shares, whatever order they come in."""
    if len(shares) == 1:
        return next(iter(shares))
    point = uniform(seed, stage, *identity) * sum(shares.values())
    names = sorted(shares)
    for name in names:
        point -= shares[name]
        if point < 0:
            return name
    return names[-1]


def draw_params(
    task: TaskConfig,
    *,
    seed: int,
    audio_id: str,
    name: str,
    language: str,
    emotion: str | None = None,
) -> dict[str, str]:
    """Draws the parameters of a task for one utterance, or none.

    Returns:
        `to`: language to translate into; `truth`: whether the statement is to be true;
        `emotion`: as the corpus has it.
    """
    params = {}
    own = base_language(language)
    identity = (audio_id, name)
    choices = sorted(code for code in task.to if base_language(code) != own)
    if choices:
        params["to"] = pick(choices, seed=seed, stage="task_params", identity=identity)
    if task.question == "statement":
        params["truth"] = pick(("false", "true"), seed=seed, stage="truth", identity=identity)
    if task.needs_emotion and emotion is not None:
        params["emotion"] = emotion.strip()
    return params
