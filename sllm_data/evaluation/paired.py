"""Speech and text as states of the LLM by layer, as a file beside the predictions.

    states.safetensors   `speech` and `text`: (layers + 1, N, H), float32; its metadata name the
                         N rows

How alike they are, and a map of both, are computed from the file. Who makes the states stands in
`probing.states`; here are no models.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sllm_data.errors import ShardError
from sllm_data.evaluation.lines import check_answered
from sllm_data.evaluation.similarity import States, linear_cka, map_of
from sllm_data.files import atomic_path

STATES = "states.safetensors"

_LEAST_CLIPS = 8
"""A map of fewer says nothing."""
_LAYERS_ROWS_WIDTH = 3

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedStates:
    """Of N clips, in front of the first layer and behind each."""

    rows: tuple[str, ...]
    """The sample_id of each clip's row."""
    speech: Float32
    """(layers + 1, N, H)."""
    text: Float32

    def __post_init__(self) -> None:
        shapes = self.speech.shape, self.text.shape
        if shapes[0] != shapes[1] or len(shapes[0]) != _LAYERS_ROWS_WIDTH or 0 in shapes[0]:
            raise ValueError(
                "speech and text must have one shape, (layers + 1, rows, width), got "
                f"{list(shapes[0])} and {list(shapes[1])}"
            )
        if len(set(self.rows)) != shapes[0][1]:
            raise ValueError(
                f"there must be a row for each of {shapes[0][1]} states, got {len(set(self.rows))}"
            )
        for name in ("speech", "text"):
            states = getattr(self, name)
            if states.dtype != np.float32 or not np.isfinite(states).all():
                raise ValueError(f"{name} must be finite and float32, got {states.dtype}")

    def similarity(self) -> list[float | None]:
        """Returns the CKA of speech and text at each of layers + 1."""
        return [linear_cka(*self._at(layer)) for layer in range(len(self.speech))]

    def map(self, layer: int, *, seed: int) -> tuple[States, States] | None:
        """Returns speech and text on one map, (N, 2) each; None for a few clips."""
        if len(self.rows) < _LEAST_CLIPS:
            return None
        found = map_of(np.concatenate(self._at(layer)), seed=seed)
        return found[: len(self.rows)], found[len(self.rows) :]

    def _at(self, layer: int) -> tuple[States, States]:
        return self.speech[layer].astype(np.float64), self.text[layer].astype(np.float64)


def write_states(path: Path, states: PairedStates) -> None:
    """Writes states, whole or not at all.

    Raises:
        OutputError: The folder can't be written.
    """
    content = save(
        {"speech": states.speech, "text": states.text}, {"rows": json.dumps(states.rows)}
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def read_states(path: Path, *, known: Collection[str]) -> PairedStates:
    """Reads states.

    Args:
        path: The file.
        known: The rows that there are.

    Raises:
        ShardError: The file can't be read, is cut or of another form, or is of a row that is not
            known.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            rows = json.loads((file.metadata() or {})["rows"])
            speech, text = (file.get_tensor(name) for name in ("speech", "text"))
        states = PairedStates(rows=tuple(map(str, rows)), speech=speech, text=text)
    except KeyError as error:
        raise ShardError(f"{path}: {_FORM}, it names no {error.args[0]}; {_REMEDY}") from error
    except (OSError, SafetensorError, ValueError, TypeError, RecursionError) as error:
        raise ShardError(f"{path}: {_FORM}: {error}; {_REMEDY}") from error
    check_answered(str(path), states.rows, known)
    return states


_FORM = "must hold the states of rows on speech and text, whole"
_REMEDY = "evaluate again, or remove what was looked into"
