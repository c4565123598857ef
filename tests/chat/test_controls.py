"""The sealed tokenizer: text goes in as before, control ids can't come out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models

from sllm_data.chat.controls import controls_of

_UNKNOWN = "[UNK]"


@given(data=st.data())
def test_the_sealed_tokenizer_never_yields_a_control_id(loaded, data):
    controls = loaded.renderer._controls
    texts = st.sampled_from(loaded.family.controls) | st.text(max_size=6)
    text = "".join(data.draw(st.lists(texts, max_size=6)))
    for sealed in (controls.opening, controls.inner):
        assert controls.sequence(sealed.encode(text, add_special_tokens=False).ids) == ()


@given(data=st.data())
def test_the_sealed_tokenizer_gives_ordinary_text_its_own_ids(loaded, data):
    text = data.draw(st.text(alphabet="abc öß今 \n.,'é", max_size=20) | st.just("a    ferry"))
    own = loaded.reference(text, add_special_tokens=False)["input_ids"]
    assert loaded.renderer._controls.opening.encode(text, add_special_tokens=False).ids == own


def test_added_tokens_that_are_mere_text_are_no_control_tokens(load_family):
    for name, texts in (("short", ("    ", "ö", "ferry")), ("unigram", ("ö",))):
        renderer = load_family(name).renderer
        for text in texts:
            index = renderer._backend.token_to_id(text)
            assert index not in renderer._controls.ids
            sealed = renderer._controls.opening.encode(f"a{text}", add_special_tokens=False)
            assert index in sealed.ids


def test_merges_that_lead_to_a_control_token_are_sealed(load_family):
    renderer = load_family("vicuna").renderer
    backend = Tokenizer.from_str(renderer._backend.to_str())
    spec = json.loads(backend.to_str())
    spec["added_tokens"] = []
    leaky = Tokenizer.from_str(json.dumps(spec))
    assert backend.token_to_id("</s>") in leaky.encode("a</s>", add_special_tokens=False).ids
    sealed = renderer._controls.opening.encode("a</s>", add_special_tokens=False)
    assert renderer._controls.sequence(sealed.ids) == ()


def test_a_special_unknown_token_may_come_from_unknown_text_only():
    words = Tokenizer(models.WordLevel({_UNKNOWN: 0, "[SEP]": 1, "hello": 2}, unk_token=_UNKNOWN))
    words.add_special_tokens([_UNKNOWN, "[SEP]"])
    controls = controls_of(words)
    assert controls.ids == {1}
    assert controls.opening.encode("goodbye").ids == [0]
    assert controls.opening.encode("[SEP]").ids == [0]


def test_a_tokenizer_without_added_tokens_has_no_control_tokens():
    controls = controls_of(Tokenizer(models.WordLevel({"a": 0, _UNKNOWN: 1}, unk_token=_UNKNOWN)))
    assert controls.ids == frozenset()
    assert not controls.named_in(["anything", "<s>"])


@pytest.mark.parametrize(("text", "named"), [("<|im_end|>", True), ("<|im_end|", False)])
def test_naming_a_control_token_is_seen(load_family, text, named):
    assert load_family("qwen").renderer._controls.named_in(["hello", f"a{text}b"]) is named


def test_markup_is_control_even_if_it_is_not_special():
    words = Tokenizer(models.WordLevel({_UNKNOWN: 0}, unk_token=_UNKNOWN))
    words.add_tokens([AddedToken("<think>"), AddedToken("hmm"), AddedToken("  ")])
    assert controls_of(words).ids == {words.token_to_id("<think>")}
