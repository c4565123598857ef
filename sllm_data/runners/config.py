"""How many processes work on parts; free to change between runs of one dataset."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_OPERATIONAL: dict[str, Any] = {"change": "operational"}  # Any: pydantic's own type


class RunnerConfig(BaseModel):
    """Where the steps that need no engine run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["serial", "processes"] = Field(
        "processes",
        description="serial: in this process; processes: parts side by side",
        json_schema_extra=_OPERATIONAL,
    )
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="processes; auto: one per core", json_schema_extra=_OPERATIONAL
    )
