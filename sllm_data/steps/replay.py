"""replay: requests of a finished or growing dataset are asked again, answers compared.

The engine is built from the configuration in the dataset's run.yaml; `--set` may only say
where things are now, and must where the word of a stranger's dataset is not enough
(`replay_trust`). Requests go out as they are stored: token ids, sampling, seed. Nothing is
written but reports/replay.json, and no lock is taken.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import sllm_data
from sllm_data.config import RunConfig, stored_config
from sllm_data.documents import differences
from sllm_data.errors import ConfigError, EngineError, ModelError
from sllm_data.files import write_text
from sllm_data.generation import BackboneConfig, Engine, start_engine
from sllm_data.records import Response
from sllm_data.reporting.replay import (
    Answer,
    EngineMark,
    Outcome,
    ReplayReport,
    by_task,
    figures_of,
    verdict_on,
)
from sllm_data.steps.context import backbone_of
from sllm_data.steps.dataset import Document, run_identity
from sllm_data.steps.diff import read_document
from sllm_data.steps.feeding import Feeder, OpenPart
from sllm_data.steps.progress import Progress
from sllm_data.steps.replay_sample import Asked, Row, draw_sample
from sllm_data.steps.replay_trust import check_named
from sllm_data.steps.rows import response_row

MAX_DISTANCE = 0.1
"""Largest mean distance that is close, where nothing else is said."""


def replay(
    root: Path,
    *,
    turn: str = "main",
    sample: int = 200,
    max_distance: float = MAX_DISTANCE,
    overrides: Sequence[str] = (),
    progress: Progress,
) -> ReplayReport:
    """Asks a sample of a pass again and writes the report.

    Args:
        root: The dataset; a run may be going on in it.
        turn: restore, main or judge.
        sample: How many requests.
        max_distance: Largest mean distance of texts, in [0, 1], that is called close.
        overrides: `name=value` of operational fields: `backbone.model=/new/folder`.
        progress: Where to show a bar.

    Raises:
        OutputError: There is no dataset, or the report can't be written.
        ConfigError: An override is of a field that rows depend on, or the dataset has a server,
            a key or a function that no override names.
        ShardError: The pass has no answers, or a part is damaged.
        ModelError: The model is not the one that the requests were rendered for.
        EngineError: The engine can't start, died, or takes prompts in another form.
    """
    document = read_document(root)
    config = _configured(root, document, overrides)
    drawn = draw_sample(root, turn, sample)
    config = _pinned(config, drawn.asked)
    _check_model(config, drawn.asked)
    with closing(start_engine(config.backbone)) as engine:
        now = _mark_of(engine)
        _check_mode(config.backbone, now, drawn.asked)
        outcomes = _ask(engine, drawn.asked, progress)
    total = figures_of(outcomes)
    reused = [outcome for outcome in outcomes if outcome.is_reused]
    marks = Counter(_mark_in(asked.response) for asked in drawn.asked)
    report = ReplayReport(
        dataset=root.resolve().name,
        turn=turn,
        verdict=verdict_on(total, max_distance=max_distance),
        max_distance=max_distance,
        answers=drawn.answers,
        not_asked=drawn.not_asked,
        total=total,
        tasks=by_task(outcome for outcome in outcomes if not outcome.is_reused),
        reused=figures_of(reused) if reused else None,
        then=tuple(marks.most_common()),
        now=now,
        model=drawn.asked[0].model,
        sllm_data={
            "then": str(document.get("sllm_data", {}).get("version", "unknown")),
            "now": sllm_data.__version__,
        },
    )
    name = "replay.json" if turn == "main" else f"replay.{turn}.json"
    write_text(root / "reports" / name, json.dumps(report.as_json(), indent=1) + "\n")
    return report


def _configured(root: Path, document: Document, overrides: Sequence[str]) -> RunConfig:
    """The configuration of the dataset, as it is now on this machine."""
    where = f"{root}/run.yaml"
    stored = document.get("config")
    if not isinstance(stored, dict):
        raise ConfigError(f"{where}: must hold the configuration as config, found {stored!r}")
    plain, config = (
        stored_config(stored, where=where),
        stored_config(stored, overrides, where=where),
    )
    identity = document["extensions"][-1]
    # a model folder that moved has its name again only with the override; what a later
    # version of this package says otherwise, it says with and without it
    known = differences(identity, run_identity(plain))
    refused = [line for line in differences(identity, run_identity(config)) if line not in known]
    if refused:
        raise ConfigError(
            f"{where}: --set must leave what the answers depend on as it is, got "
            f"{'; '.join(refused)}; a model folder that moved must have its old name"
        )
    check_named(config.backbone, overrides, where=where)
    return config


def _pinned(config: RunConfig, asked: Sequence[Asked]) -> RunConfig:
    """A hub model at the commit that was recorded, wherever its branch is now."""
    revision, backbone = asked[0].model["revision"], config.backbone
    if backbone.tokenizer_source is None or not revision or revision.startswith("local-"):
        return config
    field = "revision" if backbone.engine == "vllm" else "tokenizer_revision"
    pinned = backbone.model_copy(update={field: revision})
    return config.model_copy(update={"backbone": pinned})


def _check_model(config: RunConfig, asked: Iterable[Asked]) -> None:
    """The tokenizer, the chat template, and as far as it can be told, the weights."""
    source = config.backbone.tokenizer_source
    if source is None:
        return
    backbone = backbone_of(config)
    renderer = backbone.renderer
    now = {
        "revision": backbone.revision,
        "chat_template_sha256": renderer.chat_template_sha256 if renderer else "",
    }
    for one in asked:
        for name, found in now.items():
            if one.model[name] != found:
                raise ModelError(
                    f"{source}: must be the model that the requests were rendered for ({name} "
                    f"{one.model[name]}), found {found}; put it back, or name its folder with "
                    "--set backbone.model="
                )


def _check_mode(backbone: BackboneConfig, now: EngineMark, asked: Iterable[Asked]) -> None:
    for one in asked:
        then = one.response["prompt_mode"]
        if then != now.prompt_mode:
            raise EngineError(
                f"{backbone.model_name}: must take prompts as {then}, as it did then; it takes "
                f"{now.prompt_mode} now, and the answers would not compare"
            )


def _ask(engine: Engine, asked: Sequence[Asked], progress: Progress) -> list[Outcome]:
    part = OpenPart(number=0, requests=[one.request for one in asked], answers={})
    with progress.bar("replay", len(asked)) as bar:
        feeder = Feeder(
            engine,
            iter([part]),
            commit=lambda _: None,
            watch=lambda rows, now: bar.advance(rows, now.note()),
        )
        feeder.run()
    return [_outcome(one, part) for one in asked]


def _outcome(asked: Asked, part: OpenPart) -> Outcome:
    answer = part.answers.get(asked.request.request_id)
    return Outcome(
        task=asked.request.task,
        is_reused=asked.response["reused_from"] is not None,
        then=_answer(asked.response),
        now=_answer(response_row(answer)) if isinstance(answer, Response) else None,
    )


def _answer(row: Row) -> Answer:
    return Answer(
        text=row["text"], token_ids=tuple(row["token_ids"]), finish_reason=row["finish_reason"]
    )


def _mark_in(row: Row) -> EngineMark:
    return EngineMark(**{name: row[name] for name in EngineMark.__dataclass_fields__})


def _mark_of(engine: Engine) -> EngineMark:
    return EngineMark(
        engine=engine.name,
        engine_version=engine.version,
        prompt_mode=engine.prompt_mode,
        determinism=engine.determinism,
    )
