import pytest
import torch

from sllm_data.testbed.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 8), (6, 24), (24, 6)])
def test_singular_values_come_near_to_one_and_directions_stay(shape):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    found = orthogonal(matrices)
    assert found.shape == matrices.shape
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.3
    assert values.max() < 1.3
    for before, after in zip(matrices, found, strict=True):
        left, _, right = torch.linalg.svd(before, full_matrices=False)
        turned = left.T @ after @ right.T
        torch.testing.assert_close(turned, turned.diag().diag(), atol=1e-4, rtol=0)


def test_nothing_stays_nothing():
    assert not orthogonal(torch.zeros(1, 4, 4)).any()


def test_steps_are_those_of_torch_but_for_its_bfloat16():
    drawn = torch.Generator().manual_seed(2)
    shapes = [(8, 8), (6, 24), (8, 8), (24, 6)]
    starts = [torch.randn(shape, generator=drawn) for shape in shapes]
    ours = [torch.nn.Parameter(start.clone()) for start in starts]
    theirs = [torch.nn.Parameter(start.clone()) for start in starts]
    muon = Muon(ours, decay=0.1)
    torchs = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=drawn)
            other.grad = one.grad.clone()
        muon.step(0.02)
        torchs.step()
    for one, other, start in zip(ours, theirs, starts, strict=True):
        assert one.grad is None
        moved = (one - start).norm()
        assert (one - other).norm() < 0.03 * moved
