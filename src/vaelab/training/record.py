"""The terms of every step, on the device until they are read at once."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from vaelab import Failure

Numbers = dict[str, float]


class Record:
    """A row of numbers for each step of a pass; `number` (1,) int64 on the device is the step that comes next."""

    def __init__(self, steps: int, device: torch.device) -> None:
        self.number = torch.zeros(1, dtype=torch.int64, device=device)
        self._steps = steps
        self._names: tuple[str, ...] = ()
        self._rows: Tensor | None = None

    def begin(self) -> None:
        """The next step is the first again."""
        self.number.zero_()

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Keeps a step's terms, each of one number; raises Failure where they are not those of the first step."""
        values = torch.stack([term.detach().float() for term in terms.values()])
        if self._rows is None:
            self._names = tuple(terms)
            self._rows = values.new_zeros(self._steps, len(values))
        if tuple(terms) != self._names:
            raise Failure(f"the terms of the loss change: {', '.join(self._names)}, then {', '.join(terms)}")
        self._rows.index_copy_(0, self.number, values.unsqueeze(0))
        self.number += 1

    def read(self, steps: int | None = None) -> dict[str, np.ndarray]:
        """Each term's numbers of so many steps, or of all, float64; the device is waited for."""
        if self._rows is None or steps == 0:
            return {}
        rows = self._rows[:steps].cpu().double().numpy()
        return {name: rows[:, column] for column, name in enumerate(self._names)}
