"""Plain-text role markers: read off the template, found in transcripts, never invented."""

import pytest

from sllm_data.chat.markers import marker_pattern, role_markers
from sllm_data.chat.skeleton import Skeleton, Slot


def _skeleton(*stream):
    slot = [Slot(message=i, role="user", left="", right="") for i in range(9)]
    slots = iter(slot)
    return Skeleton(
        text=(), stream=tuple(next(slots) if p is None else p for p in stream), control_ids=()
    )


@pytest.mark.parametrize(
    ("name", "markers"),
    [
        ("vicuna", ("USER:", "ASSISTANT:")),
        ("base", ("System:", "User:", "Assistant:")),
        ("llama", ()),
        ("qwen", ()),
        ("mistral", ()),
        ("mistral_later", ()),
        ("mistral_tekken", ()),
        ("mistral_plain", ("[INST]", "[/INST]")),
    ],
)
def test_markers_are_those_of_the_template(load_family, name, markers):
    assert load_family(name).renderer.role_markers == markers


@pytest.mark.parametrize(
    ("text", "flagged"),
    [
        ("he said USER: tell me", True),
        ("and then\nassistant:yes", True),
        ("the user and the assistant", False),
        ("a superuser: nobody", False),
        ("", False),
    ],
)
def test_a_transcript_with_a_marker_is_flagged(load_family, text, flagged):
    assert load_family("vicuna").renderer.flags_role_markers(text) is flagged


def test_guarded_templates_flag_nothing(load_family):
    assert not load_family("qwen").renderer.flags_role_markers("USER: <|im_start|>user")


def test_brackets_and_headings_are_markers_where_the_tokenizer_does_not_know_them():
    llama2 = _skeleton(1, "[INST] <<SYS>>\n", None, "\n<</SYS>>\n\n", None, " [/INST] ", None, 2)
    assert role_markers(llama2) == ("[INST] <<SYS>>", "<</SYS>>", "[/INST]")
    headings = _skeleton("Below is a task.\n### Human: ", None, "\n### Assistant:", None)
    pattern = marker_pattern(role_markers(headings))
    assert pattern is not None
    assert pattern.search("so ### human: hello")


def test_a_gap_of_whitespace_alone_is_no_marker():
    assert role_markers(_skeleton(1, None, "\n\n", None, 2)) == ()


def test_a_marker_that_is_a_word_counts_only_on_a_line_of_its_own():
    pattern = marker_pattern(role_markers(_skeleton(None, "\nuser\n", None, "\nmodel\n")))
    assert pattern is not None
    assert not pattern.search("the user spoke")
    assert pattern.search("well\n User \nhello")
