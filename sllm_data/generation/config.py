"""What run.yaml says about the backbone: which model, which engine, how it samples.

A field marked identity changes answers, so it is fixed for a dataset; an operational one
says where and how fast, and may change between runs.
"""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sllm_data.storage.places import Place

_IDENTITY: dict[str, Any] = {"change": "identity"}  # Any: JSON, as pydantic wants it
_OPERATIONAL: dict[str, Any] = {"change": "operational"}


def _plain_json(arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        again = json.loads(json.dumps(arguments, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"must hold plain JSON values ({error})") from error
    if again != arguments:
        raise ValueError("must hold plain JSON values, names are text")
    return arguments


class SamplingConfig(BaseModel):
    """What every engine takes: sampling, the system turn, the chat template."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    temperature: float = Field(
        0.0, ge=0, le=5, description="0 is greedy", json_schema_extra=_IDENTITY
    )
    top_p: float = Field(
        1.0, gt=0, le=1, description="nucleus sampling; 1 is off", json_schema_extra=_IDENTITY
    )
    top_k: int = Field(
        0, ge=0, description="sample among the k likeliest; 0 is off", json_schema_extra=_IDENTITY
    )
    system: str | None = Field(
        None,
        description="system turn put before every request; none where absent",
        json_schema_extra=_IDENTITY,
    )
    template_kwargs: Annotated[  # Any: what a chat template may read
        dict[str, Any], AfterValidator(_plain_json)
    ] = Field(
        {},
        description="further arguments of the chat template: {enable_thinking: false}",
        json_schema_extra=_IDENTITY,
    )
    chat_template: Place | None = Field(
        None,
        description="a Jinja2 file instead of the model's own chat template",
        json_schema_extra=_IDENTITY,
    )
    logprobs: bool = Field(
        False,
        description="keep the mean log probability of each answer; on a CPU this costs about a "
        "tenth of the throughput",
        json_schema_extra=_IDENTITY,
    )
    top_logprobs: int = Field(
        0,
        ge=0,
        le=20,
        description="keep so many of the likeliest tokens at each place of an answer, with their "
        "log probabilities: what a KL loss needs of the backbone; 0 is off. Not for scripted; "
        "openai needs a tokenizer here and a server that names tokens by their ids, as vLLM's "
        "does. An open part holds about 70 bytes for each: take a smaller part_size for many",
        json_schema_extra=_IDENTITY,
    )
    restarts: int = Field(
        2,
        ge=0,
        description="how often an engine of this machine that died or stalled is started again "
        "before a part is committed; a server is asked again by its own `retries`",
        json_schema_extra=_OPERATIONAL,
    )
    recycle_rows: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="answers after which an engine is ended and started anew, against memory that "
        "grows; never where absent",
        json_schema_extra=_OPERATIONAL,
    )


class VllmConfig(SamplingConfig):
    """vLLM in this process: on the GPUs in sight, or on the CPU with the CPU build."""

    engine: Literal["vllm"] = Field(description="vllm", json_schema_extra=_IDENTITY)
    model: str = Field(
        min_length=1,
        description="model folder or hub id: Qwen/Qwen2.5-7B-Instruct",
        json_schema_extra=_IDENTITY,
    )
    revision: str | None = Field(
        None,
        description="branch, tag or commit of a hub model; its default branch where absent",
        json_schema_extra=_IDENTITY,
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto",
        description="of weights and activations; auto: as the model says",
        json_schema_extra=_IDENTITY,
    )
    quantization: str | None = Field(
        None,
        description="vLLM's name of a quantisation: fp8, awq; as the model says where absent",
        json_schema_extra=_IDENTITY,
    )
    max_model_len: int | None = Field(
        None,
        gt=1,
        description="longest prompt with its answer, in tokens; as the model says where absent",
        json_schema_extra=_IDENTITY,
    )
    determinism: Literal["seeded", "strict"] = Field(
        "seeded",
        description="seeded: each request has its own seed, though what shares its batch can "
        "still move the last digits of its logits. strict: on a GPU vLLM's batch-invariant "
        "kernels without prefix cache, equal on the same GPU model and vLLM version; on a CPU "
        "one request at a time without prefix cache, several times slower",
        json_schema_extra=_IDENTITY,
    )
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="engines side by side; auto: one per GPU, or per group of "
        "tensor_parallel_size GPUs; one on a CPU",
        json_schema_extra=_OPERATIONAL,
    )
    max_num_seqs: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="requests in one batch; auto: 1024 on a GPU, 256 on a CPU",
        json_schema_extra=_OPERATIONAL,
    )
    max_num_batched_tokens: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="tokens in one step; auto: 16384 on a GPU, 4096 on a CPU, where it is never "
        "below max_model_len",
        json_schema_extra=_OPERATIONAL,
    )
    gpu_memory_utilization: float = Field(
        0.9,
        gt=0,
        le=1,
        description="share of a GPU's memory to use",
        json_schema_extra=_OPERATIONAL,
    )
    kv_cache_gib: int = Field(
        4,
        ge=1,
        description="memory of the key-value cache on a CPU, in GiB; VLLM_CPU_KVCACHE_SPACE wins",
        json_schema_extra=_OPERATIONAL,
    )
    enforce_eager: bool = Field(
        False,
        description="no compilation and no CUDA graphs: starts faster, answers slower",
        json_schema_extra=_OPERATIONAL,
    )
    tensor_parallel_size: int = Field(
        1, ge=1, description="GPUs that share one model", json_schema_extra=_OPERATIONAL
    )
    prefix_caching: bool = Field(
        True,
        description="compute what prompts have in common once; off where strict",
        json_schema_extra=_OPERATIONAL,
    )
    stall_timeout_s: float = Field(
        900.0,
        gt=0,
        description="an engine that makes no token for so long is taken for dead, in seconds",
        json_schema_extra=_OPERATIONAL,
    )

    @property
    def model_name(self) -> str:
        """The model's folder or hub id."""
        return self.model

    @property
    def tokenizer_source(self) -> str | None:
        """Where to find the tokenizer that renders prompts: the model itself."""
        return self.model

    @property
    def tokenizer_revision(self) -> str | None:
        """The tokenizer's revision on the hub."""
        return self.revision

    @property
    def numeric_mode(self) -> str:
        """What answers are computed with, for request keys."""
        return f"vllm/{self.dtype}/{self.quantization or 'as-is'}/{self.determinism}/ids"


class OpenaiConfig(SamplingConfig):
    """A server that speaks the OpenAI protocol, near or far."""

    engine: Literal["openai"] = Field(description="openai", json_schema_extra=_IDENTITY)
    model: str = Field(
        min_length=1, description="its name at the server", json_schema_extra=_IDENTITY
    )
    base_url: str = Field(
        pattern=r"^https?://[^\s/@?#]+(/[^\s@?#]*)?$",
        description="where the protocol's paths begin: http://localhost:8000/v1",
        json_schema_extra=_OPERATIONAL,
    )
    tokenizer: str | None = Field(
        None,
        description="folder or hub id of the model's tokenizer: prompts are then rendered here "
        "and sent as token ids where the server takes them; without it the server renders",
        json_schema_extra=_IDENTITY,
    )
    tokenizer_revision: str | None = Field(
        None,
        description="the tokenizer's branch, tag or commit on the hub",
        json_schema_extra=_IDENTITY,
    )
    prompt_mode: Literal["auto", "ids", "messages"] = Field(
        "auto",
        description="ids: token ids to /completions; messages: to /chat/completions; auto: ids "
        "where there is a tokenizer and the server takes them",
        json_schema_extra=_IDENTITY,
    )
    api_key_env: str = Field(
        "OPENAI_API_KEY",
        description="environment variable that holds the key; it may be unset",
        json_schema_extra=_OPERATIONAL,
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens",
        description="what the server calls the bound on an answer in /chat/completions",
        json_schema_extra=_OPERATIONAL,
    )
    max_in_flight: int = Field(
        64, ge=1, le=10_000, description="requests at once", json_schema_extra=_OPERATIONAL
    )
    request_timeout_s: float = Field(
        300.0,
        gt=0,
        description="for one attempt, from connecting to the last byte, in seconds",
        json_schema_extra=_OPERATIONAL,
    )
    start_timeout_s: float = Field(
        60.0,
        gt=0,
        description="how long a server may take to answer at first, in seconds",
        json_schema_extra=_OPERATIONAL,
    )
    retries: int = Field(
        8,
        ge=0,
        description="attempts after the first one fails (busy, failing or silent server)",
        json_schema_extra=_OPERATIONAL,
    )
    backoff_s: float = Field(
        1.0,
        gt=0,
        description="wait before the first retry, in seconds; doubles each time, with jitter",
        json_schema_extra=_OPERATIONAL,
    )
    max_backoff_s: float = Field(
        60.0,
        gt=0,
        description="longest wait between attempts, in seconds; a server's Retry-After is "
        "followed up to ten times this",
        json_schema_extra=_OPERATIONAL,
    )

    @model_validator(mode="after")
    def _renders_ids(self) -> Self:
        if self.prompt_mode == "ids" and self.tokenizer is None:
            raise ValueError("tokenizer must be given where prompt_mode is ids")
        if self.top_logprobs and self.tokenizer_source is None:
            raise ValueError(
                "top_logprobs must be 0 where the server renders prompts: their token ids are "
                "not known here; give tokenizer, and no prompt_mode: messages"
            )
        return self

    @property
    def model_name(self) -> str:
        """The model's name at the server."""
        return self.model

    @property
    def tokenizer_source(self) -> str | None:
        """Where to find a tokenizer; None where the server renders."""
        return None if self.prompt_mode == "messages" else self.tokenizer

    @property
    def numeric_mode(self) -> str:
        """What answers are computed with, as far as one can tell from here."""
        return f"openai/{self.prompt_mode if self.tokenizer_source else 'messages'}"


class ScriptedConfig(SamplingConfig):
    """A Python function in place of a model: exact, instant, and without sense."""

    engine: Literal["scripted"] = Field(description="scripted", json_schema_extra=_IDENTITY)
    function: str = Field(
        "task",
        description="echo: the user's last paragraph; upper: the same in capitals; task: words "
        "of the prompt drawn by the request's seed; or `module:name` of a function from Request "
        "to str",
        json_schema_extra=_IDENTITY,
    )
    tokenizer: str | None = Field(
        None,
        description="folder or hub id of a tokenizer, where token ids are to be planned",
        json_schema_extra=_IDENTITY,
    )
    tokenizer_revision: str | None = Field(
        None,
        description="the tokenizer's branch, tag or commit on the hub",
        json_schema_extra=_IDENTITY,
    )
    order: Literal["submitted", "reversed", "shuffled"] = Field(
        "submitted",
        description="in which order answers come back",
        json_schema_extra=_OPERATIONAL,
    )
    hold: int = Field(
        0,
        ge=0,
        description="keep so many requests waiting while others come in",
        json_schema_extra=_OPERATIONAL,
    )
    latency_s: float = Field(
        0.0, ge=0, description="wait before answers are given", json_schema_extra=_OPERATIONAL
    )
    max_in_flight: int = Field(
        64, ge=1, description="requests at once", json_schema_extra=_OPERATIONAL
    )
    workers: int = Field(
        1,
        ge=1,
        description="such engines side by side, as there would be on so many GPUs",
        json_schema_extra=_OPERATIONAL,
    )

    @model_validator(mode="after")
    def _tells_no_probabilities(self) -> Self:
        if self.top_logprobs:
            raise ValueError(
                "top_logprobs must be 0 where engine is scripted: a function has no "
                f"probabilities, got {self.top_logprobs}; take vllm or openai"
            )
        return self

    @property
    def model_name(self) -> str:
        """The function's name."""
        return self.function

    @property
    def tokenizer_source(self) -> str | None:
        """Where to find a tokenizer; None where messages are enough."""
        return self.tokenizer

    @property
    def numeric_mode(self) -> str:
        """Always the same: a function has no numeric mode."""
        return "scripted"


BackboneConfig = Annotated[
    VllmConfig | OpenaiConfig | ScriptedConfig, Field(discriminator="engine")
]
