"""One instruction, one clip, one answer: kind `instruct`, or `interleaved` where the clip is cut.

The audio side says with the audio what the text side says with the transcript; both carry
the same answer. Only the answer is supervised.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sllm_data.assembly.interleave import Stretch, UninterleavableError, speech_share
from sllm_data.assembly.pieces import Piece
from sllm_data.records import (
    Generator,
    Message,
    Quality,
    Request,
    Response,
    Sample,
    Source,
    Span,
    Speaker,
    Turn,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """What a sample must know of its clip."""

    audio_id: str
    audio_part: int
    sampling_rate: int
    """Hertz."""
    num_samples: int
    transcript: str
    language: str
    speaker: Speaker
    source: Source


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Which files a sample's prompt came from, and what made its answer."""

    recipe: str
    kind: str
    pool_sha256: str
    template_sha256: str
    generator: Generator


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What stands in the user turn in place of the transcript."""

    spans: tuple[Span, ...]
    speech_share: float
    """Of the transcript's words, in [0, 1]."""
    cut: str | None = None
    """The policy of the cut; None where all of the clip is heard."""


def whole(clip: Clip) -> Content:
    """Returns all of a clip."""
    heard = Span(type="audio", audio_index=0, start_sample=0, num_samples=clip.num_samples)
    return Content(spans=(heard,), speech_share=1.0)


def interleaved(pieces: Sequence[Piece], stretches: Sequence[Stretch], *, cut: str) -> Content:
    """Returns stretches of speech and of text by turns; together they are the transcript."""
    return Content(
        spans=tuple(_span(pieces[s.first : s.end], heard=s.heard) for s in stretches),
        speech_share=speech_share(pieces, stretches),
        cut=cut,
    )


def _span(pieces: Sequence[Piece], *, heard: bool) -> Span:
    if not heard:
        return Span(type="text", text="".join(piece.text for piece in pieces))
    start = pieces[0].start_sample
    return Span(
        type="audio",
        audio_index=0,
        start_sample=start,
        num_samples=pieces[-1].end_sample - start,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """A conversation about stretches: the user turn is speech, the answer its text or the next."""

    turns: tuple[Turn, ...]
    text_messages: tuple[Message, ...]
    response: str
    """The last answer."""
    cut: str
    """Policy and pattern: `span/repeat`."""
    speech_share: float


def exchange(
    content: Content,
    pieces: Sequence[Piece],
    stretches: Sequence[Stretch],
    *,
    turn: tuple[str, str],
    text_turn: tuple[str, str],
    pattern: str,
) -> Exchange:
    """Lets each stretch of speech be answered; the loss is on text alone.

    `repeat` answers with the stretch's own text, `next` with the text that follows it (Voxtral,
    arXiv 2507.13264). Text in front of a stretch is read with it. What comes behind the last
    answer is left out.

    Args:
        content: Of the same stretches.
        pieces: Of the utterance.
        stretches: Speech and text by turns.
        turn: The user turn of the audio side, before and after the content: around the first.
        text_turn: The same of the text side.
        pattern: repeat or next.

    Raises:
        UninterleavableError: No stretch has an answer.
    """
    turns: list[Turn] = []
    twin: list[Message] = []
    spans, read = list(_text(turn[0])), text_turn[0]
    texts = ["".join(piece.text for piece in pieces[each.first : each.end]) for each in stretches]
    position = 0
    while position < len(stretches):
        spans.append(content.spans[position])
        read += texts[position]
        answered = position + (pattern == "next")
        if stretches[position].heard and answered < len(stretches):
            spans += _text("" if turns else turn[1])
            read += "" if turns else text_turn[1]
            answer = texts[answered].strip()
            turns += [
                Turn(role="user", content=tuple(_joined(spans))),
                Turn(
                    role="assistant",
                    content=(Span(type="text", text=answer, supervised=True),),
                ),
            ]
            twin += [
                Message(role="user", content=read),
                Message(role="assistant", content=answer),
            ]
            spans, read = [], ""
            position = answered
        position += 1
    if not turns:
        raise UninterleavableError("a stretch of speech must have text behind it, has none")
    return Exchange(
        turns=tuple(turns),
        text_messages=tuple(twin),
        response=twin[-1].content,
        cut=f"{content.cut}/{pattern}",
        speech_share=content.speech_share,
    )


def instruct_sample(  # noqa: PLR0913 - the values that meet in a row
    request: Request,
    response: Response,
    *,
    clip: Clip,
    content: Content | Exchange,
    audio_turn: tuple[str, str],
    quality: Quality,
    response_language: str,
    provenance: Provenance,
    second: tuple[str, Response] | None = None,
) -> Sample:
    """Builds the row of one answered request.

    Args:
        request: With the text side as the backbone saw it.
        response: The answer, or the transcript where that is the answer.
        clip: Its audio.
        content: What of it is heard, and what is read.
        audio_turn: The user turn of the audio side, before and after the content.
        quality: What the filters saw.
        response_language: Of the last answer.
        provenance: Where it all came from.
        second: What was asked on in text, and its answer, which is then the row's response.
    """
    system = tuple(
        Turn(role=m.role, content=(Span(type="text", text=m.content),))
        for m in request.messages
        if m.role == "system"
    )
    if isinstance(content, Exchange):
        turns, twin, answer = content.turns, content.text_messages, content.response
        read = tuple(m for m in request.messages if m.role == "system")
    else:
        answer, read = response.text, request.messages
        spans = tuple(_joined((*_text(audio_turn[0]), *content.spans, *_text(audio_turn[1]))))
        trained = Span(type="text", text=answer, supervised=True)
        turns = (Turn(role="user", content=spans), Turn(role="assistant", content=(trained,)))
        twin = (Message(role="assistant", content=answer),)
    if second is not None:
        question, response = second
        answer = response.text
        trained = Span(type="text", text=answer, supervised=True)
        turns += (
            Turn(role="user", content=(Span(type="text", text=question),)),
            Turn(role="assistant", content=(trained,)),
        )
        twin += (
            Message(role="user", content=question),
            Message(role="assistant", content=answer),
        )
    return Sample(
        sample_id=request.sample_id,
        recipe=provenance.recipe,
        kind="interleaved" if content.cut else provenance.kind,
        task=request.task,
        task_params=request.task_params,
        variant=request.variant,
        audio_refs=((clip.audio_part, clip.audio_id),),
        messages=(*system, *turns),
        text_messages=(*read, *twin),
        response=answer,
        response_token_ids=response.token_ids or None,
        response_top_token_ids=response.top_token_ids,
        response_logprobs=response.top_logprobs,
        response_language=response_language,
        num_response_tokens=response.num_response_tokens,
        finish_reason=response.finish_reason,
        instruction_id=request.instruction_id,
        template_id=request.template_id,
        pool_sha256=provenance.pool_sha256,
        template_sha256=provenance.template_sha256,
        split=request.split,
        eval_group=request.eval_group,
        language=clip.language,
        transcript=clip.transcript,
        transcript_prepared=request.transcript_prepared,
        speech_share=content.speech_share,
        cut=content.cut,
        speakers=(clip.speaker,),
        generator=provenance.generator,
        quality=quality,
        source=clip.source,
    )


def _text(text: str) -> tuple[Span, ...]:
    return (Span(type="text", text=text),) if text else ()


def _joined(spans: Sequence[Span]) -> Iterator[Span]:
    """Makes one span of texts that follow one another."""
    before: Span | None = None
    for span in spans:
        if before and before.text is not None and span.text is not None:
            before = replace(before, text=before.text + span.text)
            continue
        if before:
            yield before
        before = span
    if before:
        yield before
