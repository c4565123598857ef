"""Muon, in float32: each matrix moves by a step all of whose singular values are about one.

Jordan and others 2024, with the step's size of "Muon is Scalable for LLM Training" (arXiv
2502.16982). torch.optim.Muon does the same in bfloat16, which processors without such
instructions compute so slowly that it took four fifths of a training.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_MOMENTUM = 0.95
_LIKE_ADAM = 0.2  # root mean square of a step of AdamW, about
_ROUNDS = 5
_QUINTIC = (3.4445, -4.7750, 2.0315)  # steepest at 0, so that few rounds are enough
_LEAST = 1e-7


class Muon:
    """An optimizer for matrices.

    Args:
        matrices: Each with a gradient whenever a step is made.
        decay: Each step takes `learning rate * decay` of a weight.
    """

    def __init__(self, matrices: "Iterable[torch.nn.Parameter]", *, decay: float) -> None:
        import torch  # noqa: PLC0415 - its import takes seconds

        self._decay = decay
        self._by_shape: defaultdict[torch.Size, list[torch.nn.Parameter]] = defaultdict(list)
        for matrix in matrices:
            self._by_shape[matrix.shape].append(matrix)
        self._means = {
            shape: torch.zeros(len(alike), *shape) for shape, alike in self._by_shape.items()
        }

    def step(self, learning_rate: float) -> None:
        """Makes a step along the gradients, those of one shape together, and forgets them."""
        import torch  # noqa: PLC0415 - its import takes seconds

        with torch.no_grad():
            for shape, alike in self._by_shape.items():
                gradients = torch.stack([matrix.grad for matrix in alike])
                mean = self._means[shape].lerp_(gradients, 1 - _MOMENTUM)
                steps = orthogonal(gradients.lerp_(mean, _MOMENTUM))
                size = learning_rate * _LIKE_ADAM * math.sqrt(max(shape))
                for matrix, step in zip(alike, steps, strict=True):
                    matrix.mul_(1 - learning_rate * self._decay).sub_(step, alpha=size)
                    matrix.grad = None


def orthogonal(matrices: "torch.Tensor") -> "torch.Tensor":
    """Brings all singular values near to one, between 0.7 and 1.2, and keeps the directions.

    Args:
        matrices: float32 (matrices, rows, columns).
    """
    import torch  # noqa: PLC0415 - its import takes seconds

    is_high = matrices.shape[1] > matrices.shape[2]
    found = matrices.mT if is_high else matrices
    found = found / found.norm(dim=(1, 2), keepdim=True).clamp(min=_LEAST)
    linear, cubic, quintic = _QUINTIC
    for _ in range(_ROUNDS):
        squares = found @ found.mT
        factor = torch.baddbmm(squares, squares, squares, beta=cubic, alpha=quintic)
        found = torch.baddbmm(found, factor, found, beta=linear)
    return found.mT if is_high else found
