"""The tables of docs/faults.md, read back: what stands there is what the tests look for."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/faults.md"
_CELLS = re.compile(r"(?<!\\) \| ")


def table(title: str) -> list[list[str]]:
    """The rows of the table below a heading of the third level, without code marks."""
    section = PAGE.read_text(encoding="utf-8").split(f"### {title}\n")[1].split("\n#")[0]
    lines = [line.strip() for line in section.splitlines() if line.startswith("|")]
    rows = [_CELLS.split(line.removeprefix("| ").removesuffix(" |")) for line in lines]
    return [[cell.strip("` ") for cell in row] for row in rows[2:]]
