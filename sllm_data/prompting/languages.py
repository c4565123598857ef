"""What a language is called, in the language of the instruction that names it.

The table is data (`prompts/language_names.yaml`), so that a user who adds pools in another
language can add its names beside their templates. Which language a text is in is not
decided here.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import pydantic

from sllm_data.errors import PoolError
from sllm_data.files import shipped_folder
from sllm_data.prompting.yaml_file import read_yaml

FILE_NAME = "language_names.yaml"

_Table = Mapping[str, Mapping[str, str]]
_TABLE: pydantic.TypeAdapter[dict[str, dict[str, str]]] = pydantic.TypeAdapter(
    dict[str, dict[str, str]], config=pydantic.ConfigDict(strict=True)
)


@lru_cache(maxsize=4_096)
def language_name(code: str, in_language: str, *, folder: Path | None = None) -> str:
    """Returns the name of a language, in another language or in itself.

    Args:
        code: As a corpus or a user writes it: `de`, `zh-CN`, `pt_BR`. A region that the
            table does not know is dropped.
        in_language: Of the instruction; its region is dropped likewise.
        folder: The user's own prompts; its language_names.yaml, where it has one, adds to
            the shipped table and overrides it.

    Raises:
        PoolError: The table has no such name, or the user's table is malformed.

    >>> language_name("zh-CN", "en"), language_name("zh-CN", "de")
    ('Chinese', 'Chinesisch')
    """
    tables = [_table(shipped_folder("prompts") / FILE_NAME)]
    if folder is not None and (folder / FILE_NAME).is_file():
        tables.insert(0, _table(folder / FILE_NAME))
    for key in _keys(code):
        for inner in _keys(in_language):
            for table in tables:
                name = table.get(key, {}).get(inner)
                if name is not None:
                    return name
    raise PoolError(
        f"the name of language {code!r} in language {in_language!r} is unknown; add the line "
        f"'{code}: {{{in_language}: ...}}' to {FILE_NAME} in your folder of prompts"
    )


def _keys(code: str) -> tuple[str, str]:
    whole = code.replace("_", "-").casefold()
    return whole, whole.partition("-")[0]


@lru_cache(maxsize=64)
def _table(path: Path) -> _Table:
    file = read_yaml(path)
    try:
        content = _TABLE.validate_python(file.data)
    except pydantic.ValidationError as error:
        location = error.errors()[0]["loc"]
        where = tuple(step for step in location if step != "[key]")
        raise PoolError(
            f"{path}, line {file.line_of(where)}: must be 'code: {{code: name}}' with text "
            f'only (quote the code "no"): {error.errors()[0]["msg"]}'
        ) from error
    return {
        code.casefold(): {inner.casefold(): name for inner, name in names.items()}
        for code, names in content.items()
    }
