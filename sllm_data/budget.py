"""What a run may cost; free to change at any time, since no row depends on it."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_OPERATIONAL: dict[str, Any] = {"change": "operational"}  # Any: pydantic's own type


class BudgetConfig(BaseModel):
    """What a run may still cost; one that is forecast to need more does not start."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    engine_hours: float | None = Field(
        None,
        gt=0,
        description="hours of all engines together, their start included; unlimited where absent",
        json_schema_extra=_OPERATIONAL,
    )
    gigabytes: float | None = Field(
        None,
        gt=0,
        description="10^9 bytes still to be written to the output; unlimited where absent",
        json_schema_extra=_OPERATIONAL,
    )
    money: float | None = Field(
        None,
        gt=0,
        description="in the currency of price_per_gpu_hour; unlimited where absent",
        json_schema_extra=_OPERATIONAL,
    )
    price_per_gpu_hour: float | None = Field(
        None,
        ge=0,
        description="of each GPU of an engine; without a GPU, of each engine",
        json_schema_extra=_OPERATIONAL,
    )
    probe_seconds: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="how long a forecast measures the engine in each pass, in seconds",
        json_schema_extra=_OPERATIONAL,
    )
    sample: int = Field(
        4000,
        ge=1,
        description="utterances that a forecast looks at, chosen by hash",
        json_schema_extra=_OPERATIONAL,
    )

    @property
    def is_limited(self) -> bool:
        """Whether anything is forecast before a run starts."""
        return any(x is not None for x in (self.engine_hours, self.gigabytes, self.money))

    @model_validator(mode="after")
    def _has_a_price(self) -> Self:
        if self.money is not None and self.price_per_gpu_hour is None:
            raise ValueError("price_per_gpu_hour must be given where money is limited")
        return self
