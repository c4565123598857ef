"""Role markers that are plain text (`USER:`) and so can't be told from what somebody said.

They are read off the template: text that stands between contents. Where every gap between
two contents holds a control token, no transcript can forge a turn and there are no markers.
"""

import re

from sllm_data.chat.skeleton import Skeleton, Slot


def gaps_of(skeleton: Skeleton) -> list[list[int | str]]:
    """Returns what the template puts before, between and after the contents, in order."""
    gaps: list[list[int | str]] = [[]]
    for part in skeleton.stream:
        if isinstance(part, Slot):
            gaps.append([])
        else:
            gaps[-1].append(part)
    return gaps


def role_markers(skeleton: Skeleton) -> tuple[str, ...]:
    """Returns the plain-text role markers of a template, () where control tokens guard.

    Args:
        skeleton: Of several turns, each role twice if the template allows it.
    """
    before, *gaps = gaps_of(skeleton)
    unguarded = [gap for gap in gaps if not any(isinstance(part, int) for part in gap)]
    if not any(_lines(gap) for gap in unguarded):
        return ()
    # Before the first content a template may say more than a role; its last line names it.
    found = _lines(before)[-1:] + [line for gap in gaps for line in _lines(gap)]
    return tuple(dict.fromkeys(found))


def marker_pattern(markers: tuple[str, ...]) -> re.Pattern[str] | None:
    """Returns a pattern that finds a marker in any case and spacing; None without markers.

    A marker of letters alone counts only as a line of its own: `user` is also a word.
    """
    if not markers:
        return None
    return re.compile("|".join(map(_as_pattern, markers)), re.IGNORECASE | re.MULTILINE)


def _lines(gap: list[int | str]) -> list[str]:
    lines = [line for part in gap if isinstance(part, str) for line in part.splitlines()]
    return [line.strip() for line in lines if line.strip()]


def _as_pattern(marker: str) -> str:
    words = r"\s*".join(map(re.escape, marker.split()))
    if marker.replace(" ", "").isalnum():
        return rf"^\s*{words}\s*$"
    return rf"(?<!\w){words}" if marker[0].isalnum() else words
