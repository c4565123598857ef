"""Steps of Muon on the matrices of the testbed's models: ours in float32, torch's in bfloat16.

    python benchmarks/bench_muon.py

Gradients are drawn, and the same for both; one thread, as in a training. The baseline is
torch.optim.Muon in the same run.
"""

import argparse
from collections.abc import Callable

import torch
from measuring import Timing, alternate, header, machine, ratios, row, spread, timed
from torch.backends.cpu import get_cpu_capability

from sllm_data.testbed.muon import Muon

BASELINE, OURS = "torch.optim.Muon", "ours"
MODELS = {
    "encoder": [(128, 128)] * 16 + [(512, 128)] * 4 + [(128, 512)] * 4,
    "backbone": [(192, 192)] * 16 + [(512, 192)] * 8 + [(192, 512)] * 4,
}
"""Shapes of the matrices in their layers."""


def _weights(shapes: list[tuple[int, int]]) -> list[torch.nn.Parameter]:
    drawn = torch.Generator().manual_seed(1)
    weights = [torch.nn.Parameter(torch.randn(shape, generator=drawn)) for shape in shapes]
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=drawn)
    return weights


def _ours(shapes: list[tuple[int, int]]) -> Callable[[], Timing]:
    weights = _weights(shapes)
    gradients = [weight.grad for weight in weights]
    muon = Muon(weights, decay=0.01)

    def step() -> Timing:
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient  # it forgets them
        return timed(lambda: muon.step(1e-3))

    return step


def _torchs(shapes: list[tuple[int, int]]) -> Callable[[], Timing]:
    muon = torch.optim.Muon(_weights(shapes), lr=1e-3, weight_decay=0.01)
    return lambda: timed(muon.step)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=10, help="rounds (default 10)")
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print(f"CPU ms of a step; {repeats} rounds; instructions: {get_cpu_capability()}\n")
    print(header("matrices of", BASELINE, OURS, "baseline / ours"))
    for name, shapes in MODELS.items():
        runs = alternate({BASELINE: _torchs(shapes), OURS: _ours(shapes)}, repeats=repeats)
        theirs, ours = ([1e3 * run.cpu_s for run in runs[way]] for way in (BASELINE, OURS))
        print(row(name, spread(theirs, 0), spread(ours, 0), spread(ratios(theirs, ours), 1)))
    print(f"\n{machine('torch')}")


if __name__ == "__main__":
    main()
