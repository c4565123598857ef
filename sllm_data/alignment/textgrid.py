"""Praat's TextGrid, as the Montreal Forced Aligner and others write it: one file an utterance."""

from pathlib import Path

from praatio import textgrid
from praatio.utilities import errors

from sllm_data.alignment.timing import ForeignWord, Timing

ENDING = ".TextGrid"

# of its reader, on files that are none
_FAILURES = (
    *(errors.PraatioException, ArithmeticError, AttributeError, LookupError),
    *(TypeError, ValueError),
)


def textgrid_words(path: Path, tier: str | None) -> list[ForeignWord]:
    """Reads the words of a file.

    Args:
        path: Of the file, in Praat's long or short form.
        tier: The name of the tier of words; by default the first with `word` in its name, or
            the only one.

    Raises:
        ValueError: The file is no TextGrid, intervals overlap, or it has no such tier.
    """
    try:
        grid = textgrid.openTextgrid(
            str(path),
            includeEmptyIntervals=False,
            reportingMode="silence",
            duplicateNamesMode="rename",
        )
    except _FAILURES as error:
        raise ValueError(f"must be a TextGrid, but its reader says: {error}") from error
    entries = grid.getTier(_tier(grid.tierNames, tier)).entries
    if entries and not hasattr(entries[0], "start"):
        raise ValueError("the tier of words must hold intervals, it holds points")
    return [
        ForeignWord(each.label, Timing(float(each.start), float(each.end))) for each in entries
    ]


def _tier(names: tuple[str, ...], asked: str | None) -> str:
    if asked is not None and asked in names:
        return asked
    named = [name for name in names if "word" in name.lower()]
    if asked is None and (named or len(names) == 1):
        return (named or list(names))[0]
    found = ", ".join(names) or "none"
    raise ValueError(f"must have the tier {asked or 'words'!r}, its tiers are: {found}")
