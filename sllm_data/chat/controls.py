"""Control tokens, and a copy of the tokenizer that has none.

A control token is an added token that steers the model: all special ones, and others that
are markup (`<think>`). Added tokens that are mere text (runs of spaces, single characters,
words) are none. The copy encodes any text without ever yielding a control id: not because
somebody looked for bad strings, but because its vocabulary no longer reaches those ids.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Tokenizer

_UNREACHABLE = "control {}"  # a plain space: every pre-tokenizer splits at or replaces it


@dataclass(frozen=True, kw_only=True, slots=True)
class Controls:
    """The control tokens of one tokenizer."""

    ids: frozenset[int]
    """Less the model's unknown token, which ordinary text may yield."""
    texts: tuple[str, ...]
    """What they look like as text, longest first."""
    pattern: re.Pattern[str] | None
    """Finds the text of a control token; None where there are none."""
    opening: Tokenizer
    """Encodes text at the start of a prompt; knows no control tokens."""
    inner: Tokenizer
    """Encodes text after a control token; differs where the first word is marked."""

    def sequence(self, token_ids: Iterable[int]) -> tuple[int, ...]:
        """Returns the control ids among the ids, in their order."""
        return tuple(filter(self.ids.__contains__, token_ids))

    def named_in(self, texts: Sequence[str]) -> bool:
        """Whether one of the texts contains the text of a control token."""
        return self.pattern is not None and any(map(self.pattern.search, texts))


def controls_of(backend: Tokenizer) -> Controls:
    """Finds a tokenizer's control tokens and builds the copies without them.

    Cost: parses the tokenizer's JSON once or twice, about 0.5 s for 150,000 tokens.
    """
    added: dict[int, AddedToken] = backend.get_added_tokens_decoder()
    control = {index: token.content for index, token in added.items() if _is_control(token)}
    plain = {index: token.content for index, token in added.items() if index not in control}
    spec: dict[str, Any] = json.loads(backend.to_str())  # tokenizers' own format
    unknown = _unknown_id(spec["model"])
    spec["added_tokens"] = [entry for entry in spec["added_tokens"] if entry["id"] in plain]
    spec["post_processor"] = spec["truncation"] = spec["padding"] = None
    if isinstance(spec["model"]["vocab"], dict):
        _seal_dictionary(spec["model"], control, plain)
    else:
        _seal_list(spec["model"], control, plain)
    opening = Tokenizer.from_str(json.dumps(spec))
    marks_first_word = _unmark_first_word(spec["pre_tokenizer"])
    longest_first = sorted(control.values(), key=len, reverse=True)
    return Controls(
        ids=frozenset(control) - {unknown},
        texts=tuple(longest_first),
        pattern=re.compile("|".join(map(re.escape, longest_first))) if control else None,
        opening=opening,
        inner=Tokenizer.from_str(json.dumps(spec)) if marks_first_word else opening,
    )


def _is_control(token: AddedToken) -> bool:
    text = token.content.strip()
    return token.special or not (len(text) <= 1 or text.isalnum())


def _unknown_id(model: Mapping[str, Any]) -> int | None:
    unknown: int | None = (
        model["unk_id"] if "unk_id" in model else model["vocab"].get(model.get("unk_token"))
    )
    return unknown


def _seal_dictionary(
    model: dict[str, Any], control: Mapping[int, str], plain: Mapping[int, str]
) -> None:
    # Entries are renamed, not deleted, and added tokens that stay are entered: tokenizers
    # numbers added tokens by the size of the vocabulary, so a hole would shift their ids.
    texts = set(control.values())
    vocab = {text: index for text, index in model["vocab"].items() if text not in texts}
    vocab |= {_UNREACHABLE.format(index): index for index in control}
    model["vocab"] = vocab | {text: index for index, text in plain.items()}
    if model.get("unk_token") in texts:
        renamed = {text: _UNREACHABLE.format(index) for index, text in control.items()}
        model["unk_token"] = renamed[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [
            [left, right]
            for left, right in model["merges"]
            if texts.isdisjoint((left, right, left + right))
        ]


def _seal_list(
    model: dict[str, Any], control: Mapping[int, str], plain: Mapping[int, str]
) -> None:
    # An empty piece matches nothing, and its index, which is its id, stays taken.
    vocab: list[list[Any]] = model["vocab"]
    size = max([len(vocab), *(index + 1 for index in control), *(index + 1 for index in plain)])
    vocab += [["", 0.0] for _ in range(size - len(vocab))]
    for index, text in plain.items():
        vocab[index][0] = text
    for index in control:
        vocab[index] = ["", 0.0]


def _unmark_first_word(step: dict[str, Any] | None) -> bool:
    """Stops a Metaspace step from marking the first word; returns whether one did."""
    if step is None:
        return False
    if step.get("prepend_scheme") == "first":
        step["prepend_scheme"] = "never"
        return True
    unmarked = [_unmark_first_word(inner) for inner in step.get("pretokenizers", ())]
    return any(unmarked)
