"""The renderer against transformers: same ids for benign contents, no control from others."""

import json
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from sllm_data.chat import ChatRenderer
from sllm_data.errors import ModelError
from sllm_data.records import Message

UNKNOWN = "<unk>"
_WORDS = (
    "the harbour",
    "Straße",
    "今天",
    "3.14",
    "’s",
    " ",
    "\n",
    "<",
    "|",
    ">",
    "[",
    "]",
    "e\u0301",
)
_TORN = ("<|", "|>", "<|im_", "im_end|>", "eot_id", "[/", "INST", "<s", "</", "think>", "<0x0A>")
_ORDINARY = st.lists(st.sampled_from(_WORDS) | st.text(max_size=8), max_size=8).map("".join)


def _conversation(roles: tuple[str, ...] | list[str], contents: list[str]) -> list[Message]:
    return [Message(role=r, content=c) for r, c in zip(roles, contents, strict=True)]


def _contents(loaded, text: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    size = len(loaded.family.roles)
    return st.lists(text, min_size=size, max_size=size)


@given(data=st.data())
def test_benign_conversations_get_the_ids_of_apply_chat_template(loaded, data) -> None:
    contents = data.draw(_contents(loaded, _ORDINARY))
    conversation = _conversation(list(loaded.family.roles), contents)
    expected = loaded.reference_ids(conversation)
    if loaded.family.name == "chatml_on_sentencepiece":
        # Its <|im_end|> is found only behind a space, so a content that ends in one makes or
        # breaks the template's own control token: no content may, and it goes apart.
        sequence = loaded.renderer._controls.sequence
        plain = _conversation(list(loaded.family.roles), [c.strip() and "x" for c in contents])
        assume(sequence(expected) == sequence(loaded.reference_ids(plain)))
    assert loaded.renderer.encode([conversation]) == [expected]


@given(data=st.data())
def test_no_content_yields_a_control_token_and_none_of_it_is_lost(loaded, data) -> None:
    hostile = st.sampled_from((*loaded.family.controls, *_TORN))
    text = st.lists(st.sampled_from(_WORDS) | hostile, min_size=1, max_size=8).map("".join)
    contents = [f"a{text}z" for text in data.draw(_contents(loaded, text))]
    roles = list(loaded.family.roles)
    (ids,) = loaded.renderer.encode([_conversation(roles, contents)])
    plain = _conversation(roles, ["hello"] * len(roles))
    controls = loaded.renderer._controls
    assert controls.sequence(ids) == controls.sequence(loaded.reference_ids(plain))
    if (
        loaded.family.name != "unigram"
    ):  # it has no bytes to fall back on: its unknown characters are lost
        decoded = loaded.renderer.decode(ids)
        for content in contents:
            assert unicodedata.normalize("NFC", content) in unicodedata.normalize("NFC", decoded)


def test_a_content_that_names_every_control_token_stays_text(loaded) -> None:
    roles = list(loaded.family.roles)
    hostile = f"well {' '.join(loaded.family.controls)} then"
    hostile_row, plain_row = loaded.renderer.encode(
        [_conversation(roles, [hostile] * len(roles)), _conversation(roles, ["x"] * len(roles))]
    )
    controls = loaded.renderer._controls
    assert controls.sequence(hostile_row) == controls.sequence(plain_row)
    text = loaded.renderer.render(_conversation(roles, [hostile] * len(roles)))
    unguarded = loaded.reference(text, add_special_tokens=False)["input_ids"]
    assert len(controls.sequence(unguarded)) > len(controls.sequence(hostile_row))


def test_a_content_that_completes_a_control_token_at_its_border_goes_apart(load_family) -> None:
    loaded = load_family("chatml_on_sentencepiece")
    sequence = loaded.renderer._controls.sequence
    plain, bordering = ([Message(role="user", content=text)] for text in ("hello", "hello "))
    assert sequence(loaded.reference_ids(bordering)) != sequence(loaded.reference_ids(plain))
    rows = loaded.renderer.encode([plain, bordering])
    assert len({sequence(row) for row in rows}) == 1


def test_rendering_is_the_text_of_apply_chat_template(loaded) -> None:
    conversation = _conversation(
        list(loaded.family.roles), [f" turn {i} " for i in range(len(loaded.family.roles))]
    )
    turns = [{"role": m.role, "content": m.content} for m in conversation]
    assert loaded.renderer.render(conversation) == loaded.reference.apply_chat_template(
        turns, add_generation_prompt=True, tokenize=False, **loaded.family.arguments
    )


@pytest.mark.parametrize("blank", ["", " ", "\n\n"])
@pytest.mark.parametrize("name", ["llama", "qwen", "vicuna", "unigram"])
def test_a_blank_system_turn_is_rendered_as_the_template_does(load_family, name, blank) -> None:
    loaded = load_family(name)
    conversation = _conversation(["system", "user"], [blank, "hello"])
    assert loaded.renderer.encode([conversation]) == [loaded.reference_ids(conversation)]


def test_without_a_system_turn_the_template_says_its_own(
    load_family,
) -> None:
    rendered = load_family("qwen").renderer.render([Message(role="user", content="hi")])
    assert rendered.startswith("<|im_start|>system\nYou are a careful helper.<|im_end|>\n")


@pytest.mark.parametrize(("system", "expected"), [("Be brief.", "Be brief.\n\nhi"), (" ", "hi")])
def test_a_system_turn_the_template_refuses_is_folded_into_the_user_turn(
    load_family, system, expected
) -> None:
    loaded = load_family("mistral")
    assert not loaded.renderer.supports_system
    folded = loaded.renderer.encode([_conversation(["system", "user"], [system, "hi"])])
    assert folded == [loaded.reference_ids([Message(role="user", content=expected)])]


def test_roles_the_template_refuses_are_an_error_that_names_them(
    load_family,
) -> None:
    renderer = load_family("mistral").renderer
    with pytest.raises(ModelError, match=r"roles must alternate.*user, user"):
        renderer.encode([_conversation(["user", "user"], ["a", "b"])])


def test_counting_counts_a_named_control_token_as_text(loaded) -> None:
    named = loaded.family.controls[0]
    one, several = loaded.renderer.count_tokens(["hello", named])
    assert one == len(loaded.reference("hello", add_special_tokens=False)["input_ids"])
    assert several > 1


def test_no_text_is_no_tokens(load_family) -> None:
    renderer = load_family("qwen").renderer
    assert renderer.count_tokens([""]) == [0]
    assert renderer.encode([]) == []


def test_a_batch_is_its_rows_in_order(loaded) -> None:
    roles = list(loaded.family.roles)
    control = loaded.family.controls[0]
    rows = [
        _conversation(roles, [f"{text} {i}" for i in range(len(roles))])
        for text in ("one", f"two {control}", "three", "four")
    ]
    encode = loaded.renderer.encode
    assert encode(rows) == [encode([row])[0] for row in rows]


def test_more_blank_patterns_than_the_renderer_remembers_still_render(
    load_family,
) -> None:
    renderer = load_family("qwen").renderer
    first = renderer.encode([_conversation(["system", "user"], ["", "hello"])])
    for size in range(1, 4):
        renderer.encode([_conversation(["system", "user"], [" " * size, "hello"])])
    assert renderer.encode([_conversation(["system", "user"], ["", "hello"])]) == first


def test_loading_twice_gives_the_same_renderer(load_family) -> None:
    loaded = load_family("qwen_thinking")
    again = ChatRenderer.load(str(loaded.folder), template_kwargs={"enable_thinking": False})
    other = ChatRenderer.load(str(loaded.folder))
    assert again.chat_template_sha256 == loaded.renderer.chat_template_sha256
    assert other.chat_template_sha256 != again.chat_template_sha256
    assert again.revision == other.revision


def test_a_tokenizer_that_can_not_be_sealed_is_an_error_not_a_control_token(tmp_path):
    words = Tokenizer(models.WordLevel({UNKNOWN: 0}, unk_token=UNKNOWN))  # takes whole texts
    words.add_special_tokens(["<|turn|>"])
    words.save(str(tmp_path / "tokenizer.json"))
    template = "{% for m in messages %}{{ '<|turn|>' ~ m.content }}{% endfor %}"
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template})
    )
    renderer = ChatRenderer.load(str(tmp_path))
    assert renderer.encode([[Message(role="user", content="hello")]]) == [[1, 0]]
    with pytest.raises(ModelError, match="yields control tokens for plain text"):
        renderer.encode([[Message(role="user", content="control 1")]])
