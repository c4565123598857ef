"""The backbone's configuration: one kind per engine, every field explained and of one kind."""

import pytest
from pydantic import TypeAdapter, ValidationError

from sllm_data.generation import BackboneConfig, OpenaiConfig, ScriptedConfig, VllmConfig

ADAPTER: TypeAdapter = TypeAdapter(BackboneConfig)
SMALLEST = {
    "vllm": {"engine": "vllm", "model": "a/b"},
    "openai": {"engine": "openai", "model": "m", "base_url": "http://localhost:1/v1"},
    "scripted": {"engine": "scripted"},
}


@pytest.mark.parametrize(
    ("engine", "kind"),
    [("vllm", VllmConfig), ("openai", OpenaiConfig), ("scripted", ScriptedConfig)],
)
def test_the_engine_chooses_the_kind_and_a_document_comes_back_as_it_went(engine, kind):
    config = ADAPTER.validate_python(SMALLEST[engine])
    assert type(config) is kind
    assert ADAPTER.validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("kind", [VllmConfig, OpenaiConfig, ScriptedConfig])
def test_every_field_says_what_it_is_for_and_whether_it_may_change(kind):
    for name, field in kind.model_fields.items():
        assert field.description, name
        assert field.json_schema_extra["change"] in ("identity", "operational"), name


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"top_k": -1},
        {"max_num_seqs": 0},
        {"workers": 0},
        {"gpu_memory_utilization": 1.1},
        {"unknown": 1},
        {"top_logprobs": -1},
        {"top_logprobs": 21},
        {"model": ""},
    ],
)
def test_values_out_of_range_are_refused(change):
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(SMALLEST["vllm"] | change)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x/v1", "http://", ""])
def test_a_base_url_must_be_one(url):
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(SMALLEST["openai"] | {"base_url": url})


def test_token_ids_without_a_tokenizer_are_refused():
    with pytest.raises(ValidationError, match="tokenizer must be given"):
        ADAPTER.validate_python(SMALLEST["openai"] | {"prompt_mode": "ids"})


@pytest.mark.parametrize(
    ("engine", "change", "says"),
    [
        ("scripted", {}, "must be 0 where engine is scripted: .* got 5; take vllm or openai"),
        ("openai", {}, "must be 0 where the server renders prompts: .* give tokenizer"),
        ("openai", {"tokenizer": "a/b", "prompt_mode": "messages"}, "no prompt_mode: messages"),
    ],
)
def test_the_likeliest_tokens_of_whom_has_none_are_refused(engine, change, says):
    with pytest.raises(ValidationError, match=f"top_logprobs {says}|top_logprobs .*{says}"):
        ADAPTER.validate_python(SMALLEST[engine] | {"top_logprobs": 5} | change)
    known = ADAPTER.validate_python(SMALLEST["openai"] | {"tokenizer": "a/b", "top_logprobs": 20})
    assert known.top_logprobs == 20


def test_the_tokenizer_is_the_models_own_for_vllm_and_a_choice_elsewhere():
    vllm = ADAPTER.validate_python(SMALLEST["vllm"] | {"revision": "main"})
    assert (vllm.tokenizer_source, vllm.tokenizer_revision) == ("a/b", "main")
    openai = ADAPTER.validate_python(SMALLEST["openai"] | {"tokenizer": "a/b"})
    assert openai.tokenizer_source == "a/b"
    assert openai.model_copy(update={"prompt_mode": "messages"}).tokenizer_source is None
    assert ADAPTER.validate_python(SMALLEST["scripted"]).tokenizer_source is None


def test_the_numeric_mode_tells_apart_what_gives_different_answers():
    vllm = SMALLEST["vllm"]
    documents = [
        vllm,
        vllm | {"dtype": "float32"},
        vllm | {"quantization": "fp8"},
        vllm | {"determinism": "strict"},
        SMALLEST["openai"],
        SMALLEST["openai"] | {"tokenizer": "a/b"},
        SMALLEST["scripted"],
    ]
    modes = [ADAPTER.validate_python(document).numeric_mode for document in documents]
    assert len(set(modes)) == len(modes)


def test_the_model_is_named_for_every_engine():
    names = [ADAPTER.validate_python(document).model_name for document in SMALLEST.values()]
    assert names == ["a/b", "m", "task"]
