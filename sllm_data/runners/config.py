"""Where parts are worked on, and by how many; free to change between runs of one dataset."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_OPERATIONAL: dict[str, Any] = {"change": "operational"}  # Any: pydantic's own type
_ADDRESS = r"^((ray://)?[^\s/:@]+:[0-9]{1,5}|auto)$"


class RunnerConfig(BaseModel):
    """Where the steps work."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["serial", "processes", "ray"] = Field(
        "processes",
        description="serial: in this process; processes: parts side by side; ray: on the machines "
        "of a Ray cluster",
        json_schema_extra=_OPERATIONAL,
    )
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="processes, or Ray tasks at once; auto: one per core, as many as the cluster "
        "has room for",
        json_schema_extra=_OPERATIONAL,
    )
    address: str | None = Field(
        None,
        pattern=_ADDRESS,
        description="of a Ray cluster: `host:port`, `ray://host:port`, or `auto` for one that "
        "runs on this machine; where absent, what `RAY_ADDRESS` says, else a cluster of this "
        "machine alone, which ends with the run",
        json_schema_extra=_OPERATIONAL,
    )
    cpus_per_task: float = Field(
        1.0,
        gt=0,
        description="CPUs that a Ray task takes; more where parts need more memory than a "
        "node has for one per core",
        json_schema_extra=_OPERATIONAL,
    )

    @model_validator(mode="after")
    def _has_what_ray_can_take(self) -> Self:
        if self.cpus_per_task > 1 and self.cpus_per_task != int(self.cpus_per_task):
            raise ValueError(
                f"cpus_per_task must be a whole number where above 1, got {self.cpus_per_task:g}"
            )
        return self
