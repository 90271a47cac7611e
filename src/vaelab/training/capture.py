"""Work that is done again and again: on a GPU it is captured once in a CUDA graph and replayed."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch

from vaelab.hardware import Hardware, allow_tf32

Work = Callable[[], None]
WARM_UP = 3  # calls before the capture, in which libraries choose their kernels and allocate


class Lane(Protocol):
    """Where the work of one run is done, and how it is captured there."""

    def entered(self) -> AbstractContextManager[object]:
        """While within, work goes into this lane."""

    def follow(self) -> None:
        """What this lane is given from now on comes after all that the device was given outside of it."""

    def tried(self, work: Work) -> str | None:
        """Does the work once; why it cannot be captured, or None."""

    def capture(self, work: Work) -> Work:
        """Does the work once, and returns what does it again; raises RuntimeError where it cannot be captured."""


class Plain:
    """A lane that captures nothing: the work is called each time."""

    def __init__(self, because: str) -> None:
        self.because = because

    def entered(self) -> AbstractContextManager[object]:
        """While within, work goes into this lane."""
        return nullcontext()

    def follow(self) -> None:
        """Nothing is to be done."""

    def tried(self, work: Work) -> str | None:
        """Does the work once; why it cannot be captured."""
        work()
        return self.because

    def capture(self, work: Work) -> Work:
        """Never asked for, since tried() has a reason."""
        raise RuntimeError(self.because)


class Stream:
    """A CUDA stream of a run's own, with its random generator, whose state each replay reads and moves on."""

    def __init__(self, hardware: Hardware, noise: torch.Generator) -> None:
        self._device, self._noise = hardware.device, noise
        self._tf32 = hardware.precision == "tf32"
        self._stream = torch.cuda.Stream(self._device)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """While within, work goes into this lane, in the run's precision."""
        allow_tf32(self._device, self._tf32)
        with torch.cuda.stream(self._stream):
            yield

    def follow(self) -> None:
        """What this lane is given from now on comes after all that the device was given outside of it."""
        self._stream.wait_stream(torch.cuda.default_stream(self._device))

    def tried(self, work: Work) -> str | None:
        """Does the work once; why it cannot be captured, or None: a capture must not wait for the device."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                work()
            finally:
                torch.cuda.set_sync_debug_mode(before)
        # Other warnings speak of synchronising too: torch's own, that this mode is a prototype.
        waits = [str(one.message) for one in seen if "called a synchronizing" in str(one.message)]
        return f"a step waits for the device ({waits[0].splitlines()[0]})" if waits else None

    def capture(self, work: Work) -> Work:
        """Does the work once, and returns what does it again; raises RuntimeError where it cannot be captured."""
        try:
            graph = self._graph(work)
        except RuntimeError:
            # Generators take themselves to be in the capture that failed, until another one ends.
            self._graph(lambda: torch.zeros(1, device=self._device))
            raise
        graph.replay()
        return graph.replay

    def _graph(self, work: Callable[[], object]) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._noise)
        torch.cuda.synchronize(self._device)
        # Only this thread must not do what a capture forbids: others may pin memory for the next batch meanwhile.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            work()
        return graph


class Repeated:
    """Work that a lane does again and again: called at first, then captured and replayed where that is possible."""

    def __init__(self, work: Work, lane: Lane) -> None:
        self._work, self._lane = work, lane
        self.calls = 0
        self._again: Work | None = None
        self.because: str | None = None  # why it is not captured

    def __call__(self) -> None:
        """Does the work once."""
        if self._again is not None:
            self._again()
        elif self.calls < WARM_UP - 1:
            self._work()
        elif self.calls == WARM_UP - 1:
            self.because = self._lane.tried(self._work)
            if self.because is not None:
                self._again = self._work
        else:
            self._again = self._captured()
        self.calls += 1

    @property
    def is_captured(self) -> bool:
        """Whether it is replayed by now."""
        return self._again is not None and self.because is None

    def forget(self) -> None:
        """Begins anew, for what is done has changed."""
        self.calls, self._again, self.because = 0, None, None

    def _captured(self) -> Work:
        try:
            return self._lane.capture(self._work)
        except RuntimeError as error:
            self.because = f"its capture failed: {str(first(error)).splitlines()[0]}"
            self._work()
            return self._work


def first(error: BaseException) -> BaseException:
    """The error that an error came of: one in a capture is followed by others while it is left."""
    return error if error.__context__ is None else first(error.__context__)
