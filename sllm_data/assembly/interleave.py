"""Which pieces of an utterance are heard and which are read.

The published systems cut differently (Spirit-LM: spans of 5 to 15 words; SIMS: a Poisson number
of words; SpeLangy: sentences in turn; VoiceTextBlender: a range of sentences), so the cut is a
policy. Three of them are asked for a share of words. It is met in the mean: how many words are
heard is fixed before where they stand, the last stretch is clipped to what is still needed, and
a fraction of a word is a chance.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from sllm_data.assembly.config import InterleaveConfig
from sllm_data.assembly.pieces import Piece
from sllm_data.errors import SllmDataError

_TRIES = 60
_MARGIN = 1.25  # of the shortest stretch: words differ in length
_NEAR = 1  # pieces that a cut is moved to reach a pause
_LEAST_PAUSE_S = 0.08


class UninterleavableError(SllmDataError):
    """An utterance is too short for speech and text, or has no sentences; a rejection."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Pieces [first, end) that are all heard, or all read."""

    heard: bool
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class _Clip:
    pieces: Sequence[Piece]
    rate: int
    min_audio_s: float

    def lasts(self, first: int, end: int) -> float:
        """Seconds from the cut in front of a piece to the one behind another."""
        return (self.pieces[end - 1].end_sample - self.pieces[first].start_sample) / self.rate

    def is_long_enough(self, first: int, end: int) -> bool:
        return self.lasts(first, end) >= self.min_audio_s


def interleave(
    pieces: Sequence[Piece], *, rate: int, config: InterleaveConfig, rng: random.Random
) -> list[Stretch]:
    """Cuts an utterance; speech and text take turns, and all pieces are in one stretch.

    Args:
        pieces: Of the utterance, at least one.
        rate: Hertz.
        config: Policy, share and shortest stretch of speech.
        rng: All chance.

    Raises:
        UninterleavableError: There can't be speech of the shortest length and text beside it.
    """
    clip = _Clip(pieces, rate, config.min_audio_s)
    match config.policy:
        case "alternate":
            heard = _alternating(clip, config, rng)
        case "sentence_range":
            heard = _range_of_sentences(clip, rng)
        case _:
            heard = _scattered(clip, config, rng)
    return list(_stretches(heard, len(pieces)))


def speech_share(pieces: Sequence[Piece], stretches: Sequence[Stretch]) -> float:
    """Returns the share of the words that is heard, in [0, 1], to the millionth."""
    heard = sum(
        sum(piece.num_words for piece in pieces[stretch.first : stretch.end])
        for stretch in stretches
        if stretch.heard
    )
    return round(heard / sum(piece.num_words for piece in pieces), 6)


_Ranges = list[tuple[int, int]]
"""Pieces [first, end) that are heard, in order, text between all of them."""


def _stretches(heard: _Ranges, num_pieces: int) -> Iterator[Stretch]:
    position = 0
    for first, end in heard:
        if first > position:
            yield Stretch(heard=False, first=position, end=first)
        yield Stretch(heard=True, first=first, end=end)
        position = end
    if position < num_pieces:
        yield Stretch(heard=False, first=position, end=num_pieces)


def _scattered(clip: _Clip, config: InterleaveConfig, rng: random.Random) -> _Ranges:
    """Draws stretches until the share is reached, and where they stand."""
    starts = [0, *accumulate(piece.num_words for piece in clip.pieces)]
    num_words = starts[-1]
    total_s = clip.lasts(0, len(clip.pieces))
    if num_words < 2 or config.speech_share * total_s < clip.min_audio_s:  # noqa: PLR2004 - two
        raise UninterleavableError(
            f"a share of {config.speech_share:g} of {total_s:.2f} s and {num_words} words must be "
            f"{clip.min_audio_s:g} s or more"
        )
    needed = math.floor(num_words * config.speech_share + rng.random())
    needed = min(max(needed, 1), num_words - 1)
    least = math.ceil(_MARGIN * clip.min_audio_s * num_words / total_s)
    lengths = _lengths(needed, least, _sizes(config, needed, least, rng))
    while True:
        while len(lengths) > 1 and num_words - needed < len(lengths) - 1:
            _merge(lengths)
        for _ in range(_TRIES):
            placed = _placed(lengths, num_words - needed, rng)
            heard = _on_pieces(placed, starts, clip)
            if heard and all(clip.is_long_enough(*each) for each in heard):
                return heard
        if len(lengths) == 1:
            raise UninterleavableError(
                f"no {needed} of {num_words} words in a row last {clip.min_audio_s:g} s or more"
            )
        _merge(lengths)


def _sizes(
    config: InterleaveConfig, needed: int, least: int, rng: random.Random
) -> Callable[[], int]:
    """Returns what draws the words of the next stretch."""
    match config.policy:
        case "span":
            return lambda: rng.randint(*config.span_words)
        case "poisson":
            return lambda: _poisson(min(config.poisson_mean, needed), rng)
        case _:
            return lambda: least


def _lengths(needed: int, least: int, size: Callable[[], int]) -> list[int]:
    """Draws lengths that add up to what is needed; none but a single one is below the least."""
    lengths: list[int] = []
    while (missing := needed - sum(lengths)) > 0:
        if lengths and missing < least:
            lengths[-1] += missing
        else:
            lengths.append(min(max(size(), least), missing))
    return lengths


def _merge(lengths: list[int]) -> None:
    last = lengths.pop()
    lengths[-1] += last


def _poisson(mean: float, rng: random.Random) -> int:
    """Draws by Knuth's multiplication of uniform numbers; the mean is at most 1,000."""
    count, left = 0, mean
    while left > 0:
        step = min(left, 500.0)  # exp(-1000) would be too small
        left -= step
        limit, product = math.exp(-step), rng.random()
        while product > limit:
            count += 1
            product *= rng.random()
    return count


def _placed(lengths: Sequence[int], num_read: int, rng: random.Random) -> _Ranges:
    """Puts stretches in a random order into the text, in words; a word of text between two."""
    order = rng.sample(lengths, len(lengths))
    free = num_read - (len(order) - 1)
    # stars and bars: every way to spread the free words over the gaps is as likely
    bars = sorted(rng.sample(range(free + len(order)), len(order)))
    placed: _Ranges = []
    for number, (bar, length) in enumerate(zip(bars, order, strict=True)):
        start = bar + sum(order[:number])
        placed.append((start, start + length))
    return placed


def _on_pieces(placed: _Ranges, starts: Sequence[int], clip: _Clip) -> _Ranges:
    """Moves borders from words to cuts between pieces, to a pause where one is near.

    Empty where two stretches would meet, or nothing would be read.
    """
    last = len(starts) - 1
    heard: _Ranges = []
    for first, end in placed:
        cut = (_nearest(first, starts), _nearest(end, starts))
        heard.append((_at_pause(cut[0], clip), _at_pause(cut[1], clip)))
    borders = [border for each in heard for border in each]
    apart = all(a < b for a, b in pairwise(borders))
    return heard if apart and (borders[0] > 0 or borders[-1] < last or len(heard) > 1) else []


def _nearest(word: int, starts: Sequence[int]) -> int:
    return min(range(len(starts)), key=lambda piece: abs(starts[piece] - word))


def _at_pause(border: int, clip: _Clip) -> int:
    """Returns the border with the longest pause of those near, if it is one to speak of."""
    num_pieces = len(clip.pieces)
    if border in (0, num_pieces):
        return border
    near = range(max(1, border - _NEAR), min(num_pieces - 1, border + _NEAR) + 1)
    best = max(near, key=lambda at: (clip.pieces[at].pause_samples, -abs(at - border)))
    return best if clip.pieces[best].pause_samples >= _LEAST_PAUSE_S * clip.rate else border


def _alternating(clip: _Clip, config: InterleaveConfig, rng: random.Random) -> _Ranges:
    """Speech and text in turn; who begins is a coin's choice, where both can."""
    begins_heard = rng.random() < 0.5  # noqa: PLR2004 - a coin
    for is_heard in (begins_heard, not begins_heard):
        heard = _turns(clip, config, is_heard=is_heard)
        if heard and heard != [(0, len(clip.pieces))]:
            return heard
    raise UninterleavableError(
        f"{clip.lasts(0, len(clip.pieces)):.2f} s must hold a turn of speech of "
        f"{clip.min_audio_s:g} s and one of text"
    )


def _turns(clip: _Clip, config: InterleaveConfig, *, is_heard: bool) -> _Ranges:
    heard: _Ranges = []
    position = 0
    while position < len(clip.pieces):
        end = _turn(clip, position, config, is_heard=is_heard)
        if is_heard and clip.is_long_enough(position, end):
            heard.append((position, end))
        position, is_heard = end, not is_heard
    return heard


def _turn(clip: _Clip, first: int, config: InterleaveConfig, *, is_heard: bool) -> int:
    """Returns where a turn ends: after a sentence or so many words, and not too short."""
    count = 0
    for end in range(first + 1, len(clip.pieces) + 1):
        piece = clip.pieces[end - 1]
        count += piece.num_words
        if config.alternate == "sentences":
            done = piece.ends_sentence
        else:
            done = count >= config.alternate[0 if is_heard else 1]
        if done and (not is_heard or clip.is_long_enough(first, end)):
            return end
    return len(clip.pieces)


def _range_of_sentences(clip: _Clip, rng: random.Random) -> _Ranges:
    """One range of sentences, any that is long enough and not all as likely as another."""
    ends = [k for k, piece in enumerate(clip.pieces, start=1) if piece.ends_sentence]
    borders = [0, *ends]
    if borders[-1] != len(clip.pieces):
        borders.append(len(clip.pieces))
    ranges = [
        (first, end)
        for number, first in enumerate(borders)
        for end in borders[number + 1 :]
        if end - first < len(clip.pieces) and clip.is_long_enough(first, end)
    ]
    if not ranges:
        raise UninterleavableError(
            f"{len(borders) - 1} sentences must be two or more, one of them of "
            f"{clip.min_audio_s:g} s"
        )
    return [rng.choice(ranges)]
