"""Moving averages of weights."""

from collections.abc import Mapping

import torch
from torch import Tensor


@torch.no_grad()
def move_toward(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], updates: Tensor, decay: float
) -> None:
    """Moves an average toward weights of the same names, as the update of number `updates` (), counted from 1.

    The first updates move it faster, so that it forgets the initial weights; statistics of batch norms belong to the
    weights, and counts are copied.
    """
    # min(decay, (1 + n) / (10 + n)) on the device: no number is read back, as torch's AveragedModel does each time.
    share = 1 - torch.clamp((1 + updates) / (10 + updates), max=decay)
    for name, value in ours.items():
        if value.is_floating_point():
            value.lerp_(theirs[name], share.to(value.dtype))
        else:
            value.copy_(theirs[name])
