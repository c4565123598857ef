"""Trains the backbone of the small spoken world from scratch, and examines it.

The same arguments on the same machine, with the same versions of torch and transformers,
give the same files.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

from sllm_data.errors import RejectedError
from sllm_data.seeding import rng_for
from sllm_data.testbed.backbone import LlamaSize, llama, save, trained_tokenizer, wrapped
from sllm_data.testbed.curriculum import Curriculum, Skill
from sllm_data.testbed.lessons import SENTENCES, STORIES, Course, Lesson
from sllm_data.testbed.training import Optimizers, Report, num_parameters, repeatable, schedule

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneTraining:
    """How the backbone is trained; the defaults are those of the one that is shipped."""

    seed: int = 1
    size: LlamaSize = field(
        default_factory=lambda: LlamaSize(
            hidden=192, layers=4, heads=6, feed_forward=512, tied=True
        )
    )
    vocab_size: int = 2_048
    """At most; large enough for a token a word, in English and in Marenic."""
    steps: int = 3_000
    batch_tokens: int = 2_048
    """Of one step, prompts and padding included."""
    learning_rate: float = 4e-3
    """At its highest; it rises over the first `warm_up` of the steps and falls to almost none."""
    warm_up: float = 0.05
    exam_per_task: int = 300
    """Questions about sentences, and as many about stories."""
    required: float = 0.99
    """Exact answers of every task on sentences that it never saw."""
    required_stories: float = 0.7
    """The same on stories of 2 to 4 sentences."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneFigures:
    """What a trained backbone can do."""

    parameters: int
    sentences: dict[str, float]
    """Share of exact answers by task, on sentences that it never saw."""
    stories: dict[str, float]
    """The same on stories of 2 to 4 sentences."""
    tokens: int
    """Seen in training, prompts and padding included."""


def train_backbone(
    folder: Path,
    course: Course,
    training: BackboneTraining,
    *,
    minutes: float,
    report: Report = lambda _steps, _note: None,
) -> BackboneFigures:
    """Trains a backbone and writes its model folder, in bfloat16.

    Args:
        folder: Created; files in it are overwritten.
        course: How the tasks are worded.
        training: Size, length, seed.
        minutes: What it may take; checked before every step.
        report: Called after every step.

    Raises:
        RejectedError: The time ran out, and nothing is written; or a task falls short of what
            is required, and the folder can be looked at.
    """
    import torch  # noqa: PLC0415 - its import takes seconds

    with repeatable(training.seed):
        tokenizer = trained_tokenizer(
            _texts(course, training.seed), vocab_size=training.vocab_size
        )
        model = llama(tokenizer, training.size, seed=training.seed)
        curriculum = Curriculum(course, seed=training.seed)
        tokens = 0
        ends = time.monotonic() + 60 * minutes
        for step, loss, size in _steps(model, curriculum, wrapped(tokenizer), training):
            tokens += size
            report(1, f"loss {loss:.3f}, stories of up to {curriculum.longest}")
            if time.monotonic() > ends and step + 1 < training.steps:
                raise RejectedError(
                    f"{folder}: the backbone must be trained in {minutes:g} minutes, but these "
                    f"were over after step {step + 1:,} of {training.steps:,}, with a loss of "
                    f"{loss:.3f}; allow more minutes"
                )
        model = model.to(torch.bfloat16)
        save(folder, model, tokenizer)
        model = model.float()  # what was saved; many processors compute bfloat16 slowly
        chat = wrapped(tokenizer)
        sentences, stories = (
            examine(
                model,
                chat,
                course.exam(seed=training.seed, per_task=training.exam_per_task, lengths=lengths),
            )
            for lengths in (SENTENCES, STORIES)
        )
    for name, exact, required in (
        ("sentences", sentences, training.required),
        ("stories", stories, training.required_stories),
    ):
        worst = min(exact, key=lambda task: exact[task])
        if exact[worst] < required:
            raise RejectedError(
                f"{folder}: the backbone must answer {required:.0%} of each task exactly about "
                f"{name}, but got {exact[worst]:.1%} of {worst} after {training.steps:,} steps; "
                "train longer"
            )
    return BackboneFigures(
        parameters=num_parameters(model.parameters()),
        sentences=sentences,
        stories=stories,
        tokens=tokens,
    )


def examine_folder(folder: Path, exam: Sequence[Lesson]) -> dict[str, float]:
    """Loads a model folder and returns the share of exact greedy answers by task."""
    import torch  # noqa: PLC0415 - its import takes seconds
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - as above

    # many processors compute bfloat16 slowly
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return examine(model, AutoTokenizer.from_pretrained(folder), exam)


def examine(
    model: "LlamaForCausalLM", tokenizer: "PreTrainedTokenizerFast", exam: Sequence[Lesson]
) -> dict[str, float]:
    """Returns the share of exact greedy answers by task."""
    right: Counter[str] = Counter()
    for lesson, answer in zip(exam, answers(model, tokenizer, exam), strict=True):
        right[lesson.task] += answer == lesson.answer
    asked = Counter(lesson.task for lesson in exam)
    return {task: right[task] / asked[task] for task in sorted(asked)}


def answers(
    model: "LlamaForCausalLM", tokenizer: "PreTrainedTokenizerFast", exam: Sequence[Lesson]
) -> list[str]:
    """Returns the greedy answers, in order."""
    import torch  # noqa: PLC0415 - its import takes seconds

    prompts = [
        tokenizer.apply_chat_template(lesson.messages, tokenize=False, add_generation_prompt=True)
        for lesson in exam
    ]
    by_length = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    tokenizer.padding_side = "left"
    found: dict[int, str] = {}
    for start in range(0, len(by_length), 64):
        numbers = by_length[start : start + 64]
        asked = tokenizer(
            [prompts[number] for number in numbers],
            padding=True,
            add_special_tokens=False,
            return_tensors="pt",
            return_token_type_ids=False,
        )
        with torch.inference_mode():
            made = model.generate(**asked, max_new_tokens=96, do_sample=False)
        texts = tokenizer.batch_decode(
            made[:, asked["input_ids"].shape[1] :], skip_special_tokens=True
        )
        found |= dict(zip(numbers, texts, strict=True))
    return [found[number] for number in range(len(prompts))]


_TEXTS_PER_TASK = 400
_POOL = 12  # batches that are sorted by length together, so that little is padding
_MEAN_TOKENS = 48  # of a lesson, about


@dataclass(frozen=True, slots=True)
class _Example:
    skill: Skill
    ids: list[int]
    """Of prompt and answer."""
    begins: int
    """Where the answer does."""


def _texts(course: Course, seed: int) -> Iterator[str]:
    """Yields what the tokenizer must be good at: lessons, and the names of who speaks."""
    for lesson in course.exam(
        seed=seed, per_task=_TEXTS_PER_TASK, lengths=(*SENTENCES, *STORIES), half="train"
    ):
        for message in (*lesson.messages, {"role": "assistant", "content": lesson.answer}):
            yield f"{message['role']}\n"
            yield message["content"]


def _batches(
    curriculum: Curriculum, tokenizer: "PreTrainedTokenizerFast", training: BackboneTraining
) -> Iterator[list[_Example]]:
    """Yields batches of `batch_tokens` without end, each of examples of about one length."""
    for number in count():
        size = _POOL * training.batch_tokens // _MEAN_TOKENS
        pool = [_example(tokenizer, *curriculum.draw()) for _ in range(size)]
        pool.sort(key=lambda example: len(example.ids))
        batches = list(_cut(pool, training.batch_tokens))
        rng_for(training.seed, "testbed-batches", number).shuffle(batches)
        yield from batches


def _cut(examples: list[_Example], batch_tokens: int) -> Iterator[list[_Example]]:
    batch: list[_Example] = []
    for example in examples:  # the longest comes last, so each is its batch's width
        if batch and len(example.ids) * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(example)
    yield batch


def _example(tokenizer: "PreTrainedTokenizerFast", skill: Skill, lesson: Lesson) -> _Example:
    prompt = tokenizer.apply_chat_template(
        lesson.messages, tokenize=False, add_generation_prompt=True
    )
    begins = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer = tokenizer(lesson.answer, add_special_tokens=False)["input_ids"]
    return _Example(skill, [*begins, *answer, tokenizer.eos_token_id], len(begins))


def _steps(
    model: "LlamaForCausalLM",
    curriculum: Curriculum,
    tokenizer: "PreTrainedTokenizerFast",
    training: BackboneTraining,
) -> Iterator[tuple[int, float, int]]:
    """Makes all steps; yields number, loss per token of answers, and size in tokens."""
    import torch  # noqa: PLC0415 - its import takes seconds

    optimizers = Optimizers(model.model.layers, list(model.parameters()))
    batches = islice(_batches(curriculum, tokenizer, training), training.steps)
    for step, batch in enumerate(batches):
        ids, targets = _tensors(batch, model.config.pad_token_id)
        hidden = model.model(input_ids=ids).last_hidden_state
        asked = targets >= 0
        logits = model.lm_head(hidden[asked])
        losses = torch.nn.functional.cross_entropy(logits, targets[asked], reduction="none")
        weights = _weights(asked)
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        optimizers.step(training.learning_rate * schedule(step / training.steps, training.warm_up))
        wrong = {int(row) for row in asked.nonzero()[logits.argmax(dim=-1) != targets[asked], 0]}
        for row, example in enumerate(batch):
            # with every token right after the right ones before it, a greedy answer is exact
            curriculum.mark(example.skill, right=row not in wrong)
        yield step, loss.item(), ids.numel()


def _weights(asked: "torch.Tensor") -> "torch.Tensor":
    """Returns the weight of each token of an answer: a label must count beside a long text."""
    lengths = asked.sum(dim=1, keepdim=True)
    return lengths.rsqrt().expand_as(asked)[asked]


def _tensors(batch: list[_Example], pad: int) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Returns token ids and next tokens, (batch, length) each; -1 where nothing is asked.

    Padding is on the right, where no token of a causal model looks.
    """
    import torch  # noqa: PLC0415 - its import takes seconds

    width = max(len(example.ids) for example in batch)
    ids = torch.full((len(batch), width), pad)
    targets = torch.full((len(batch), width), -1)
    for row, example in enumerate(batch):
        length = len(example.ids)
        ids[row, :length] = torch.tensor(example.ids)
        targets[row, example.begins - 1 : length - 1] = ids[row, example.begins : length]
    return ids, targets
