"""From an utterance and its tasks to requests: same row same request, keys that mean something."""

from collections import Counter
from dataclasses import replace

import pytest

from sllm_data.config import RunConfig, resolve
from sllm_data.errors import PoolError
from sllm_data.records import Reason, Request, Response
from sllm_data.sampling import TaskConfig
from sllm_data.steps.answers import answer_to, expected_language
from sllm_data.steps.context import backbone_of, pools_of, templates_of
from sllm_data.steps.planner import Asked, Backbone, Planner
from sllm_data.steps.side_passes import restore_draft

WITHOUT_TOKENIZER = Backbone(model="m", revision="r", numeric_mode="n", renderer=None)


def configured(**fields: object) -> RunConfig:
    smallest = {
        "seed": 1,
        "output": "out",
        "corpora": [{"kind": "librispeech", "path": "data"}],
        "backbone": {"engine": "scripted"},
    }
    return resolve(smallest | fields, where="run.yaml")


def planner(known: Backbone = WITHOUT_TOKENIZER, /, **fields: object) -> Planner:
    config = configured(**fields)
    return Planner(config, pools_of(config), templates_of(config), known)


def asked(number: int = 0, *tasks: str, language: str = "en", split: str = "train") -> Asked:
    return Asked(
        audio_id=f"c/1/en/{number}",
        audio_part=2,
        language=language,
        prepared="the ferry was late because of the fog",
        split=split,
        tasks=tasks or ("intent",),
    )


def only(made: tuple[list[Request], object]) -> Request:
    (request,) = made[0]
    return request


@pytest.fixture(scope="module")
def tokenizing(tiny_backbone) -> Backbone:
    return backbone_of(
        configured(backbone={"engine": "scripted", "tokenizer": str(tiny_backbone)})
    )


def test_each_task_of_each_utterance_is_a_request_in_order():
    rows = [asked(1, "intent", "translation"), asked(2, "summary")]
    requests, rejected = planner().requests(rows)
    assert [(r.audio_id, r.task) for r in requests] == [
        ("c/1/en/1", "intent"),
        ("c/1/en/1", "translation"),
        ("c/1/en/2", "summary"),
    ]
    assert rejected == []
    assert all(r.request_id == f"{r.sample_id}:main" and r.audio_part == 2 for r in requests)


def test_a_request_is_the_same_whatever_stands_beside_it():
    maker = planner()
    rows = [asked(i, "intent", "keywords") for i in range(20)]
    together = {r.request_id: r for r in maker.requests(rows)[0]}
    apart = {r.request_id: r for row in reversed(rows) for r in maker.requests([row])[0]}
    assert together == apart
    assert len(together) == 40


def test_a_sample_id_does_not_depend_on_the_seed_where_the_cell_is_the_same():
    first = {r.sample_id: r for r in planner().requests([asked(i) for i in range(60)])[0]}
    second = {r.sample_id: r for r in planner(seed=2).requests([asked(i) for i in range(60)])[0]}
    shared = first.keys() & second.keys()
    assert shared
    assert all(first[i].instruction_id == second[i].instruction_id for i in shared)
    assert all(first[i].seed != second[i].seed for i in shared)


def test_the_prompt_holds_the_transcript_and_the_wording():
    maker = planner(backbone={"engine": "scripted", "system": "Be brief."})
    request = only(maker.requests([asked()]))
    system, user = request.messages
    assert (system.role, system.content) == ("system", "Be brief.")
    assert user.content == f"{maker.wording(request)}\n\n{request.transcript_prepared}"


def test_a_translation_names_its_target_in_the_language_of_the_wording():
    maker = planner(prompts={"instruction_languages": {"de": 1.0}})
    request = only(maker.requests([asked(0, "translation")]))
    assert request.instruction_language == "de"
    names = {"de": "Deutsch", "es": "Spanisch", "fr": "Franz", "zh": "Chines"}
    target = expected_language(request, maker.config.tasks["translation"], utterance="en")
    assert names[target] in maker.wording(request)


def test_wordings_in_the_language_of_the_speech_fall_back_to_english():
    maker = planner(prompts={"instruction_languages": {"utterance": 1.0}})
    languages = [
        only(maker.requests([asked(0, "intent", language=own)])).instruction_language
        for own in ("de", "de-AT", "fi", "en")
    ]
    assert languages == ["de", "de", "en", "en"]


def test_held_out_wordings_are_for_validation_and_test_only():
    maker = planner()
    rows = {split: [asked(i, split=split) for i in range(300)] for split in ("train", "test")}
    groups = {
        split: Counter(r.eval_group for r in maker.requests(asked_rows)[0])
        for split, asked_rows in rows.items()
    }
    assert set(groups["train"]) == {"train"}
    assert set(groups["test"]) == {"train", "held_out_instruction"}


def test_a_held_out_task_is_a_group_of_its_own():
    maker = planner(tasks={"intent": {"held_out": True}})
    assert only(maker.requests([asked(split="test")])).eval_group == "held_out_task"


def test_a_pool_in_which_all_is_held_out_can_not_serve_train(tmp_path):
    (tmp_path / "intent.en.yaml").write_text(_POOL.format(held_out="true"))
    maker = planner(prompts={"pools": [str(tmp_path)]})
    with pytest.raises(PoolError, match="at least one wording must not be held out"):
        maker.requests([asked()])


_POOL = """
task: intent
language: en
licence: CC0-1.0
source: own
instructions:
  - {{id: intent.en.01, text: "What for?", audio: "What for?", held_out: {held_out}}}
"""


def test_a_wording_that_left_its_pool_is_named():
    maker = planner()
    request = replace(only(maker.requests([asked()])), instruction_id="intent.en.xx")
    with pytest.raises(PoolError, match=r"must hold the wording intent\.en\.xx"):
        maker.instruction_of(request)


def test_a_twin_has_the_messages_of_its_request():
    maker = planner(backbone={"engine": "scripted", "system": "Be brief."})
    for request in maker.requests([asked(i, "intent", "translation") for i in range(10)])[0]:
        assert maker.twin_of(request).text_messages == request.messages


# keys


def test_a_transcript_row_is_not_asked_and_has_neither_ids_nor_key(tokenizing):
    request = only(planner(tokenizing).requests([asked(0, "transcription")]))
    assert (request.target, request.prompt_token_ids, request.request_key) == (
        "transcript",
        (),
        "",
    )


def test_prompts_are_tokenised_by_the_model_of_the_run(tokenizing):
    maker = planner(tokenizing)
    request = only(maker.requests([asked()]))
    (ids,) = tokenizing.renderer.encode([request.messages])
    assert list(request.prompt_token_ids) == ids
    assert (
        maker.model_columns()["chat_template_sha256"] == tokenizing.renderer.chat_template_sha256
    )
    assert request.sampling.stop == tuple(tokenizing.renderer.stop)


def test_without_a_tokenizer_messages_are_enough():
    maker = planner()
    request = only(maker.requests([asked()]))
    assert request.prompt_token_ids == ()
    assert len(request.request_key) == 32
    assert maker.model_columns() == {"model": "m", "revision": "r", "chat_template_sha256": ""}


def test_a_prompt_that_is_too_long_is_a_rejection_with_both_numbers(tokenizing):
    maker = planner(tokenizing, prompts={"max_prompt_tokens": 5})
    requests, (rejection,) = maker.requests([asked(0, "transcription", "intent")])
    assert [r.task for r in requests] == ["transcription"]
    assert rejection.reason is Reason.PROMPT_TOO_LONG
    assert rejection.detail.startswith("the prompt must have at most 5 tokens, has ")
    assert rejection.row_id.endswith(":main")


@pytest.mark.parametrize("with_tokenizer", [True, False])
def test_keys_differ_with_all_that_an_answer_depends_on(tokenizing, with_tokenizer):
    backbone = tokenizing if with_tokenizer else WITHOUT_TOKENIZER
    makers = [
        planner(backbone),
        planner(replace(backbone, model="other")),
        planner(replace(backbone, revision="other")),
        planner(replace(backbone, numeric_mode="other")),
        planner(backbone, backbone={"engine": "scripted", "temperature": 0.5}),
        planner(backbone, backbone={"engine": "scripted", "top_k": 5}),
        planner(backbone, backbone={"engine": "scripted", "system": "Be brief."}),
        planner(backbone, tasks={"intent": {"max_tokens": 7}}),
        planner(backbone, seed=9),
    ]
    keys = {only(maker.requests([asked()])).request_key for maker in makers}
    assert len(keys) == len(makers)


def test_keys_do_not_depend_on_what_answers_do_not_depend_on():
    one = only(planner().requests([asked()]))
    other = only(
        planner(
            output="elsewhere",
            filters={"judge_keep": 5},
            splits={"test": 0.5},
            backbone={"engine": "scripted", "latency_s": 1.0},
        ).requests([asked()])
    )
    assert one.request_key == other.request_key


def test_a_task_may_have_a_temperature_of_its_own():
    maker = planner(tasks={"intent": {"temperature": 0.7}})
    assert only(maker.requests([asked()])).sampling.temperature == 0.7
    assert only(maker.requests([asked(0, "summary")])).sampling.temperature == 0.0


# answers


def response(text: str = "yes") -> Response:
    return Response(
        request_id="x:main",
        text=text,
        token_ids=(),
        finish_reason="stop",
        num_prompt_tokens=1,
        num_response_tokens=1,
        num_cached_tokens=None,
        mean_logprob=-0.5,
    )


def test_an_answer_carries_what_the_verdicts_need(tokenizing):
    maker = planner(tokenizing)
    request = only(maker.requests([asked(0, "repetition")]))
    answer = answer_to(request, response(), planner=maker, judge_score=4, language="en")
    assert (answer.text, answer.task, answer.may_copy) == ("yes", "repetition", True)
    assert (answer.expected_language, answer.judge_score, answer.mean_logprob) == ("en", 4, -0.5)
    assert answer.control_strings == tokenizing.renderer.control_strings


def test_without_a_tokenizer_there_are_no_control_strings():
    maker = planner()
    request = only(maker.requests([asked()]))
    answer = answer_to(request, response(), planner=maker, judge_score=None)
    assert tuple(answer.control_strings) == ()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("utterance", "fi"), ("instruction", "de"), ("to", "zh"), ("any", None)],
)
def test_the_expected_language_follows_the_rule_of_the_task(rule, expected):
    request = replace(
        only(planner().requests([asked()])), instruction_language="de", task_params='{"to":"zh"}'
    )
    task = TaskConfig(response_language=rule, to=("zh",))
    assert expected_language(request, task, utterance="fi") == expected


# restoring


def test_a_transcript_is_restored_greedily_with_room_for_all_of_it():
    maker = planner()
    row = replace(asked(), prepared="wort " * 40)
    draft = restore_draft(maker, row)
    assert draft.request_id == f"{draft.sample_id}:restore"
    assert (draft.task, draft.target, draft.sampling.temperature) == ("restore", "generated", 0.0)
    assert draft.sampling.max_tokens == 200
    assert row.prepared.strip() in draft.messages[-1].content
    assert "English" in draft.messages[-1].content


def test_a_short_transcript_still_has_room_for_marks():
    assert restore_draft(planner(), replace(asked(), prepared="hm")).sampling.max_tokens == 64


def test_drafts_of_other_passes_are_finished_like_requests(tokenizing):
    maker = planner(tokenizing)
    (request,), rejected = maker.finish([restore_draft(maker, asked())])
    assert request.prompt_token_ids
    assert request.request_key
    assert rejected == []
