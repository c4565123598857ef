"""One update of the weights: from the packs of a step to gradients, a norm, a loss."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW

from sllm_data.errors import TrainingError
from sllm_data.files import atomic_path
from sllm_data.trainer.batch import PackedBatch
from sllm_data.trainer.distributed import Ranks, add_up_gradients, clip_gradients
from sllm_data.trainer.halving import halves_of
from sllm_data.trainer.model.config import LossConfig
from sllm_data.trainer.model.losses import LossSums
from sllm_data.trainer.optim import group_of


@dataclass(frozen=True, kw_only=True, slots=True)
class LossMeans:
    """Losses of a step or of a validation: means over the trained tokens of all ranks."""

    total: float
    parts: dict[str, float]
    num_labels: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stepper:
    """What all steps of a training share."""

    model: nn.Module
    """Called with a pack and the losses; gives LossSums."""
    parameters: dict[str, nn.Parameter]
    """All that is trained in any stage, by name."""
    losses: LossConfig
    ranks: Ranks
    failures: Path
    """Folder for packs whose loss is no number."""

    def choose(self, rates: Mapping[str, float]) -> None:
        """Lets gradients be computed for the parts that have a learning rate above 0."""
        for name, param in self.parameters.items():
            # FSDP reads this once and for all
            param.requires_grad_(rates[group_of(name)] > 0 or isinstance(param, DTensor))

    def gradients(self, packs: Sequence[PackedBatch], *, step: int) -> LossMeans:
        """Computes the gradients of a step; those that are there must be none.

        The loss of each token weighs the same, whichever pack or rank it is in. A rank may have
        more packs than another: layers that are sharded are gathered by all ranks at once, so
        one that has no more goes over its last pack again, which counts for nothing.

        Raises:
            TrainingError: The loss is no number; the pack is saved.
            torch.cuda.OutOfMemoryError: The GPU's memory is too small for a pack.
        """
        mine = sum(len(pack.text.labels) for pack in packs)
        num_labels = int(self.ranks.sums([mine])[0])
        # gradients are averaged over ranks, by FSDP and by add_up_gradients
        weight = self.ranks.world_size / num_labels
        found: list[LossSums] = []
        for number in range(int(self.ranks.largest(len(packs)))):
            is_own = number < len(packs)
            pack = packs[number] if is_own else packs[-1]
            sums: LossSums = self.model(pack.to(self.ranks.device), self.losses)
            (sums.total * (weight if is_own else 0.0)).backward()
            if is_own:
                found.append(sums)
        totals = torch.stack([sums.total.detach() for sums in found]).tolist()
        self._refuse_no_number(packs, totals, step=step)
        return self._means(found, num_labels)

    def update(
        self,
        optimizer: AdamW,
        rates: Mapping[str, float],
        packs: Sequence[PackedBatch],
        *,
        max_norm: float,
        step: int,
    ) -> float:
        """Updates the weights from the gradients, and drops them; returns their norm.

        Args:
            optimizer: Of all parameters.
            rates: By part.
            packs: That the gradients come from.
            max_norm: To which gradients are scaled down.
            step: For the error.

        Raises:
            TrainingError: The norm is no number; packs are saved, weights are as they were.
        """
        trained = []
        for name, param in self.parameters.items():
            if rates[group_of(name)] > 0:
                trained.append(param)
            else:
                param.grad = None
        add_up_gradients(trained, self.ranks)
        norm = clip_gradients(trained, max_norm=max_norm, ranks=self.ranks)
        if not norm < float("inf"):
            paths = [self._saved(pack, f"step-{step:08}-pack-{k}") for k, pack in enumerate(packs)]
            raise TrainingError(
                f"step {step}: the norm of the gradients must be a number, got {norm}; the batch "
                f"is in {', '.join(map(str, paths))}; choose a lower learning rate or a longer "
                "warm-up, and go on from the last checkpoint"
            )
        for group in optimizer.param_groups:
            group["lr"] = rates[group["part"]]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return norm

    def validate(self, packs: Sequence[PackedBatch]) -> LossMeans:
        """Returns the losses of packs, without training on them.

        Each rank must have one. As in a step, one that has fewer than another goes over its last
        pack again, which counts for nothing.
        """
        again = int(self.ranks.largest(len(packs))) - len(packs)
        self.model.eval()
        try:
            with torch.no_grad():
                found = [
                    self.model(pack.to(self.ranks.device), self.losses)
                    for pack in [*packs, *[packs[-1]] * again]
                ][: len(packs)]
        finally:
            self.model.train()
        mine = sum(len(pack.text.labels) for pack in packs)
        return self._means(found, int(self.ranks.sums([mine])[0]))

    def _means(self, found: Sequence[LossSums], num_labels: int) -> LossMeans:
        names = list(found[0].parts)
        columns = [[sums.total, *(sums.parts[name] for name in names)] for sums in found]
        sums = self.ranks.sums(_summed(columns))
        total, *parts = (value / num_labels for value in sums)
        return LossMeans(
            total=total, parts=dict(zip(names, parts, strict=True)), num_labels=num_labels
        )

    def _refuse_no_number(
        self, packs: Sequence[PackedBatch], totals: Sequence[float], *, step: int
    ) -> None:
        broken = [
            (pack, total)
            for pack, total in zip(packs, totals, strict=True)
            if not abs(total) < float("inf")
        ]
        if not self.ranks.sums([len(broken)])[0]:
            return
        if not broken:
            raise TrainingError(
                f"step {step}: the loss of another process is no number; see there"
            )
        pack, total = broken[0]
        path = self._saved(pack, f"step-{step:08}")
        raise TrainingError(
            f"step {step}: the loss must be a number, got {total} for the samples "
            f"{', '.join(pack.sample_ids[:3])} and {max(0, len(pack.sample_ids) - 3)} more; their "
            f"batch is in {path}; choose a lower learning rate or a longer warm-up, and go on "
            "from the last checkpoint"
        )

    def _saved(self, pack: PackedBatch, name: str) -> Path:
        path = self.failures / f"{name}-rank-{self.ranks.rank:05}.pt"
        with atomic_path(path) as temporary:
            torch.save(asdict(pack), temporary)
        return path


def _summed(columns: Sequence[Sequence[Tensor]]) -> list[float]:
    table = torch.stack([torch.stack([value.detach() for value in row]) for row in columns])
    found: list[float] = table.double().sum(0).tolist()
    return found


def cut_in_halves(packs: Sequence[PackedBatch]) -> list[PackedBatch]:
    """Returns the packs in halves, those of one conversation as they are."""
    return [half for pack in packs for half in (halves_of(pack) or (pack,))]
