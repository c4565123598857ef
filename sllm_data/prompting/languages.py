"""What a language is called, in the language of the instruction that names it.

The table is data (`prompts/language_names.yaml`). Which language a text is in is not decided
here.
"""

from collections.abc import Mapping
from functools import lru_cache

from sllm_data.errors import PoolError
from sllm_data.files import shipped_folder
from sllm_data.yaml_file import read_yaml

FILE_NAME = "language_names.yaml"


@lru_cache(maxsize=4_096)
def language_name(code: str, in_language: str) -> str:
    """Returns the name of a language, in another language or in itself.

    Args:
        code: As a corpus or a user writes it: `de`, `zh-CN`, `pt_BR`. A region that the
            table does not know is dropped.
        in_language: Of the instruction; its region is dropped likewise.

    Raises:
        PoolError: The table has no such name.

    >>> language_name("zh-CN", "en"), language_name("zh-CN", "de")
    ('Chinese', 'Chinesisch')
    """
    table = _table()
    names = next((table[key] for key in _keys(code) if key in table), None)
    if names is None:
        raise PoolError(
            f"the language {code!r} has no name that a prompt could use, only these have: "
            f"{', '.join(sorted(table))}; choose one of them, or leave out the task, or the "
            "prompts.preparation, that names it"
        )
    for inner in _keys(in_language):
        if inner in names:
            return names[inner]
    raise PoolError(
        f"the language {code!r} has no name in the wordings' language {in_language!r}, only in: "
        f"{', '.join(sorted(names))}; set prompts.instruction_languages to some of these"
    )


def _keys(code: str) -> tuple[str, str]:
    whole = code.replace("_", "-").casefold()
    return whole, whole.partition("-")[0]


@lru_cache(maxsize=1)
def _table() -> Mapping[str, Mapping[str, str]]:
    table: dict[str, dict[str, str]] = read_yaml(shipped_folder("prompts") / FILE_NAME).data
    return {code.casefold(): names for code, names in table.items()}
