"""What training cost on plain text: nats a token of the user's own texts, before and after.

No instruction, no chat template, no speech: the LLM reads on, as it was trained first of all. A
model that only moved where speech comes in pays nothing here.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from sllm_data.chat.loading import load_tokenizer, locate
from sllm_data.corpora.lines import OVERLONG, numbered_lines
from sllm_data.errors import CorpusError
from sllm_data.evaluation.backbone import as_backbone
from sllm_data.evaluation.forced import BACKBONE, TRAINED, ForcedLoss
from sllm_data.trainer.batch import PackedBatch, PackedText
from sllm_data.trainer.data.packing import in_packs
from sllm_data.trainer.trained import Trained

_LONGEST = 2_048  # tokens of a text; the rest is left out
_FEWEST = 2  # the second token is the first that something predicts


def read_texts(path: Path) -> list[str]:
    """Reads a file of texts: one a line, or JSON lines with the key `text` (`*.jsonl`).

    Raises:
        CorpusError: It can't be read, a line is broken, or it holds no text.
    """
    texts = []
    try:
        with path.open("rb") as file:
            for number, line in numbered_lines(file):
                if line is None:
                    raise CorpusError(f"{path}, line {number}: {OVERLONG}; part it")
                if line.strip():
                    texts.append(_text_of(line, where=f"{path}, line {number}", path=path))
    except OSError as error:
        raise CorpusError(
            f"{path}: must be a file of texts, can't be read: {error.strerror or error}"
        ) from error
    if not texts:
        raise CorpusError(f"{path}: must hold a text on each line, holds none")
    return texts


def _text_of(line: bytes, *, where: str, path: Path) -> str:
    try:
        text = line.decode("utf-8")
        found = json.loads(text)["text"] if path.suffix == ".jsonl" else text
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorpusError(
            f"{where}: must be UTF-8, and JSON with the key text in a file *.jsonl: {error}"
        ) from error
    if not isinstance(found, str):
        raise CorpusError(f"{where}: text must be a string, got {type(found).__name__}")
    return found


def retention(trained: Trained, texts: Sequence[str], *, budget: int = 4096) -> list[ForcedLoss]:
    """Reads texts with the LLM as it is and as it was; returns what both pay for each.

    Args:
        trained: The model; it is what it was afterwards.
        texts: One or more; of each the first 2,048 tokens count; one of a single token is left
            out.
        budget: Tokens that are read at once.

    Raises:
        CorpusError: No text has two tokens.
        ModelError: The backbone is not where it was.
    """
    ids = _tokens(trained, texts)
    now = _sums(trained, list(ids.values()), budget)
    with as_backbone(trained.model):
        then = _sums(trained, list(ids.values()), budget)
    return [
        ForcedLoss(row=str(number), condition=condition, nll=nll, nll_tokens=len(own) - 1)
        for (number, own), after, before in zip(ids.items(), now, then, strict=True)
        for condition, nll in ((TRAINED, after), (BACKBONE, before))
    ]


def _tokens(trained: Trained, texts: Sequence[str]) -> dict[int, list[int]]:
    """Returns the tokens of texts that are long enough, by number."""
    llm = trained.config.llm
    folder, _ = locate(llm.model, revision=llm.revision)
    tokenizer = load_tokenizer(folder, model=llm.model)
    found = (tokenizer(text)["input_ids"][:_LONGEST] for text in texts)
    long_enough = {number: ids for number, ids in enumerate(found, 1) if len(ids) >= _FEWEST}
    if not long_enough:
        raise CorpusError(f"texts must have {_FEWEST} tokens or more, none of {len(texts):,} has")
    return long_enough


def _sums(trained: Trained, ids: Sequence[list[int]], budget: int) -> list[float]:
    """Returns the nats of each text."""
    model = trained.model
    found: list[float] = []
    for pack in in_packs(ids, size_of=len, budget=budget):
        losses = model.label_losses(_batch(pack, mels=model.geometry.mels).to(model.device))
        parts = losses.double().cpu().split([len(each) - 1 for each in pack])
        found += [float(part.sum()) for part in parts]
    return found


def _batch(texts: Sequence[list[int]], *, mels: int) -> PackedBatch:
    tokens = torch.tensor([token for text in texts for token in text])
    lengths = torch.tensor([len(text) for text in texts], dtype=torch.int32)
    positions = torch.cat([torch.arange(len(text)) for text in texts])
    predicted = torch.nonzero(positions).flatten()
    none = torch.zeros(0, dtype=torch.int32)
    return PackedBatch(
        text=PackedText(
            token_ids=tokens,
            position_ids=positions,
            lengths=lengths,
            label_positions=predicted - 1,
            labels=tokens[predicted],
        ),
        audio_positions=none.long(),
        features=torch.zeros(0, mels),
        clip_frames=none,
        clip_positions=none,
    )
