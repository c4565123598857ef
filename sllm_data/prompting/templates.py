"""Prompt templates: files of `prompts/`, or a wording, that render to the text of a prompt.

Values of fields are data: they are put in, never read as Jinja2. What a template may hold is
decided in `sandbox`; which template and which fields a request gets is for its renderer
(`twins`, and the passes that restore and judge).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from sllm_data.errors import PoolError
from sllm_data.files import sha256_of_text, shipped_folder
from sllm_data.prompting.sandbox import MAX_OUTPUT_CHARS, MAX_SOURCE_CHARS, checked
from sllm_data.yaml_file import decode, read_bounded

SUFFIX = ".j2"
CHAT_TEMPLATE = "fallback_chat"
"""The one shipped file that is no prompt."""

FIELDS: Mapping[str, frozenset[str]] = {
    "task": frozenset({"instruction", "content"}),
    "restore": frozenset({"transcript", "language"}),
    "question": frozenset({"transcript", "language"}),
    "followup": frozenset({"instruction", "transcript", "response", "language"}),
    "judge": frozenset({"instruction", "transcript", "response"}),
}
"""What the renderer of each kind of template passes; give it to `load_template` as fields."""


@dataclass(frozen=True, slots=True)
class Template:
    """A checked prompt template. It is plain data, so it can be sent to another process."""

    id: str
    """Name of its file without the suffix, or id of the instruction whose wording it is."""
    source: str
    sha256: str = field(init=False)
    """Of the source as UTF-8, which is that of the file's bytes."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", sha256_of_text(self.source))
        checked(self.id, self.source)

    @property
    def variables(self) -> frozenset[str]:
        """Names that the template reads."""
        return checked(self.id, self.source).variables

    @property
    def verbatim(self) -> frozenset[str]:
        """Those of `variables` that are only ever printed: never filtered, never tested."""
        return checked(self.id, self.source).verbatim

    def render(self, /, **fields: str) -> str:
        """Returns the prompt; fields that the template does not read are ignored.

        Raises:
            PoolError: A variable has no field, a filter does not fit its value, or fields
                or prompt are longer than MAX_OUTPUT_CHARS.
        """
        template = checked(self.id, self.source)
        if template.constant is not None:
            return template.constant
        if sum(map(len, fields.values())) > MAX_OUTPUT_CHARS:
            raise _too_long(self.id)
        try:
            text = template.compiled.render(fields)
        except jinja2.UndefinedError as error:
            missing = sorted(self.variables - fields.keys())
            raise PoolError(
                f"template {self.id}: variable {missing[0]} is undefined; "
                f"there is: {', '.join(sorted(fields)) or 'none'}"
            ) from error
        except (TypeError, OverflowError) as error:
            raise PoolError(f"template {self.id}: can't be rendered: {error}") from error
        if len(text) > MAX_OUTPUT_CHARS:
            raise _too_long(self.id)
        return text


def template_from_string(template_id: str, source: str) -> Template:
    """Returns the template of a wording or of any other text.

    Raises:
        PoolError: The text is not a template, or uses what a template may not use.
    """
    return Template(template_id, source)


def load_template(
    name_or_path: str, *, folder: Path | None = None, fields: frozenset[str] | None = None
) -> Template:
    """Loads a template by name (`judge`) or by path (`my/judge.j2`).

    Args:
        name_or_path: A name is looked up in `folder`, then among the shipped templates. What
            has a slash or ends in `.j2` is a path, relative to `folder`.
        folder: The user's own prompts; None for the working directory and no own names.
        fields: Where given, the template must not read any other variable.

    Raises:
        PoolError: There is no such file, it is not UTF-8 or too large, it uses what a
            template may not use, or reads a variable that is not in `fields`.
    """
    path = _find(name_or_path, folder)
    source = decode(path, read_bounded(path, 4 * MAX_SOURCE_CHARS))
    try:
        template = Template(path.name.removesuffix(SUFFIX), source)
    except PoolError as error:
        raise PoolError(f"{path}: {error}") from error
    unknown = sorted(template.variables - fields) if fields is not None else []
    if fields is not None and unknown:
        raise PoolError(
            f"{path}: variable {unknown[0]} is unknown here; there is: {', '.join(sorted(fields))}"
        )
    return template


def _find(name_or_path: str, folder: Path | None) -> Path:
    if "/" in name_or_path or name_or_path.endswith(SUFFIX):
        path = (folder or Path()) / name_or_path
        if not path.is_file():
            raise PoolError(f"{path}: there is no such prompt template")
        return path
    folders = [*([folder] if folder else []), shipped_folder("prompts")]
    for candidate in (place / f"{name_or_path}{SUFFIX}" for place in folders):
        if candidate.is_file():
            return candidate
    names = {path.stem for place in folders for path in place.glob(f"*{SUFFIX}")}
    raise PoolError(
        f"there is no prompt template {name_or_path!r}; "
        f"there is: {', '.join(sorted(names - {CHAT_TEMPLATE}))}"
    )


def _too_long(template_id: str) -> PoolError:
    return PoolError(
        f"template {template_id}: its fields together and the prompt must be at most "
        f"{MAX_OUTPUT_CHARS:,} characters long"
    )
