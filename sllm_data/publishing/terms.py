"""What the licences of a dataset's sources say about handing it on."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from sllm_data.steps.sources import OTHER, SourceFacts, most_restrictive, sources_in


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """The licences of a dataset."""

    licence: str
    """The most restrictive of all, by its name on the hub; `other` where one has no name."""
    sources: int
    doubt: str
    """Why it should not be made public without a look; empty where nothing speaks against it."""

    @property
    def text(self) -> str:
        """One line for a person."""
        of = "the only source" if self.sources == 1 else f"the strictest of {self.sources} sources"
        return f"licence: {self.licence}, {of}" + (f"; {self.doubt}" if self.doubt else "")


def terms_of(root: Path) -> Terms:
    """Reads the sources of a dataset.

    Raises:
        ShardError: Its parts can't be read.
    """
    with tempfile.TemporaryDirectory(prefix="sllm-publish-") as scratch:
        sources = sources_in(root, Path(scratch))
    licence = most_restrictive(source.licence for source in sources)
    return Terms(licence=licence, sources=len(sources), doubt=_doubt(licence, sources))


def _doubt(licence: str, sources: list[SourceFacts]) -> str:
    if not sources:
        return ""
    if licence == OTHER:
        unknown = sorted(
            {
                f"{source.corpus}: {source.licence or 'nothing is said'}"
                for source in sources
                if most_restrictive([source.licence]) == OTHER
            }
        )
        return f"what it allows is not known ({'; '.join(unknown)})"
    if "-nd" in licence:
        return "it forbids handing on what was made from the source"
    return ""
