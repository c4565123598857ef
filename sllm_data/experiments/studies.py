"""The studies: which arms each compares, and which figures it shows.

All arms hear the same audio for the same number of steps; what differs is what stands here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sllm_data.documents import Document, merged
from sllm_data.experiments.arms import Arm
from sllm_data.experiments.figures import TRANSCRIPTION
from sllm_data.experiments.spoken import Data, Pattern, Policy

LORA_RATE = 2e-3
FULL_RATE = 1.5e-3
"""Learning rate of the whole LLM at which transcripts alone make it forget all else; chosen on
the validation split, where it is a tenth at 7e-4."""

_LORA: Document = {"model": {"llm": {"mode": "lora", "lora": {"rank": 8, "alpha": 16}}}}
_FULL: Document = {"model": {"llm": {"mode": "full"}}}
_KEPT: Document = {"model": {"llm": {"keep_original": True}}}
_FROZEN: Document = {"model": {"llm": {"mode": "frozen"}}}
_READ: Document = {"data": {"text_share": 0.5}}


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPlan:
    """One study."""

    title: str
    asks: str
    """The question, for people."""
    core: tuple[Arm, ...]
    """What answers it."""
    more: tuple[Arm, ...] = ()
    """What else is worth knowing, where there is time."""
    shows: tuple[str, ...]
    """Names of figures, in the order of the table."""
    draws: tuple[str, ...]
    """Those that are drawn."""
    looked: int = 0
    """Rows of each task on which each model is looked into."""
    cascades: bool = False
    """Whether a cascade of the same encoder and backbone is asked, too."""


def _grid() -> dict[str, Arm]:
    """Returns by name what is answered times how far the LLM may move."""
    data: Mapping[str, tuple[str, tuple[str, ...], Document]] = {
        "transcripts": ("transcripts only", (TRANSCRIPTION,), {}),
        "self-powered": ("the backbone's answers, all tasks", (), {}),
        "continuation": ("what the backbone says comes next", ("continuation",), {}),
        "twins": (
            "behaviour imitation: the backbone's answers, half of them read instead of heard",
            (),
            _READ,
        ),
    }
    llms: Mapping[str, tuple[str, float, Document]] = {
        "full-1.5e-3": ("all of the LLM trained", FULL_RATE, _FULL),
        "full-1e-3": ("all of the LLM trained, less far", 1e-3, _FULL),
        "full-7e-4": ("all of the LLM trained, still less far", 7e-4, _FULL),
        "lora": ("LoRA", LORA_RATE, _LORA),
        "frozen": ("the LLM frozen", 0.0, _FROZEN),
    }
    arms = [
        Arm(
            name=f"{name}-{how}",
            means=f"{means}, {llm_means}",
            tasks=tasks,
            llm_rate=rate,
            train=merged(over, llm_over),
        )
        for name, (means, tasks, over) in data.items()
        for how, (llm_means, rate, llm_over) in llms.items()
    ]
    single = [
        replace(
            arm,
            name=arm.name.replace("self-powered", "self-powered-single"),
            means=arm.means.replace("all tasks", "one task an utterance"),
            data=Data(tasks_each=1),
        )
        for arm in arms
        if arm.name.startswith("self-powered-")
    ]
    return {arm.name: arm for arm in (*arms, *single)}


_GRID = _grid()
_CORE = tuple(
    _GRID[f"{data}-{llm}"]
    for llm in ("full-1.5e-3", "lora")
    for data in ("transcripts", "self-powered")
)
_OTHERS = tuple(arm for arm in _GRID.values() if arm not in _CORE)
_SELF_POWERED = _GRID["self-powered-lora"]
"""What studies compare with that change one thing of it; its connector has a query a window of
0.34 s."""
_FAR = _GRID["self-powered-full-1.5e-3"]
"""What they compare with where text skills are lost, and may be kept."""


def _losses() -> tuple[Arm, ...]:
    kl = {"response_kl": {"weight": 1.0}}
    aligned = {"hidden_alignment": {"weight": 1.0}}
    losses: Mapping[str, tuple[str, Document]] = {
        "kl": ("the distribution of the text twin", {"cross_entropy": {"weight": 0.0}, **kl}),
        "cross-entropy-kl": ("the right tokens and the twin's distribution", kl),
        "cross-entropy-hidden": ("the right tokens and the twin's states", aligned),
    }
    return tuple(
        replace(
            towards,
            name=f"{name}-{towards.name.removeprefix('self-powered-')}",
            means=f"{towards.means}; trained towards {means}",
            train=merged(towards.train, merged(kept, {"losses": over})),
        )
        for towards, kept in ((_SELF_POWERED, {}), (_FAR, _KEPT))
        for name, (means, over) in losses.items()
    )


_LOSSES = _losses()
_CURES = tuple(arm for arm in _LOSSES if arm.name == "kl-lora")
"""What cures better than the answers alone, and costs a twin's pass in each step."""


_ORDER = (TRANSCRIPTION, "sentiment", "translation", "keywords", "continuation", "where")
"""Tasks as `diversity` adds them: unlike ones first."""


def _diversity() -> tuple[Arm, ...]:
    tasks = [
        Arm(
            name=f"tasks-{number}",
            means=f"answers to {', '.join(_ORDER[:number])}; LoRA",
            tasks=_ORDER[:number],
            llm_rate=LORA_RATE,
            train=_LORA,
        )
        for number in range(2, len(_ORDER) + 1)
    ]
    wordings = [
        replace(
            _SELF_POWERED,
            name=f"wordings-{number}",
            means=f"{_SELF_POWERED.means}; {number} wordings of each in place of six",
            data=Data(wordings=number),
        )
        for number in (1, 4, 8)
    ]
    return (_GRID["transcripts-lora"], *tasks, *wordings, _SELF_POWERED)


def _connectors() -> tuple[Arm, ...]:
    mlp = {"kind": "mlp", "stack": 8, "hidden_size": 512}
    mix = {"kind": "layer_mix_qformer"}
    connectors: Mapping[str, tuple[str, Document]] = {
        "window-qformer-short": ("one query a window of 0.16 s", {"window_seconds": 0.16}),
        "window-qformer-long": ("one query a window of 0.68 s", {"window_seconds": 0.68}),
        "window-qformer-2": ("two queries a window of 0.34 s", {"queries": 2}),
        "mlp": ("8 positions of the encoder stacked, 0.16 s", mlp),
        "layer-mix-qformer": ("windows of 0.34 s of four layers, mixed", mix),
    }
    return tuple(
        replace(
            _SELF_POWERED,
            name=name,
            means=f"{_SELF_POWERED.means}; {means}",
            train=merged(_LORA, {"model": {"connector": over}}),
        )
        for name, (means, over) in connectors.items()
    )


_PATTERN_MEANS: Mapping[Pattern, str] = {
    "repeat": "its own words trained (repeat)",
    "next": "the words that follow (next)",
}


def _interleaving() -> tuple[Arm, ...]:
    policies: tuple[Policy, ...] = ("word", "poisson", "alternate")
    patterns: tuple[tuple[Pattern, ...], ...] = (("repeat",), ("next",), ("repeat", "next"))
    return (
        _SELF_POWERED,
        _FAR,
        _GRID["twins-full-1.5e-3"],
        *(
            _cut(towards, Data(heard_share=share))
            for towards, shares in ((_FAR, (0.5,)), (_SELF_POWERED, (0.3, 0.5, 0.7)))
            for share in shares
        ),
        *(_cut(_SELF_POWERED, Data(heard_share=0.5, policy=policy)) for policy in policies),
        *(
            replace(
                _SELF_POWERED,
                name=f"supervised-{'-'.join(each)}",
                means=f"{_SELF_POWERED.means}; each utterance also cut, and behind each stretch "
                + " or ".join(_PATTERN_MEANS[name] for name in each),
                data=Data(heard_share=0.5, patterns=each),
            )
            for each in patterns
        ),
    )


def _cut(towards: Arm, data: Data) -> Arm:
    how = towards.name.removeprefix("self-powered-")
    return replace(
        towards,
        name=f"interleaved-{data.policy}-{data.heard_share:g}-{how}",
        means=f"{towards.means}; half of the rows heard in part, {data.heard_share:.0%} of their "
        f"words, cut by {data.policy}",
        data=data,
    )


def _data_size() -> tuple[Arm, ...]:
    return (
        *(_of_hours(share) for share in (0.0625, 0.125, 0.25, 0.5)),
        _SELF_POWERED,
    )


def _of_hours(share: float) -> Arm:
    return replace(
        _SELF_POWERED,
        name=f"data-{share:g}",
        means=f"{_SELF_POWERED.means}; {share:.3g} of the utterances",
        data=Data(hours_share=share),
    )


_ANSWERS = (
    *("exact_speech", "exact_text", "unseen_voices", "held_out_instruction", "wording_ratio"),
    *("held_out_task", "held_out_task_text", "task_ratio", "text_retention"),
)
_INSIDE = (
    *("first_speech", "first_text", "first_backbone"),
    *("instruction_speech", "instruction_text", "instruction_backbone"),
    *("saliency_speech", "saliency_backbone", "alignment", "as_it_is"),
    *("other_instruction", "no_instruction", "silence", "other_speech"),
)

_STEPS = ("steps_to_1.0", "steps_to_0.5", "steps_to_0.2")
_TIMES = ("time_one_4", "time_one_64", "time_many_4", "time_many_64")

STUDIES: Mapping[str, StudyPlan] = {
    "anchor-bias": StudyPlan(
        title="Anchor bias",
        asks="Does a model that is trained on transcripts alone transcribe whatever it is asked, "
        "and do answers of its backbone cure that (Self-Powered LSM, arXiv 2410.03798)?",
        core=_CORE,
        more=(*_OTHERS, *_CURES),
        shows=("anchor_speech", "anchor_text", "transcription", *_ANSWERS),
        draws=("anchor_speech", "exact_speech", "exact_text"),
    ),
    "attention": StudyPlan(
        title="Attention: the instruction's share",
        asks="Does training on transcripts take attention from the instruction, and do answers "
        "of the backbone give it back (the same paper, figures 3, 5 and 6)?",
        core=_CORE,
        more=(*_OTHERS, *_CURES),
        shows=("anchor_speech", "exact_speech", *_INSIDE),
        draws=("first_speech", "first_backbone", "instruction_speech", "instruction_backbone"),
        looked=8,
    ),
    "diversity": StudyPlan(
        title="Diversity of tasks",
        asks="At equal steps, do more kinds of tasks, or more wordings of each, carry further to "
        "wordings and tasks that were never trained?",
        core=_diversity(),
        shows=("anchor_speech", "transcription", "exact_trained", "exact_untrained", *_ANSWERS),
        draws=("exact_trained", "exact_untrained", "held_out_task"),
    ),
    "interleaving": StudyPlan(
        title="Interleaving",
        asks="Does speech mixed with text carry further, and keep more of what the model could "
        "do on text (MTBI)?",
        core=_interleaving(),
        shows=("anchor_speech", "transcription", *_ANSWERS, *_STEPS),
        draws=("exact_speech", "held_out_task", "text_retention"),
    ),
    "data-size": StudyPlan(
        title="Amount of data",
        asks="At equal steps, how much does more distinct speech bring?",
        core=_data_size(),
        more=(_of_hours(0.0125), _of_hours(0.03125)),
        shows=("anchor_speech", "transcription", *_ANSWERS, *_STEPS),
        draws=("transcription", "exact_speech", "unseen_voices"),
    ),
    "losses": StudyPlan(
        title="Losses",
        asks="Does the distribution of the text twin, or its states, teach more than the tokens "
        "of its answer?",
        core=(_SELF_POWERED, _FAR, *_LOSSES),
        shows=("anchor_speech", "transcription", *_ANSWERS),
        draws=("exact_speech", "held_out_task"),
    ),
    "connectors": StudyPlan(
        title="Connectors",
        asks="Which connector learns most in the same steps, and how much does its window matter?",
        core=(_SELF_POWERED, *_connectors()),
        shows=("anchor_speech", "transcription", *_ANSWERS, *_STEPS),
        draws=("transcription", "exact_speech"),
    ),
    "cascade": StudyPlan(
        title="End to end against a cascade",
        asks="Is it better, and is it faster, to hear than to read what the same encoder wrote "
        "down?",
        core=(_GRID["self-powered-full-7e-4"], _SELF_POWERED),
        shows=(
            *("transcription", "exact_speech", "exact_cascade", "held_out_task"),
            *("held_out_task_cascade", *_TIMES),
        ),
        draws=("exact_speech", "exact_cascade"),
        cascades=True,
    ),
}
"""By name."""
