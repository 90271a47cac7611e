"""What a sweep prints: its runs and their states, how far they are, and the table of their numbers."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Event, Thread
from typing import Any

from tqdm import tqdm

from vaelab import UsageError
from vaelab.keys import kl_weight_of
from vaelab.quantities import SECONDS, WEIGHT, Quantity, of_run
from vaelab.runs.history import Row
from vaelab.runs.request import Request
from vaelab.words import printable

POLL = 0.5  # seconds between two looks at the run folders
ENDED = ("done", "failed")


def listing(requests: Sequence[Request]) -> str:
    """Each run that a sweep would do, with its state."""
    return "\n".join([f"{len(requests)} runs", *map(_listed, requests)])


def _listed(one: Request) -> str:
    try:
        state, facts, info = one.state, one.run.checkpoint_facts(), one.run.info
    except UsageError as error:
        return f"  {'damaged':<11}  {printable(one.run.folder)}  ({printable(error)})"
    notes = [f"epoch {facts['epoch']} of {one.cfg.epochs}"] if state == "to continue" and facts else []
    notes += [f"failed: {info.get('reason')}"] if info.get("status") == "failed" else []
    note = f"  ({'; '.join(notes)})" if notes else ""
    return f"  {state:<11}  {printable(f'{one.run.folder}{note}')}"


def table(requests: Sequence[Request]) -> str:
    """The numbers of each run, in nats, dB and seconds, that some run has; a run that is not done shows its status.

    Below stands what of a run cannot be read.
    """
    numbers: dict[str, dict[str, Any]] = {}
    problems = []
    for one in requests:
        try:
            numbers[one.name] = _numbers(one)
        except UsageError as error:
            problems.append(f"{printable(one.name)} is left out: {printable(error)}")
    columns = [WEIGHT, *_shown(requests, numbers), SECONDS]
    rows = [[one.title for one in columns] + ["folder"]]
    for name, found in numbers.items():
        shown = [one.written(_signed(one, found.get(one.name))) for one in columns]
        if "status" in found:
            shown[1:] = [found["status"], *[""] * (len(shown) - 2)]
        rows.append([printable(cell) for cell in (*shown, name)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # Numbers to the right, the folder to the left.
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row[:-1], widths, strict=False)) + "  " + row[-1]
        for row in rows
    ]
    return "\n".join([*lines, *problems])


def _shown(requests: Sequence[Request], numbers: Mapping[str, Mapping[str, Any]]) -> list[Quantity]:
    """What the runs declare as always shown and some of them have."""
    declared: dict[str, Quantity] = {}
    for one in requests:
        if one.name in numbers:
            declared = {**of_run(one.run.info), **declared}
    return [
        one
        for name, one in declared.items()
        if one.shown == "always" and name != SECONDS.name and any(name in found for found in numbers.values())
    ]


def _numbers(one: Request) -> dict[str, Any]:
    """What the columns show of a run: of one that is not done λ and its status.

    λ is the one that was given, or that a target has led to.
    """
    weight = {"kl_weight": kl_weight_of(one.cfg, one.run.metrics)}
    info = one.run.info
    if info.get("status") != "done":
        return weight | {"status": str(info.get("status", "not begun"))}
    return {**one.run.metrics, "seconds": info.get("seconds")} | weight


def _signed(quantity: Quantity, value: Any) -> Any:
    return quantity.sign * value if isinstance(value, int | float) else None


class Watch(Thread):
    """Says on the terminal when a run ends, whoever does it, and with `bar` how many epochs of all are done."""

    def __init__(self, requests: Sequence[Request], bar: bool) -> None:
        super().__init__(daemon=True)
        self._requests = list(requests)
        self._before = {one.name: self._changed(one) for one in requests}
        self._stop_asked = Event()
        epochs = sum(one.cfg.epochs for one in requests)
        self._bar = tqdm(
            total=epochs, unit="epoch", dynamic_ncols=True, disable=not bar, desc=f"{len(requests)} runs"
        )

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_asked.set()
        self.join()
        self._look()
        self._bar.close()

    def run(self) -> None:
        """Looks again and again."""
        while not self._stop_asked.wait(POLL):
            self._look()

    def _look(self) -> None:
        for one in list(self._requests):
            status = None
            with suppress(UsageError):  # the table says what is damaged
                status = one.run.info.get("status")
            if status not in ENDED or self._changed(one) == self._before[one.name]:
                continue
            self._requests.remove(one)
            tqdm.write(printable(f"{one.name}: {_end(one)}"), file=sys.stderr)
        self._count()

    def _count(self) -> None:
        if self._bar.disable:
            return
        ended = self._bar.total - sum(one.cfg.epochs for one in self._requests)
        self._bar.n = ended + sum(map(_epoch, self._requests))
        self._bar.refresh()

    @staticmethod
    def _changed(one: Request) -> int:
        file = one.run.folder / "run.json"
        return file.stat().st_mtime_ns if file.is_file() else 0


def _epoch(one: Request) -> int:
    rows: list[Row] = []
    with suppress(UsageError):
        rows = one.run.history
    return int(rows[-1]["epoch"]) if rows else 0


def _end(one: Request) -> str:
    info = one.run.info
    if info["status"] == "done":
        return f"done in {SECONDS.written(info.get('seconds'))} s"
    return f"{info['status']}: {info.get('reason')}"
