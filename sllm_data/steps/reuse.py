"""Responses of older datasets, found again by their request key.

One join on disk sorts what is found by the part that needs it; a part then reads its own
rows. Equal keys mean equal prompt ids, sampling, seed, model, template and numeric mode. The
likeliest tokens beside an answer don't change it, so they are no part of its key: an answer
that has fewer of them than are wanted is asked for again, of one that has more the rest is cut.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sllm_data.errors import OutputError
from sllm_data.files import is_folder
from sllm_data.records.request import ANSWER_PASSES
from sllm_data.shards import TABLES, read_footer, read_part
from sllm_data.shards.database import check_path, parquet, quoted
from sllm_data.steps.database import open_database
from sllm_data.steps.dataset import Dataset, read_run_document

Row = dict[str, Any]  # Any: values of the responses table

_LIKELIEST = ("top_token_ids", "top_logprobs")
# datasets that were made before there were these columns lack them
_NO_ROWS = "SELECT NULL::INTEGER[][] AS top_token_ids, NULL::FLOAT[][] AS top_logprobs WHERE false"


def prepare_reuse(dataset: Dataset, turn: str) -> Path | None:
    """Finds what older datasets answered already; None where none are configured.

    Raises:
        OutputError: One of them is no dataset.
    """
    older = [checked_dataset(folder) for folder in dataset.config.reuse]
    if not older:
        return None
    target = dataset.work / "reuse" / turn
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    wanted = dataset.config.backbone.top_logprobs if turn in ANSWER_PASSES else 0
    columns = ", ".join(
        f"r.{name}"
        for name in TABLES["responses"].names(without=("request_id", "reused_from", *_LIKELIEST))
    )
    with open_database(dataset.work) as database:
        database.execute(
            f"""COPY (
            SELECT {columns}, {_likeliest(wanted)}, o.identity AS reused_from, q.request_id,
                q.part FROM (
                SELECT request_id, request_key,
                    regexp_extract(filename, 'part-(\\d+)[.]parquet$', 1) AS part
                FROM {_parts([dataset.root], f"requests/{turn}")}
                WHERE target = 'generated') q
            JOIN (
                SELECT *, filename AS file
                FROM (
                    FROM {_parts(older, "responses/*", "union_by_name = true")}
                    UNION ALL BY NAME {_NO_ROWS})
                WHERE engine <> 'none' AND {_tells(wanted)}) r USING (request_key)
            JOIN ({_origins(older)}) o ON starts_with(r.file, o.folder)
            QUALIFY row_number() OVER (PARTITION BY q.request_id ORDER BY o.rank, r.file) = 1
            ) TO {quoted(target)} (FORMAT parquet, PARTITION_BY part)"""
        )
    return target


def reused_rows(folder: Path | None, number: int) -> dict[str, Row]:
    """The rows of responses/ that a part need not ask for, by request_id."""
    if folder is None:
        return {}
    found: dict[str, Row] = {}
    for file in sorted((folder / f"part={number:05d}").glob("*.parquet")):
        found |= {row["request_id"]: row for row in read_part(file).to_pylist()}
    return found


def checked_dataset(folder: Path) -> Path:
    """Returns the folder of an older dataset that has responses.

    Raises:
        OutputError: It has none, or its name is one that DuckDB can't read from.
        ShardError: One of its parts is no part of ours, or not whole.
    """
    check_path(folder)
    parts = sorted(folder.glob("responses/*/part-*.parquet")) if is_folder(folder) else []
    if not parts or read_run_document(folder) is None:
        raise OutputError(f"reuse: {folder} must be a dataset with responses, found none there")
    for part in parts:
        read_footer(part)
    return folder


def _likeliest(wanted: int) -> str:
    """SQL of the likeliest tokens: as many as are wanted, though an older dataset has more."""
    return ", ".join(
        f"list_transform(r.{name}, lambda place: place[:{wanted}]) AS {name}"
        if wanted
        else f"NULL AS {name}"
        for name in _LIKELIEST
    )


def _tells(wanted: int) -> str:
    """SQL: whether a response tells as many of the likeliest tokens as are wanted."""
    if not wanted:
        return "true"
    return (
        "top_token_ids IS NOT NULL AND top_logprobs IS NOT NULL "
        f"AND (len(token_ids) = 0 OR len(top_token_ids[1]) >= {wanted})"
    )


def _origins(older: Sequence[Path]) -> str:
    rows = []
    for rank, folder in enumerate(older):
        document = read_run_document(folder) or {}
        identity = quoted(str(document.get("identity", "")))
        rows.append(
            f"SELECT {quoted(f'{folder}/')} AS folder, {identity} AS identity, {rank} AS rank"
        )
    return " UNION ALL ".join(rows)


def _parts(folders: Sequence[Path], tables: str, *options: str) -> str:
    paths = (path for folder in folders for path in folder.glob(f"{tables}/part-*.parquet"))
    return parquet(paths, "filename = true", *options)
