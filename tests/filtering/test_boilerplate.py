import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.filtering.boilerplate import leak_in, refusal_in

CONTROL = ("<|im_start|>", "<|im_end|>", "<eos>", "", " ")


@pytest.mark.parametrize(
    "text",
    [
        "As an AI language model, I don't have feelings.",
        "I\u2019m sorry, but I can\u2019t assist with that request.",
        "I'm unable to listen to audio, but I can help with text.",
        "I cannot directly hear the recording you mention.",
        "Sure! Please provide the text you would like me to translate.",
        "Als KI-Modell habe ich keine Gefühle.",
        "Es tut mir leid, aber dabei kann ich Ihnen nicht helfen.",
        "Lo siento, como modelo de lenguaje no tengo opiniones.",
        "Lo siento, no puedo ayudarte con eso.",
        "En tant qu'IA, je n'ai pas d'émotions.",
        "Je suis désolé, mais je ne peux pas vous aider avec cela.",
        "作为一个人工智能语言模型，我没有情感。",
        "很抱歉，我无法协助您完成这个请求。",
        "Come modello linguistico, non ho emozioni.",
        "Como uma IA, não tenho sentimentos.",
        "Als taalmodel heb ik geen gevoelens.",
        "Как языковая модель, я не имею чувств.",
        "申し訳ありませんが、AIとしてお答えできません。",
    ],
)
def test_refusals_are_found_in_many_languages(text):
    assert refusal_in(text, "The boy met the old man.") is not None


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't stay any longer.",
        "I cannot help thinking that he was right.",
        "He said that I can't assist at the wedding.",
        "The speaker asks whether she can help with the luggage.",
        "Ich kann nicht helfen, es ist so schön.",
        "Die KI hat das Spiel gewonnen.",
        "人工智能正在改变世界。",
        "No puedo más.",
        "I can't. I cannot.",
        "",
    ],
)
def test_what_people_say_is_no_refusal(text):
    assert refusal_in(text, "") is None


def test_speech_about_language_models_clears_its_responses():
    heard = "She told me: as a language model I do not sleep."
    assert refusal_in("As a language model I do not sleep, she told me.", heard) is None
    assert refusal_in("Als Sprachmodell schlafe ich nicht.", heard) is None


def test_the_phrase_that_was_found_is_told():
    assert refusal_in("Sorry. I can't, no: I can't assist with that.", "") == "i cant assist with"


@pytest.mark.parametrize(
    ("text", "marker"),
    [
        ("Positive<|im_end|>", "<|im_end|>"),
        ("Positive<eos>", "<eos>"),
        ("Positive <|eot_id|>", "<|eot_id|>"),
        ("[INST] Say it [/INST]", "[INST]"),
        ("<<SYS>> be kind", "<<SYS>>"),
        ("Positive</s>", "</s>"),
        ("<think>The user asks", "<think>"),
        ("Positive\nUSER: and now?", "USER:"),
        ("Positive\n\n  Assistant: Sure", "Assistant:"),
        ("### Response:\nPositive", "### Response:"),
    ],
)
def test_control_tokens_and_role_markers_are_leaks(text, marker):
    assert leak_in(text, "The boy met the old man.", CONTROL) == marker


@pytest.mark.parametrize(
    "text",
    [
        "The user: a person. The system: a machine.",
        "if a < b | c > d then a <| b",
        "## Summary\n### Results\nAll good.",
        "He wrote <b>bold</b> and [1] as a footnote.",
        "",
    ],
)
def test_ordinary_marks_are_no_leaks(text):
    assert leak_in(text, "", CONTROL) is None


def test_role_markers_that_were_spoken_are_no_leaks_but_control_tokens_are():
    assert leak_in("User: hello", "User: hello", CONTROL) is None
    assert leak_in("a <|im_end|>", "a <|im_end|>", CONTROL) == "<|im_end|>"


@given(st.text(), st.text())
def test_any_text_can_be_searched(text, transcript):
    assert refusal_in(text, transcript) is None or isinstance(text, str)
    assert leak_in(text, transcript, ()) is None or text
    assert leak_in(text, text, ()) is None
