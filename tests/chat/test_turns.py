"""Conversations with audio and labels against transformers, and against what is asked later."""

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from sllm_data.chat import AUDIO, ChatRenderer, Conversation, EncodedTurns
from sllm_data.errors import ModelError
from sllm_data.records import Message, Span, Turn

STYLES = ["llama", "qwen", "mistral", "mistral_plain", "mistral_later", "mistral_tekken"]
GUARDED = [*STYLES, "qwen_thinking", "vicuna", "unigram", "short", "base"]
_WORDS = ("the harbour", "Straße", "今天", "3.14", "’s", "<", "|im_", "]", "\n", "  ", "e\u0301")
_TEXT = st.lists(st.sampled_from(_WORDS) | st.text(max_size=6), min_size=1, max_size=6)
_CONTENT = _TEXT.map("".join).filter(str.strip)
few = settings(max_examples=25)
HEARD = Span(type="audio", audio_index=0, start_sample=0, num_samples=16_000)


def said(text: str, *, supervised: bool = False) -> Span:
    return Span(type="text", text=text, supervised=supervised)


def exchange(*contents: str, system: str | None = None) -> tuple[Turn, ...]:
    """User and assistant by turns; all answers are supervised."""
    first = () if system is None else (Turn(role="system", content=(said(system),)),)
    roles = ("user", "assistant")
    return (
        *first,
        *(
            Turn(role=roles[k % 2], content=(said(content, supervised=k % 2 == 1),))
            for k, content in enumerate(contents)
        ),
    )


def encode(renderer: ChatRenderer, turns, *, asks: bool = False, **fields) -> EncodedTurns:
    conversation = Conversation(turns=tuple(turns), **fields)
    (found,) = renderer.encode_turns([conversation], generation_prompt=asks)
    return found


def reference(loaded, turns, *, asks: bool) -> list[int]:
    messages = [{"role": t.role, "content": t.content[0].text} for t in turns]
    ids: list[int] = loaded.reference.apply_chat_template(
        messages, add_generation_prompt=asks, return_dict=False, **loaded.family.arguments
    )
    return ids


def labels(renderer: ChatRenderer, found: EncodedTurns) -> str:
    ids = zip(found.token_ids, found.trained, strict=True)
    return renderer.decode([token_id for token_id, trained in ids if trained])


@pytest.fixture(scope="session")
def shipped() -> ChatRenderer:
    return ChatRenderer.load("sllm_data/testbed/assets/backbone")


@few
@pytest.mark.parametrize("name", STYLES)
@given(contents=st.lists(_CONTENT, min_size=4, max_size=4))
def test_without_audio_the_ids_are_those_of_apply_chat_template(load_family, name, contents):
    loaded = load_family(name)
    for size in (2, 4):
        turns = exchange(*contents[:size])
        assert encode(loaded.renderer, turns).token_ids == reference(loaded, turns, asks=False)
        asked = turns[:-1]
        found = encode(loaded.renderer, asked, asks=True)
        assert found.token_ids == reference(loaded, asked, asks=True)
        assert not any(encode(loaded.renderer, asked).trained[-2:])


@few
@pytest.mark.parametrize("name", ["llama", "qwen", "mistral_tekken"])
@given(contents=st.lists(_CONTENT, min_size=3, max_size=3))
def test_a_system_turn_stands_as_apply_chat_template_puts_it(load_family, name, contents):
    loaded = load_family(name)
    turns = exchange(*contents[1:], system=contents[0])
    assert encode(loaded.renderer, turns).token_ids == reference(loaded, turns, asks=False)


@few
@given(contents=st.lists(st.sampled_from(["rain", "the fog came", "a\nb", "ö"]), min_size=2))
def test_the_shipped_backbone_gets_the_ids_of_apply_chat_template(shipped, contents):
    contents = contents[: len(contents) // 2 * 2]
    turns = exchange(*contents)
    messages = [{"role": t.role, "content": t.content[0].text} for t in turns]
    expected = shipped._tokenizer.apply_chat_template(messages, return_dict=False)
    found = encode(shipped, turns)
    assert found.token_ids == expected
    assert labels(shipped, found) == "".join(f"{answer}<|end|>" for answer in contents[1::2])


@few
@pytest.mark.parametrize("name", GUARDED)
@given(question=_CONTENT, answer=_CONTENT, with_audio=st.booleans())
def test_what_is_trained_begins_with_what_is_asked(
    load_family, name, question, answer, with_audio
):
    renderer = load_family(name).renderer
    (user, assistant) = exchange(question, f"x{answer}")
    if with_audio:
        user = Turn(role="user", content=(*user.content, HEARD, said(" now")))
    trained = encode(renderer, (user, assistant))
    asked = encode(renderer, (user,), asks=True)
    first = trained.trained.index(True)
    if renderer.decode(trained.token_ids[first : first + 1]).strip():
        assert trained.token_ids[:first] == asked.token_ids[:first]
        # a template's own last token may grow together with the first of an answer
        assert len(asked.token_ids) - first in (0, 1)


@pytest.mark.parametrize("name", GUARDED)
def test_the_answer_and_its_end_are_the_labels(load_family, name):
    renderer = load_family(name).renderer
    turns = exchange("what is said?", "the ferry, late")
    found = encode(renderer, turns)
    shown = labels(renderer, found).strip()
    assert shown.startswith("the") or name == "unigram"
    ids = [i for i, trained in zip(found.token_ids, found.trained, strict=True) if trained]
    assert ids[-1] in renderer.stop_ids
    cut = encode(renderer, turns, is_complete=False)
    assert cut.token_ids == found.token_ids
    assert [i for i, t in zip(cut.token_ids, cut.trained, strict=True) if t] == ids[:-1]


def test_only_the_last_answer_can_be_cut(load_family):
    renderer = load_family("llama").renderer
    found = encode(renderer, exchange("one", "two", "three", "four"), is_complete=False)
    assert labels(renderer, found) == "two<|eot_id|>four"


def test_an_answer_that_is_not_supervised_is_no_label(load_family):
    renderer = load_family("qwen").renderer
    first, answer, *rest = exchange("one", "two", "three", "four")
    answer = Turn(role="assistant", content=(said("two"),))
    assert labels(renderer, encode(renderer, (first, answer, *rest))) == "four<|im_end|>"


def test_a_part_of_a_turn_can_be_supervised(load_family):
    renderer = load_family("llama").renderer
    user = Turn(role="user", content=(HEARD, said("rain and fog", supervised=True), said(".")))
    assert labels(renderer, encode(renderer, (user, *exchange("", "yes")[1:]))) == (
        "rain and fogyes<|eot_id|>"
    )


@few
@pytest.mark.parametrize("name", STYLES)
@given(data=st.data())
def test_text_beside_audio_never_yields_a_control_token_and_is_all_there(load_family, name, data):
    loaded = load_family(name)
    hostile = st.lists(st.sampled_from((*loaded.family.controls, *_WORDS)), max_size=5)
    before, between, after = (f"a{''.join(data.draw(hostile))}z" for _ in range(3))
    spans = (said(before), HEARD, said(between), HEARD, said(after))
    turns = (Turn(role="user", content=spans), *exchange("", before)[1:])
    found = encode(loaded.renderer, turns)
    assert found.token_ids.count(AUDIO) == 2
    plain = reference(loaded, exchange("x", "x"), asks=False)
    sequence = loaded.renderer._controls.sequence
    assert sequence(found.token_ids) == sequence(plain)
    start = found.token_ids.index(AUDIO)
    stop = found.token_ids.index(AUDIO, start + 1)
    inner = loaded.renderer._controls.inner
    within = inner.encode(between, add_special_tokens=False).ids
    assert found.token_ids[start + 1 : stop] == within


@pytest.mark.parametrize("first", [True, False])
def test_what_a_template_strips_is_stripped_beside_audio_at_the_ends_only(load_family, first):
    renderer = load_family("llama").renderer
    spans = (HEARD, said("  now \n")) if first else (said("\n  now "), HEARD)
    turns = (Turn(role="user", content=spans), *exchange("", "yes")[1:])
    shown = renderer.decode([i for i in encode(renderer, turns).token_ids if i != AUDIO])
    assert ("\n\n  now<|eot_id|>" if first else "\n\nnow <|eot_id|>") in shown


def test_blank_text_beside_audio_is_stripped_whole(load_family):
    renderer = load_family("llama").renderer
    spans = (said(" "), said("\n"), HEARD, said("\n"), said(" "))
    alone = encode(renderer, (Turn(role="user", content=(HEARD,)),), asks=True)
    assert encode(renderer, (Turn(role="user", content=spans),), asks=True) == alone


def test_a_system_turn_that_is_refused_goes_in_front_of_audio(load_family):
    renderer = load_family("mistral").renderer
    user = Turn(role="user", content=(HEARD, said(" hi")))
    system = Turn(role="system", content=(said("Be brief."),))
    shown = encode(renderer, (system, user), asks=True).token_ids
    before, after = shown[: shown.index(AUDIO)], shown[shown.index(AUDIO) + 1 :]
    assert "Be brief.\n\n" in renderer.decode(before)
    assert "hi" in renderer.decode(after)
    blank = Turn(role="system", content=(said(" "),))
    assert encode(renderer, (blank, user)) == encode(renderer, (user,))


def test_a_system_turn_that_only_the_last_user_is_shown_is_trained_as_it_is_asked(load_family):
    loaded = load_family("mistral_later")
    turns = exchange("hi", "yes", system="Be brief.")
    found = encode(loaded.renderer, turns)
    asked = loaded.renderer.encode(
        [[Message(role="system", content="Be brief."), Message(role="user", content="hi")]]
    )[0]
    assert found.token_ids[: len(asked)] == asked
    assert labels(loaded.renderer, found).strip() == "yes</s>"


def test_a_template_without_an_end_gets_the_end_of_text(load_family):
    renderer = load_family("base").renderer
    found = encode(renderer, exchange("one", "two", "three", "four"))
    assert labels(renderer, found).split() == ["two<|eot_id|>", "four<|eot_id|>"]
    assert {renderer.decode([i]) for i in renderer.stop_ids} == {"<|eot_id|>"}


def test_a_tokenizer_that_can_end_nothing_is_an_error(tmp_path):
    words = Tokenizer(models.WordLevel({"<unk>": 0, "hello": 1, "a": 2}, unk_token="<unk>"))  # noqa: S106 - a token of text
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "chat_template": "{% for m in messages %}{{ m.content ~ ' ' }}{% endfor %}",
            }
        )
    )
    renderer = ChatRenderer.load(str(tmp_path))
    assert not renderer.stop_ids
    with pytest.raises(ModelError, match="could not learn to end one"):
        encode(renderer, exchange("hello", "a"))


def test_a_renderer_that_was_sent_to_another_process_is_the_same(load_family):
    renderer = load_family("qwen_thinking").renderer
    again = pickle.loads(pickle.dumps(renderer))  # noqa: S301 - our own
    turns = (Turn(role="user", content=(said("hi "), HEARD)), *exchange("", "yes")[1:])
    assert encode(again, turns) == encode(renderer, turns)
    assert again.chat_template_sha256 == renderer.chat_template_sha256
    assert again.revision == renderer.revision


def test_a_batch_is_its_conversations_in_order(load_family):
    renderer = load_family("mistral").renderer
    each = [exchange(f"one {k}", f"two {k}", system="Be brief.") for k in range(3)]
    each.append((Turn(role="user", content=(HEARD,)), *exchange("", "yes")[1:]))
    together = renderer.encode_turns([Conversation(turns=turns) for turns in each])
    assert together == [encode(renderer, turns) for turns in each]
