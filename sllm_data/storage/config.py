"""How a run deals with object storage; free to change at any time."""

from pydantic import BaseModel, ConfigDict, Field


class StorageConfig(BaseModel):
    """What holds for all places of a run that are URLs."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    patience_s: float = Field(
        300.0,
        gt=0,
        description="how long a storage that does not answer is asked again, in seconds; then the "
        "run ends",
        json_schema_extra={"change": "operational"},
    )
