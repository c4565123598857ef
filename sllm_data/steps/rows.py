"""Rows of the tables as records, and back: the only place that knows both forms."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from sllm_data.records import Message, Request, Response, Sample, Sampling, Source, Speaker

Row = Mapping[str, Any]  # Any: values of one of the tables in shards.schema

# json.dumps would build one for each call: a tenth of planning's time
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))
_REQUEST_FIELDS = tuple(
    name
    for name in Request.__dataclass_fields__
    if name not in ("messages", "prompt_token_ids", "sampling")
)
_RESPONSE_FIELDS = tuple(
    name
    for name in Response.__dataclass_fields__
    if name not in ("token_ids", "top_token_ids", "top_logprobs")
)


def canonical(value: Mapping[str, Any]) -> str:  # Any: JSON values
    """Returns the one JSON text of a mapping: sorted keys, no spaces.

    >>> canonical({"to": "de"})
    '{"to":"de"}'
    """
    return _CANONICAL.encode(value) if value else "{}"


def request_from(row: Row) -> Request:
    """Reads a row of requests/."""
    sampling = row["sampling"]
    return Request(
        **{name: row[name] for name in _REQUEST_FIELDS},
        messages=tuple(Message(**message) for message in row["messages"]),
        prompt_token_ids=tuple(row["prompt_token_ids"]),
        sampling=Sampling(**sampling | {"stop": tuple(sampling["stop"])}),
    )


def request_row(request: Request, *, model: Mapping[str, str]) -> dict[str, Any]:
    """Writes a row of requests/; `model` has model, revision and chat_template_sha256."""
    row: dict[str, Any] = {name: getattr(request, name) for name in _REQUEST_FIELDS}
    return row | {
        "messages": [{"role": m.role, "content": m.content} for m in request.messages],
        "prompt_token_ids": request.prompt_token_ids,
        "sampling": sampling_document(request.sampling),
        **model,
    }


def sampling_document(sampling: Sampling) -> dict[str, Any]:
    """Sampling parameters as plain values."""
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "max_tokens": sampling.max_tokens,
        "stop": list(sampling.stop),
    }


def response_from(row: Row) -> Response:
    """Reads a row of responses/."""
    return Response(
        **{name: row[name] for name in _RESPONSE_FIELDS},
        token_ids=tuple(row["token_ids"]),
        # a part that was written before there were these columns lacks them
        top_token_ids=_nested(row.get("top_token_ids")),
        top_logprobs=_nested(row.get("top_logprobs")),
    )


def _nested(lists: list[list[Any]] | None) -> tuple[tuple[Any, ...], ...] | None:  # Any: as above
    return None if lists is None else tuple(map(tuple, lists))


def response_row(response: Response) -> dict[str, Any]:
    """Writes the columns of responses/ that the response itself knows."""
    row: dict[str, Any] = {name: getattr(response, name) for name in _RESPONSE_FIELDS}
    # a server's JSON may hold half a surrogate pair, which no UTF-8 file can
    text = response.text.encode("utf-8", "replace").decode()
    return row | {
        "text": text,
        "token_ids": response.token_ids,
        "top_token_ids": response.top_token_ids,
        "top_logprobs": response.top_logprobs,
    }


def sample_row(sample: Sample) -> dict[str, Any]:
    """Writes a row of samples/."""
    # asdict would copy each of these numbers by itself: a tenth of a second for a long answer
    row = asdict(replace(sample, response_top_token_ids=None, response_logprobs=None))
    row["response_top_token_ids"] = sample.response_top_token_ids
    row["response_logprobs"] = sample.response_logprobs
    row["audio_refs"] = [
        {"audio_part": part, "audio_id": audio_id} for part, audio_id in sample.audio_refs
    ]
    return row


def speaker_from(fields: Row) -> Speaker:
    """Reads the speaker struct."""
    return Speaker(**fields)


def source_from(fields: Row) -> Source:
    """Reads the source struct."""
    return Source(**fields)
