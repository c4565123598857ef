"""contract.yaml: what one dataset must hold beyond what every dataset must.

It lies beside the data or is given with `--contract`. Everything in it is optional: without
it the rules hold as they are, with it bounds get stricter, columns more, and rules may
become warnings or be switched off.
"""

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pyarrow as pa
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from sllm_data.documents import read_document, sentence_of
from sllm_data.errors import ConfigError
from sllm_data.shards import TABLES
from sllm_data.validation.rules import Weight

FILE_NAME = "contract.yaml"

_MODEL = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
_KINDS = ("string", "int", "float", "bool")


def _type_name(name: str) -> str:
    if name not in _KINDS:
        try:
            pa.type_for_alias(name)
        except ValueError as error:
            raise ValueError(
                f"must be {', '.join(_KINDS)} or a plain Arrow type such as int32, got {name!r}"
            ) from error
    return name


TypeName = Annotated[str, AfterValidator(_type_name)]
Share = Annotated[float, Field(ge=0, le=1)]


class TokenBounds(BaseModel):
    """Bounds of a task's mean response length, in tokens."""

    model_config = _MODEL

    min: float = Field(0.0, ge=0, description="lowest mean")
    max: float | None = Field(None, ge=0, description="highest mean; none where absent")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max is not None and self.min > self.max:
            raise ValueError(f"min must be at most max, got {self.min:g} and {self.max:g}")
        return self


class Contract(BaseModel):
    """All that a contract may say."""

    model_config = _MODEL

    extra_columns: dict[str, dict[str, TypeName]] = Field(
        {},
        description="columns by table that may stand there beside the published ones, with "
        "their types: `string`, `int`, `float`, `bool` or an Arrow type such as `int32`",
    )
    tasks: tuple[str, ...] | None = Field(
        None, min_length=1, description="tasks that may occur; all where absent"
    )
    languages: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="languages of speech that may occur, as the corpus names them; `zh` allows "
        "`zh-CN` too; all where absent",
    )
    licences: tuple[str, ...] | None = Field(
        None, min_length=1, description="licences that rows may stand under; all where absent"
    )
    required_splits: tuple[Literal["train", "validation", "test"], ...] = Field(
        (), description="splits that samples/ must have rows in"
    )
    min_samples: int = Field(0, ge=0, description="fewest rows of samples/")
    min_duration_s: float | None = Field(None, ge=0, description="shortest clip, seconds")
    max_duration_s: float | None = Field(None, gt=0, description="longest clip, seconds")
    max_prompt_tokens: int | None = Field(None, ge=1, description="longest prompt, tokens")
    max_response_tokens: int | None = Field(None, ge=1, description="longest response, tokens")
    copy_rate: dict[str, Share] = Field(
        {},
        description="highest mean copy rate by task, over the defaults of `level 3`; the copy "
        "rate of a response is how much of it is the transcript",
    )
    response_tokens: dict[str, TokenBounds] = Field(
        {}, description="bounds of the mean response length by task, in tokens"
    )
    max_shared_transcripts: Share | None = Field(
        None,
        description="largest share of the validation and test samples whose transcript is heard "
        "in train too; the default of `level 3` where absent",
    )
    same_response: dict[str, Share] = Field(
        {},
        description="largest share of a task's transcripts that may have one and the same "
        "response, by task, over the default of `level 3`",
    )
    other_languages: Share | None = Field(
        None,
        description="largest share of a task's responses in another language than asked for; the "
        "default of `level 3` where absent",
    )
    rules: dict[str, Weight] = Field(
        {}, description="weight of a rule by its name: `error`, `warning` or `off`"
    )

    @field_validator("rules", mode="before")
    @classmethod
    def _off_is_a_word(cls, rules: Any) -> Any:  # Any: YAML values
        if not isinstance(rules, dict):
            return rules
        return {name: "off" if weight is False else weight for name, weight in rules.items()}

    @field_validator("extra_columns")
    @classmethod
    def _tables_exist(cls, columns: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for table in columns:
            if table not in TABLES:
                raise ValueError(f"{table!r} must be a table: {', '.join(TABLES)}")
        return columns

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if (
            self.min_duration_s is not None
            and self.max_duration_s is not None
            and self.min_duration_s > self.max_duration_s
        ):
            raise ValueError(
                f"min_duration_s must be at most max_duration_s, got {self.min_duration_s:g} "
                f"and {self.max_duration_s:g}"
            )
        return self

    def check_rules(self, names: Collection[str], *, where: str) -> None:
        """Refuses rules that do not exist.

        Raises:
            ConfigError: A name is unknown; the nearest one is told.
        """
        for name in self.rules:
            if name not in names:
                raise ConfigError(f"{where}: rules.{name} is not a rule{_nearest(name, names)}")


def load_contract(path: Path) -> Contract:
    """Reads a contract.

    Raises:
        ConfigError: The file can't be read, a key is unknown, or a value is out of range.
    """
    document = read_document(path)
    try:
        return Contract.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{path}: {sentence_of(error, Contract)}") from error


def _nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
