"""What a sweep prints: its runs and their states, how far they are, and the table of their numbers."""

import sys
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Any

from tqdm import tqdm

from vaelab.asked import Asked

POLL = 0.5  # seconds between two looks at the run folders
ENDED = ("done", "failed")

# The table's columns: title, where the value comes from, how it is written.
COLUMNS: tuple[tuple[str, Callable[[Asked], Any], str], ...] = (
    ("λ", lambda a: a.cfg.loss.get("kl_weight"), "g"),
    ("−ELBO", lambda a: _negative(a.run.metrics.get("elbo")), ".2f"),
    ("reconstruction", lambda a: a.run.metrics.get("reconstruction"), ".2f"),
    ("KL", lambda a: a.run.metrics.get("kl"), ".2f"),
    ("active units", lambda a: a.run.metrics.get("active_units"), ".0f"),
    ("PSNR", lambda a: a.run.metrics.get("psnr"), ".2f"),
    ("SSIM", lambda a: a.run.metrics.get("ssim"), ".3f"),
    ("MS-SSIM", lambda a: a.run.metrics.get("diversity_ms_ssim"), ".3f"),  # of samples: lower is more diverse
    ("sharpness", lambda a: a.run.metrics.get("sharpness"), ".2g"),
    ("GAN-test", lambda a: a.run.metrics.get("gan_test_accuracy"), ".3f"),
    ("time", lambda a: a.run.info.get("seconds"), ".1f"),
)


def listing(asked: Sequence[Asked]) -> str:
    """Each run that a sweep would do, with its state."""
    lines = [f"{len(asked)} runs"]
    for one in asked:
        facts = one.run.checkpoint_facts()
        info = one.run.info
        notes = (
            [f"epoch {facts['epoch']} of {one.cfg.epochs}"] if one.state == "to continue" and facts else []
        )
        notes += [f"failed: {info.get('reason')}"] if info.get("status") == "failed" else []
        note = f"  ({'; '.join(notes)})" if notes else ""
        lines.append(f"  {one.state:<11}  {one.run.folder}{note}")
    return "\n".join(lines)


def table(asked: Sequence[Asked]) -> str:
    """The numbers of each run, in nats, dB and seconds, that some run has; a run that is not done shows its status."""
    ended = [one for one in asked if one.run.is_done()]
    columns = [c for c in COLUMNS if c[0] in ("λ", "time") or any(c[1](one) is not None for one in ended)]
    rows = [[title for title, _, _ in columns] + ["folder"]]
    for one in asked:
        done = one.run.is_done()
        shown = [_written(value(one), form) if done or title == "λ" else "" for title, value, form in columns]
        if not done:
            shown[1] = str(one.run.info.get("status", "not begun"))
        rows.append([*shown, str(one.run.folder)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # Numbers to the right, the folder to the left.
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row[:-1], widths, strict=False)) + "  " + row[-1]
        for row in rows
    )


def _written(value: Any, form: str) -> str:
    return "–" if value is None else format(value, form)


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


class Watch(Thread):
    """Says on the terminal when a run ends, whoever does it, and with `bar` how many epochs of all are done."""

    def __init__(self, asked: Sequence[Asked], bar: bool) -> None:
        super().__init__(daemon=True)
        self._asked = list(asked)
        self._before = {one.name: self._changed(one) for one in asked}
        self._stop_asked = Event()
        epochs = sum(one.cfg.epochs for one in asked)
        self._bar = tqdm(
            total=epochs, unit="epoch", dynamic_ncols=True, disable=not bar, desc=f"{len(asked)} runs"
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
        for one in list(self._asked):
            status = one.run.info.get("status")
            if status not in ENDED or self._changed(one) == self._before[one.name]:
                continue
            self._asked.remove(one)
            tqdm.write(f"{one.name}: {_end(one)}", file=sys.stderr)
        self._count()

    def _count(self) -> None:
        if self._bar.disable:
            return
        ended = self._bar.total - sum(one.cfg.epochs for one in self._asked)
        rows = [one.run.history for one in self._asked]
        self._bar.n = ended + sum(int(history[-1]["epoch"]) for history in rows if history)
        self._bar.refresh()

    @staticmethod
    def _changed(one: Asked) -> int:
        file = one.run.folder / "run.json"
        return file.stat().st_mtime_ns if file.is_file() else 0


def _end(one: Asked) -> str:
    info = one.run.info
    if info["status"] == "done":
        return f"done in {info['seconds']:.1f} s"
    return f"{info['status']}: {info.get('reason')}"
