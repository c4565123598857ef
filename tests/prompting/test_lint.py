from dataclasses import replace
from pathlib import Path

import pytest

from sllm_data.prompting.lint import Finding, lint_pools
from sllm_data.prompting.pools import Instruction, Pool

ENGLISH = (
    ("Copy this text.", "Transcribe this speech."),
    ("What does it say?", "What is said?"),
    ("Give me each of its words:", "Type every word of the recording:"),
    ("Another one, please!", "Once more, please!"),
)


def pool_of(*sides: tuple[str, str], language: str = "en") -> Pool:
    instructions = tuple(
        Instruction(
            id=f"transcription.{language.casefold()}.{number:02}",
            task="transcription",
            language=language,
            text=text,
            audio=audio,
            held_out=number == 1,
            tags=(),
        )
        for number, (text, audio) in enumerate(sides, start=1)
    )
    return Pool(
        task="transcription",
        language=language,
        instructions=instructions,
        sha256="0" * 64,
        path=Path(f"transcription.{language}.yaml"),
        licence="CC0-1.0",
        source="a test",
    )


def rules(pool: Pool) -> list[tuple[str, str | None]]:
    return [(finding.rule, finding.instruction_id) for finding in lint_pools([pool])]


def with_last(text: str, audio: str, language: str = "en") -> list[tuple[str, str | None]]:
    """Returns the findings about one wording among good ones."""
    pool = pool_of(*ENGLISH, (text, audio), language=language)
    identity = pool.instructions[-1].id
    return [(rule, who) for rule, who in rules(pool) if who == identity]


def test_a_good_pool_has_no_findings() -> None:
    assert lint_pools([pool_of(*ENGLISH)]) == []


def test_a_finding_names_file_wording_rule_and_reason() -> None:
    assert lint_pools([pool_of(*ENGLISH[:3])]) == [
        Finding(
            path=Path("transcription.en.yaml"),
            instruction_id=None,
            rule="few_wordings",
            message="must have at least 4 wordings, has 3",
        )
    ]


@pytest.mark.parametrize(("held_out", "rule"), [(False, "none_held_out"), (True, "all_held_out")])
def test_some_wordings_but_not_all_must_be_held_out(held_out: bool, rule: str) -> None:  # noqa: FBT001
    pool = pool_of(*ENGLISH)
    same = tuple(replace(one, held_out=held_out) for one in pool.instructions)
    assert rules(replace(pool, instructions=same)) == [(rule, None)]


def test_an_id_must_begin_with_task_and_language() -> None:
    pool = pool_of(*ENGLISH)
    first = replace(pool.instructions[0], id="intent.en.01")
    changed = replace(pool, instructions=(first, *pool.instructions[1:]))
    assert rules(changed) == [("foreign_id", "intent.en.01")]
    assert rules(pool_of(*ENGLISH, language="zh-CN")) == []


def test_equal_wordings_are_duplicates_whatever_case_and_space() -> None:
    found = with_last("copy  THIS text.", "Write down the audio.")
    assert found == [("duplicate", "transcription.en.05")]


def test_wordings_that_hardly_differ_are_near_duplicates() -> None:
    long = "Write down every single word that the recording has, and no other word"
    pool = pool_of(*ENGLISH, ("One more.", f"{long}!"), ("And another.", f"{long}."))
    assert rules(pool) == [("near_duplicate", "transcription.en.06")]


@pytest.mark.parametrize(
    ("text", "audio", "language"),
    [
        ("Write down this speech.", "Turn the voice to letters.", "en"),
        ("Repeat the spoken words.", "Turn the voice to letters.", "en"),
        ("Any words are fine.", "Summarise the text.", "en"),
        ("Schreib die Tonaufnahme auf.", "Was hörst du hier?", "de"),
        ("Was steht da?", "Fasse den Text zusammen.", "de-AT"),
    ],
)
def test_a_wording_on_the_wrong_side_is_found(text: str, audio: str, language: str) -> None:
    assert [rule for rule, _ in with_last(text, audio, language)] == ["wrong_side"]


@pytest.mark.parametrize(
    ("text", "audio", "language"),
    [
        ("What is said in this text?", "Write what is said as text.", "en"),
        ("Wohin gehört dieser Text?", "Gib das Gehörte als Text aus.", "de"),
        ("Schreibe, wo der Text aufhört.", "Bleib in der Sprache der Aufnahme.", "de"),
        ("Записать речь.", "Текст.", "ru"),
    ],
)
def test_words_that_fit_their_side_are_left_alone(text: str, audio: str, language: str) -> None:
    assert with_last(text, audio, language) == []


def test_a_wording_must_not_say_where_the_content_stands() -> None:
    assert [rule for rule, _ in with_last("Sum up the text below.", "Listen now.")] == ["position"]


def test_a_variable_must_be_known_and_stand_on_both_sides() -> None:
    found = with_last("To {{ target_language }}, {{ colour }}.", "To {{ colour }} speech.")
    assert [rule for rule, _ in found] == ["undefined_variable", "one_sided_variable"]


def test_a_wording_must_end_in_punctuation() -> None:
    found = with_last("And yet another", "Every word that you hear")
    assert [rule for rule, _ in found] == ["end_punctuation"] * 2


def test_a_finding_is_one_printable_line_whatever_it_quotes() -> None:
    name = "a" * 4_000
    pool = pool_of(*ENGLISH, (f"Say it in {{{{ {name} }}}}.", f"Hear it in {{{{ {name} }}}}."))
    (message,) = {f.message for f in lint_pools([pool]) if f.rule == "undefined_variable"}
    assert message.startswith("variable aaa")
    assert message.endswith("there is: emotion, question, statement, target_language")
    assert len(message) == 500
