"""How a run can be watched; free to change at any time, since no row depends on it."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_OPERATIONAL: dict[str, Any] = {"change": "operational"}  # Any: pydantic's own type


class WatchConfig(BaseModel):
    """Where a run tells what it does, beside what a person sees."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    log: Literal["auto", "none", "text", "json"] = Field(
        "auto",
        description="lines on standard error: text, or one JSON object each; auto: text where "
        "that is no terminal, about work that takes longer than interval_s; at a terminal there "
        "are bars",
        json_schema_extra=_OPERATIONAL,
    )
    interval_s: float = Field(
        30.0,
        gt=0,
        description="seconds between two lines about work that goes on, between two writings of "
        "metrics_file, and between two sends to otlp_endpoint",
        json_schema_extra=_OPERATIONAL,
    )
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="port of this machine at which Prometheus finds the figures of the run while "
        "it lasts; none where absent",
        json_schema_extra=_OPERATIONAL,
    )
    metrics_address: str = Field(
        "127.0.0.1",
        description="address that the port is opened at; 0.0.0.0 for all of this machine",
        json_schema_extra=_OPERATIONAL,
    )
    metrics_file: Path | None = Field(
        None,
        description="file with the same figures, for the textfile collector of node_exporter: its "
        "name ends in .prom",
        json_schema_extra=_OPERATIONAL,
    )
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s@?#/]+(/[^\s@?#]*)?$",
        description="URL of a collector that takes the same figures by OTLP over HTTP, without "
        "/v1/metrics: http://127.0.0.1:4318; headers, certificates and the like from OTEL_*",
        json_schema_extra=_OPERATIONAL,
    )
