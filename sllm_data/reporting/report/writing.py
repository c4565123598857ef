"""Writes the report of one dataset, or of two side by side."""

from collections.abc import Callable, Sequence
from pathlib import Path

from sllm_data.errors import OutputError
from sllm_data.files import is_folder, write_text
from sllm_data.reporting.report.examples import choose_examples
from sllm_data.reporting.report.figures import Figures, collect_figures
from sllm_data.reporting.report.page import page
from sllm_data.reporting.report.tables import open_tables

MAX_AUDIO_BYTES = 32 * 2**20
"""Of all clips in a page: browsers open one of that size at once."""


def write_report(
    roots: Sequence[Path],
    output: Path,
    *,
    num_samples: int,
    advance: Callable[[], None],
    max_audio_bytes: int = MAX_AUDIO_BYTES,
) -> list[Figures]:
    """Writes the page and returns what it says.

    Args:
        roots: One dataset, or two.
        output: The page, which is overwritten.
        num_samples: Samples to show of each dataset.
        advance: Called NUM_STAGES times for each dataset.
        max_audio_bytes: How large all clips in the page may be together.

    Raises:
        ShardError: A folder is no dataset, or something in it is damaged.
        OutputError: The page can't be written.
    """
    if is_folder(output):
        raise OutputError(f"{output}: must be a file to write the page to, found a folder")
    datasets, examples = [], []
    for root, name in zip(roots, _names(roots), strict=True):
        with open_tables(root) as tables:
            datasets.append(collect_figures(tables, name=name, advance=advance))
            examples.append(choose_examples(tables, num_samples))
    write_text(output, page(datasets, examples, max_audio_bytes=max_audio_bytes))
    return datasets


def _names(roots: Sequence[Path]) -> list[str]:
    folders = [root.resolve() for root in roots]
    names = [folder.name for folder in folders]
    if len(set(names)) == len(names):
        return names
    return [f"{folder.parent.name}/{folder.name}" for folder in folders]
