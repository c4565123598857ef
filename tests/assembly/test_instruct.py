"""An instruct sample says with audio what its twin says with text, and trains the answer only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.assembly.instruct import (
    Clip,
    Content,
    Exchange,
    Provenance,
    exchange,
    instruct_sample,
    interleaved,
    whole,
)
from sllm_data.assembly.interleave import Stretch, UninterleavableError
from sllm_data.assembly.pieces import Piece
from sllm_data.records import (
    Generator,
    Message,
    Quality,
    Request,
    Response,
    Sample,
    Sampling,
    Source,
    Speaker,
)
from sllm_data.shards import TABLES, read_part, write_part
from sllm_data.steps.rows import sample_row

CLIP = Clip(
    audio_id="c/1/en/x",
    audio_part=3,
    sampling_rate=16_000,
    num_samples=48_000,
    transcript="HELLO THERE",
    language="en",
    speaker=Speaker(id="s", gender="female"),
    source=Source(corpus="c", version="1", licence="CC0-1.0", attribution="someone"),
)
PROVENANCE = Provenance(
    recipe="self_powered",
    kind="instruct",
    pool_sha256="p",
    template_sha256="t",
    generator=Generator(
        model="m",
        revision="r",
        engine="scripted",
        engine_version="1",
        chat_template_sha256="c",
        sampling="{}",
        seed=7,
        request_key="k",
        prompt_mode="ids",
        determinism="strict",
    ),
)


def made(  # noqa: PLR0913 - what differs between samples
    before: str = "Repeat:\n",
    after: str = "",
    *,
    system: str | None = None,
    answer: str = "hello there",
    token_ids: tuple[int, ...] = (5, 6),
    finish_reason: str = "stop",
    content: Content | None = None,
    top: tuple[tuple[tuple[int, ...], ...], tuple[tuple[float, ...], ...]] | None = None,
) -> Sample:
    user = Message(role="user", content=f"{before}hello there{after}")
    first = (Message(role="system", content=system),) if system is not None else ()
    request = Request(
        request_id="id:main",
        sample_id="id",
        audio_part=3,
        audio_id="c/1/en/x",
        task="repetition",
        task_params="{}",
        variant="instruction_first",
        draw_index=0,
        instruction_id="repetition.en.01",
        instruction_language="en",
        template_id="instruction_first",
        split="train",
        eval_group="train",
        transcript_prepared="hello there",
        target="generated",
        messages=(*first, user),
        prompt_token_ids=(1, 2, 3),
        sampling=Sampling(temperature=0.0, top_p=1.0, top_k=0, max_tokens=9),
        seed=7,
        request_key="k",
    )
    response = Response(
        request_id="id:main",
        text=answer,
        token_ids=token_ids,
        finish_reason=finish_reason,
        num_prompt_tokens=3,
        num_response_tokens=len(token_ids),
        num_cached_tokens=None,
        mean_logprob=None,
        top_token_ids=top[0] if top else None,
        top_logprobs=top[1] if top else None,
    )
    return instruct_sample(
        request,
        response,
        clip=CLIP,
        content=content or whole(CLIP),
        audio_turn=(before, after),
        quality=Quality(copy_rate=1.0),
        response_language="en",
        provenance=PROVENANCE,
    )


@given(st.text(max_size=5), st.text(max_size=5), st.none() | st.text(max_size=5), st.text())
def test_both_sides_have_the_same_roles_and_the_same_answer(before, after, system, answer):
    sample = made(before, after, system=system, answer=answer)
    assert [turn.role for turn in sample.messages] == [m.role for m in sample.text_messages]
    assert sample.messages[-1].content[0].text == sample.text_messages[-1].content == answer
    assert sample.response == answer


@given(st.text(max_size=5), st.text(max_size=5), st.none() | st.text(max_size=5))
def test_the_answer_alone_is_supervised(before, after, system):
    sample = made(before, after, system=system)
    supervised = [span for turn in sample.messages for span in turn.content if span.supervised]
    assert supervised == list(sample.messages[-1].content)
    assert sample.messages[-1].role == "assistant"


@given(st.text(max_size=5), st.text(max_size=5))
def test_the_user_turn_holds_the_whole_clip_between_its_words(before, after):
    (*_, user, _) = made(before, after).messages
    texts = f"{before}<clip>{after}"
    assert "".join(span.text or "<clip>" for span in user.content) == texts
    (clip,) = [span for span in user.content if span.type == "audio"]
    assert (clip.audio_index, clip.start_sample, clip.num_samples) == (0, 0, 48_000)
    assert all(span.text for span in user.content if span.type == "text")


def test_the_system_turn_stands_first_on_both_sides():
    sample = made(system="Be brief.")
    assert sample.messages[0].role == "system"
    assert sample.messages[0].content[0].text == sample.text_messages[0].content == "Be brief."


def test_the_transcript_is_kept_as_read_and_as_shown():
    sample = made()
    assert (sample.transcript, sample.transcript_prepared) == ("HELLO THERE", "hello there")
    assert sample.audio_refs == ((3, "c/1/en/x"),)
    assert sample.speech_share == 1.0


@pytest.mark.parametrize(("token_ids", "kept"), [((5, 6), (5, 6)), ((), None)])
def test_token_ids_are_missing_where_nobody_told_them(token_ids, kept):
    assert made(token_ids=token_ids).response_token_ids == kept


def test_the_likeliest_tokens_go_with_the_answer_into_its_row(tmp_path):
    ids, logprobs = ((5, 9), (6, 2)), ((-0.25, -2.0), (-0.5, -1.5))
    rows = [sample_row(made(top=(ids, logprobs))), sample_row(made())]
    write_part(tmp_path, "s.parquet", rows, table=TABLES["samples"], identity="i")
    stored = read_part(tmp_path / "s.parquet").to_pylist()
    assert stored[0]["response_top_token_ids"] == [[5, 9], [6, 2]]
    assert stored[0]["response_logprobs"] == [[-0.25, -2.0], [-0.5, -1.5]]
    assert (stored[1]["response_top_token_ids"], stored[1]["response_logprobs"]) == (None, None)


def test_an_answer_that_was_cut_off_is_marked():
    assert made(finish_reason="length").finish_reason == "length"


def test_a_sample_is_a_row_of_the_table_samples(tmp_path):
    rows = [sample_row(made()), sample_row(made(system="Be brief.", token_ids=()))]
    write_part(tmp_path, "s.parquet", rows, table=TABLES["samples"], identity="i")
    stored = read_part(tmp_path / "s.parquet").to_pylist()
    assert [row["response_token_ids"] for row in stored] == [[5, 6], None]
    assert stored[0]["audio_refs"] == [{"audio_part": 3, "audio_id": "c/1/en/x"}]
    assert stored[0]["messages"][0]["content"][1]["num_samples"] == 48_000
    assert stored[1]["text_messages"][0] == {"role": "system", "content": "Be brief."}
    assert stored[0]["generator"]["seed"] == 7
    assert stored[0]["quality"]["copy_rate"] == 1.0


def test_an_interleaved_sample_hears_a_part_and_reads_the_rest():
    pieces = [
        Piece(text="hello ", num_words=1, start_sample=0, end_sample=20_000, pause_samples=9),
        Piece(text="there", num_words=1, start_sample=20_000, end_sample=48_000, pause_samples=9),
    ]
    stretches = [Stretch(heard=False, first=0, end=1), Stretch(heard=True, first=1, end=2)]
    sample = made("Repeat:\n", "!", content=interleaved(pieces, stretches, cut="span"))
    read, heard, after = sample.messages[0].content
    assert (read.text, after.text) == ("Repeat:\nhello ", "!")
    assert (heard.start_sample, heard.num_samples) == (20_000, 28_000)
    assert (sample.kind, sample.cut, sample.speech_share) == ("interleaved", "span", 0.5)
    assert sample.text_messages[0].content == "Repeat:\nhello there!"


def pieces_of_words(count: int) -> list[Piece]:
    return [
        Piece(
            text=f"w{number} ",
            num_words=1,
            start_sample=number * 4_000,
            end_sample=(number + 1) * 4_000,
            pause_samples=0,
        )
        for number in range(count)
    ]


def exchanged(pattern: str, *heard: bool) -> Exchange:
    pieces = pieces_of_words(2 * len(heard))
    stretches = [Stretch(heard=each, first=2 * k, end=2 * k + 2) for k, each in enumerate(heard)]
    return exchange(
        interleaved(pieces, stretches, cut="span"),
        pieces,
        stretches,
        turn=("Say it:\n", "!"),
        text_turn=("Read it:\n", "?"),
        pattern=pattern,
    )


def shown(made_of: Exchange) -> list[tuple[str, ...]]:
    """Each turn as texts, and the starts of what is heard."""
    return [
        tuple(s.text if s.type == "text" else f"@{s.start_sample}" for s in turn.content)
        for turn in made_of.turns
    ]


def test_repeat_answers_each_stretch_by_its_own_text():
    made_of = exchanged("repeat", False, True, False, True, False)
    assert shown(made_of) == [
        ("Say it:\nw0 w1 ", "@8000", "!"),
        ("w2 w3",),
        ("w4 w5 ", "@24000"),
        ("w6 w7",),
    ]
    assert [m.content for m in made_of.text_messages] == [
        "Read it:\nw0 w1 w2 w3 ?",
        "w2 w3",
        "w4 w5 w6 w7 ",
        "w6 w7",
    ]
    assert (made_of.response, made_of.cut) == ("w6 w7", "span/repeat")


def test_next_answers_each_stretch_by_the_text_that_follows():
    made_of = exchanged("next", True, False, True, False)
    assert shown(made_of) == [
        ("Say it:\n", "@0", "!"),
        ("w2 w3",),
        ("@16000",),
        ("w6 w7",),
    ]
    assert [m.content for m in made_of.text_messages][2] == "w4 w5 "
    assert made_of.speech_share == 0.5


@pytest.mark.parametrize("pattern", ["repeat", "next"])
def test_only_answers_are_trained_in_an_exchange(pattern):
    for turn in exchanged(pattern, False, True, False, True, False).turns:
        assert {span.supervised for span in turn.content} == {turn.role == "assistant"}


def test_speech_with_nothing_behind_it_has_no_next():
    with pytest.raises(UninterleavableError, match="must have text behind it"):
        exchanged("next", False, True)
