from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.errors import PoolError
from sllm_data.prompting.pools import Instruction
from sllm_data.prompting.templates import Template, load_template
from sllm_data.prompting.twins import _MARKER, Twin, render_twin

INSTRUCTION = Instruction(
    id="translation.en.90",
    task="translation",
    language="en",
    text="Put this text in {{ target_language }}.",
    audio="Put this speech in {{ target_language }}.",
    held_out=False,
    tags=(),
)
GERMAN = {"target_language": "German"}
TEMPLATE = Template("mine", "{{ instruction }}\n\n{{ content }}\n--")


def twin_of(template: Template, transcript: str = "hello") -> Twin:
    return render_twin(
        template=template,
        instruction=INSTRUCTION,
        transcript=transcript,
        fields=GERMAN,
        system=None,
    )


def test_the_two_sides_differ_in_wording_and_content_only() -> None:
    twin = twin_of(TEMPLATE)
    assert twin.text_messages[0].content == "Put this text in German.\n\nhello\n--"
    assert twin.audio_turn == ("Put this speech in German.\n\n", "\n--")


@pytest.mark.parametrize("system", [None, "", "Be {{ brief }}."])
def test_a_system_turn_stands_first_and_as_it_is(system: str | None) -> None:
    twin = render_twin(
        template=TEMPLATE, instruction=INSTRUCTION, transcript="x", fields=GERMAN, system=system
    )
    roles = [message.role for message in twin.text_messages]
    assert roles == (["system", "user"] if system else ["user"])
    if system:
        assert twin.text_messages[0].content == system


@given(st.text())
def test_a_transcript_is_data(text: str) -> None:
    for transcript in (text, f"{{{{ {text} }}}}", "{% for %}" + text, _MARKER + text, "{{ x }}"):
        twin = twin_of(TEMPLATE, transcript)
        content = twin.text_messages[0].content
        assert content == f"Put this text in German.\n\n{transcript}\n--"
        assert twin.audio_turn == twin_of(TEMPLATE).audio_turn


@given(st.text().filter(lambda value: _MARKER not in value))
def test_a_field_is_data(value: str) -> None:
    twin = render_twin(
        template=TEMPLATE,
        instruction=INSTRUCTION,
        transcript="x",
        fields={"target_language": value},
        system=None,
    )
    assert twin.text_messages[0].content == f"Put this text in {value}.\n\nx\n--"


def test_a_template_may_put_the_content_first_or_ask_for_a_field() -> None:
    assert twin_of(load_template("content_first")).audio_turn[0] == ""
    source = "{% if target_language == 'German' %}!{% endif %}{{ content }}{{ instruction }}"
    assert twin_of(Template("mine", source)).audio_turn[0] == "!"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ instruction }}", "content }} exactly once, without"),
        ("{{ content }}", "must use {{ instruction }}"),
        ("{{ instruction }}{{ content|upper }}", "content }} exactly once, without"),
        ("{{ instruction }}{% if content %}{{ content }}{% endif %}", "exactly once, without"),
        ("{{ instruction }}{{ content }}{{ content }}", "exactly once, found 2 times"),
        (
            "{{ instruction }}{% if instruction == 'x' %}{{ content }}{% endif %}",
            "exactly once, found 0 times with instruction translation.en.90",
        ),
    ],
)
def test_a_template_must_print_the_content_exactly_once(source: str, said: str) -> None:
    with pytest.raises(PoolError) as caught:
        twin_of(Template("mine", source))
    assert said in str(caught.value)


def test_a_field_with_the_marker_in_it_is_refused() -> None:
    with pytest.raises(PoolError, match="found 2 times"):
        render_twin(
            template=TEMPLATE,
            instruction=INSTRUCTION,
            transcript="x",
            fields={"target_language": _MARKER},
            system=None,
        )


def test_a_variable_of_a_wording_must_have_a_field() -> None:
    with pytest.raises(PoolError, match=r"translation\.en\.90: variable target_language"):
        render_twin(
            template=TEMPLATE, instruction=INSTRUCTION, transcript="x", fields={}, system=None
        )


def test_the_fields_of_every_prompt_can_not_be_set() -> None:
    with pytest.raises(PoolError, match="content is a field of every prompt"):
        render_twin(
            template=TEMPLATE,
            instruction=INSTRUCTION,
            transcript="x",
            fields={"content": "y"},
            system=None,
        )


def test_another_wording_under_the_same_id_is_rendered_anew() -> None:
    other = replace(INSTRUCTION, audio="Listen.")
    twin = render_twin(
        template=TEMPLATE, instruction=other, transcript="x", fields=GERMAN, system=None
    )
    assert twin.audio_turn[0] == "Listen.\n\n"
