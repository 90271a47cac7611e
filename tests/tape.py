"""A lane that captures on a CPU: operations are written down with the tensors they touch, and done again on these.

As in a CUDA graph, what Python decides is frozen, what a tensor holds is not, and reading a number back is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from vaelab.training.capture import Work

READS = ("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero")


class Tape(TorchDispatchMode):
    """Writes operations down; replay() does them again, into the tensors that they gave the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any], list[Tensor]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Does an operation and writes it down."""
        if func.overloadpacket.__name__ in READS:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        given = kwargs or {}
        out = func(*args, **given)
        self.calls.append((func, args, given, tensors(out)))
        return out

    def replay(self) -> None:
        """Does everything again."""
        with torch.no_grad():
            for func, args, kwargs, before in self.calls:
                for old, new in zip(before, tensors(func(*args, **kwargs)), strict=True):
                    if (
                        old is not new
                        and old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr()
                    ):
                        old.copy_(new)


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]


class TapeLane:
    """A lane whose work is captured on a tape."""

    def __init__(self) -> None:
        self.captures = 0
        self.replays = 0

    def entered(self) -> AbstractContextManager[object]:
        return nullcontext()

    def follow(self) -> None:
        pass

    def tried(self, work: Work) -> str | None:
        try:
            with Tape():
                work()
        except RuntimeError as error:
            return str(error)
        return None

    def capture(self, work: Work) -> Work:
        with Tape() as tape:
            work()
        self.captures += 1

        def again() -> None:
            self.replays += 1
            tape.replay()

        return again
