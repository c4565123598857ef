"""BLEU and chrF as sacrebleu computes them, as counts of one row that can be added up.

Both are scores of a corpus: the counts of all rows are added and then scored, which is also
how sacrebleu itself draws rows again for its intervals.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

_ORDER = 4
_TOKENIZERS = {"zh": "zh", "yue": "zh", "ja": "char", "ko": "char", "th": "char", "lo": "char"}
"""By language of the reference; sacrebleu's own for Japanese and Korean need other packages."""


@cache
def _bleu(tokenizer: str) -> "BLEU":
    from sacrebleu.metrics.bleu import BLEU  # noqa: PLC0415 - its import takes a second

    return BLEU(tokenize=tokenizer, effective_order=True)  # the counts don't depend on it


@cache
def _chrf() -> "CHRF":
    from sacrebleu.metrics.chrf import CHRF  # noqa: PLC0415 - its import takes a second

    return CHRF()


def tokenizer_for(language: str) -> str:
    """Returns sacrebleu's tokenizer for a language: `13a` but for scripts without spaces."""
    primary = language.replace("_", "-").partition("-")[0].lower()
    return _TOKENIZERS.get(primary, "13a")


def bleu_counts(prediction: str, reference: str, *, language: str) -> tuple[float, ...]:
    """Returns the lengths of both, and right and all n-grams of 1 to 4 words."""
    found = _bleu(tokenizer_for(language)).sentence_score(prediction, [reference])
    return (found.sys_len, found.ref_len, *found.counts, *found.totals)


def bleu_score(counts: Sequence[float]) -> float | None:
    """Returns BLEU in [0, 100]; None where the references are empty.

    Orders without a right n-gram are smoothed (`exp`); where no answer has four words, no
    n-gram of that order exists and BLEU is 0.
    """
    from sacrebleu.metrics.bleu import BLEU  # noqa: PLC0415 - its import takes a second

    sizes = [round(count) for count in counts]
    if not sizes[1]:
        return None
    score = BLEU.compute_bleu(
        correct=sizes[2 : 2 + _ORDER],
        total=sizes[2 + _ORDER :],
        sys_len=sizes[0],
        ref_len=sizes[1],
        smooth_method="exp",
    ).score
    return min(float(score), 100.0)  # rounding makes 100.00000000000004 of a perfect one


def chrf_counts(prediction: str, reference: str) -> tuple[float, ...]:
    """Returns n-grams of 1 to 6 characters: of the answer, of the reference, of both."""
    # sacrebleu has no public door to what its own intervals add up; a test compares the sum
    # with its corpus score
    (counts,) = _chrf()._extract_corpus_statistics([prediction], [[reference]])  # noqa: SLF001
    return tuple(counts)


def chrf_score(counts: Sequence[float]) -> float | None:
    """Returns chrF2 in [0, 100]; None where the references are empty."""
    if not any(counts[1::3]):
        return None
    sizes = [round(count) for count in counts]
    return float(_chrf()._compute_f_score(sizes))  # noqa: SLF001 - as above


def signatures(languages: Sequence[str]) -> dict[str, str]:
    """Returns sacrebleu's signatures, by which others can compute the same scores."""
    tokenizers = sorted({tokenizer_for(language) for language in languages})
    shown = f"version:{_version()}"
    bleu = "/".join(tokenizers)
    return {
        "bleu": f"nrefs:1|case:mixed|eff:no|tok:{bleu}|smooth:exp|{shown}",
        "chrf": f"nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|{shown}",
    }


def _version() -> str:
    import sacrebleu  # noqa: PLC0415 - its import takes a second

    return str(sacrebleu.__version__)
