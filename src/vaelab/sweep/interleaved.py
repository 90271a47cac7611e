"""Runs that share one device: their steps are taken in turn, each in a lane and with random numbers of its own."""

import sys
import time
from collections import deque
from collections.abc import Sequence

import torch
from tqdm import tqdm

from vaelab import machine
from vaelab.commands.workers import portable
from vaelab.runs import perform as jobs
from vaelab.runs.drawing import Workers, most_processes
from vaelab.runs.perform import OutOfMemory
from vaelab.runs.request import Failures, Request

TURN = 4  # steps of a run before the next one's, for changing over costs the host time
WINDOW = 0.5  # seconds over which images per second are measured
SETTLING = 2  # turns of each run before that, in which steps are captured and libraries choose their kernels
GAIN = 1.05  # times as many images per second that one more run must bring
MOST_DRAWN = 8  # runs that are trained and wait for their figures, which hold memory
SHARE_OF_MEMORY = 0.8  # of what is free, that runs are added for


def perform(requests: Sequence[Request], device: torch.device, at_once: int | None) -> Failures:
    """Does what is left of the runs, at most `at_once` at a time, or as many as pay; returns those that failed.

    A run for which there was no memory beside the others is done alone in the end.
    """
    # Each run has one call that takes seconds, and they come to it at about the same time.
    with Workers(most_processes(min(len(requests), MOST_DRAWN))) as workers:
        failures, crowded = _perform(requests, Admission(Meter(device), at_once), workers)
        for one in crowded:
            if device.type == "cuda":
                torch.cuda.empty_cache()
            failures |= _perform([one], Admission(Meter(device), 1), workers)[0]
    return failures


def _perform(
    requests: Sequence[Request], admission: "Admission", workers: Workers
) -> tuple[Failures, list[Request]]:
    waiting, present = deque(requests), list[Member]()
    failures: Failures = {}
    crowded: list[Request] = []
    try:
        while waiting or present:
            trained = [member for member in present if member.trains]
            drawn = len(present) - len(trained)
            while waiting and len(trained) < admission.at_once and drawn < MOST_DRAWN:
                trained.append(Member(waiting.popleft(), workers, admission.meter.device))
                present.append(trained[-1])
            if not trained:
                workers.help()
            for member in list(present):
                try:
                    if images := member.turn():
                        admission.stepped(images, len(trained))
                    continue
                except StopIteration:
                    pass
                except OutOfMemory as error:
                    if len(present) == 1:
                        failures[member.request.name] = portable(error)
                    else:
                        crowded.append(member.request)
                        told = f"{len(present)} runs shared the device; it is tried again alone"
                        tqdm.write(f"{member.request.name}: {error}; {told}", file=sys.stderr)
                except Exception as error:
                    failures[member.request.name] = portable(error)
                present.remove(member)
    finally:
        for member in present:
            member.steps.close()
    return failures, crowded


class Member:
    """A run among others: in its turn, torch's own random numbers are those that it has alone."""

    def __init__(self, request: Request, workers: Workers, device: torch.device) -> None:
        self.request = request
        self.steps = jobs.steps(request, workers)
        self.trains = True
        generators = torch.cuda if device.type == "cuda" else torch
        self._get, self._set = generators.get_rng_state, generators.set_rng_state
        self._state = self._get()

    def turn(self) -> int:
        """Takes the next steps, and returns the number of their images, 0 once the run is trained.

        Raises StopIteration at the run's end.
        """
        if not self.trains:  # no network is at work any more
            return next(self.steps)
        others = self._get()
        self._set(self._state)
        try:
            images = [next(self.steps)]
            while images[-1] and len(images) < TURN:
                images.append(next(self.steps))
            self.trains = images[-1] > 0
            return sum(images)
        finally:
            self._state = self._get()
            self._set(others)


class Meter:
    """The time and the free memory of a device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def now(self) -> float:
        """Seconds, once the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def free(self) -> int:
        """Bytes."""
        if self.device.type == "cuda":
            return torch.cuda.mem_get_info(self.device)[0]
        return machine.free_memory()


class Admission:
    """How many runs a device has at once: as many as its memory holds and as still raise its images per second.

    One more is let in after each window in which those that are there brought enough.
    """

    def __init__(self, meter: Meter, most: int | None) -> None:
        self.meter = meter
        self.at_once = 1 if most is None else most
        self._settled = most is not None
        self._free = meter.free()
        self._rate = 0.0  # images per second of the last window
        self._turns = self._images = 0
        self._since: float | None = None  # when the window began

    def stepped(self, images: int, present: int) -> None:
        """Counts the turn of one of the runs that are present."""
        if self._settled or present < self.at_once:
            return
        self._turns += 1
        if self._since is None:
            if self._turns >= SETTLING * present:
                self._since, self._images = self.meter.now(), 0
            return
        self._images += images
        # The clock of the host runs ahead of the device: that is waited for only when the window is over.
        if time.perf_counter() - self._since >= WINDOW:
            self._decide(self._images / (self.meter.now() - self._since))

    def _decide(self, rate: float) -> None:
        free = self.meter.free()
        of_one = max(1, (self._free - free) // self.at_once)
        self._settled = rate < GAIN * self._rate or of_one > SHARE_OF_MEMORY * free
        if not self._settled:
            self.at_once += 1
        self._rate, self._turns, self._since = rate, 0, None
