"""The process that tells one tracker of a run: what the run's folder holds, as it comes to hold it."""

import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread, Timer

from filelock import FileLock

from vaelab import trackers
from vaelab.runs.folder import Run
from vaelab.runs.history import Row
from vaelab.runs.tracking import FINISHED, State, state
from vaelab.trackers import Subject

POLL = 1.0  # seconds between two looks at the folder
LONGEST_END = 600.0  # seconds that are left to the tracker of a run that has ended early


class Parent(Thread):
    """Hears from the process that trains when the run is over, and whether it is finished."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over, self.finished = Event(), False

    def run(self) -> None:
        """Waits for the end of its words."""
        self.finished = sys.stdin.read() == FINISHED
        self.over.set()
        end = Timer(LONGEST_END, os._exit, (1,))
        end.daemon = True
        end.start()


def follow(run: Run, name: str, parent: Parent) -> None:
    """Tells a tracker of a run until that is over; raises whatever the tracker does.

    It is told of rows once a checkpoint has them, which are the ones that no resumed run computes again.
    """
    folder = run.folder / "trackers"
    with FileLock(folder / f".{name}.lock"):  # a process of before may still be at its end
        known = state(run, name)
        tracker = trackers.begin(name, subject(run, known.id))
        told, over, epoch = known.rows, False, -1
        while not over:
            over = parent.over.wait(POLL)
            if not over and epoch == (epoch := kept_epoch(run)):
                continue
            rows = rows_until(run, None if parent.finished else kept_epoch(run))
            for row in rows[told:]:
                tracker.log(row)
            tracker.flush()
            told = max(told, len(rows))
            keep(run, name, State(tracker.id, told))
        if parent.finished:
            tracker.finish(run.metrics, trackers.figures(run.folder), int(rows[-1]["step"]))
        tracker.close()
        keep(run, name, State(tracker.id, told, parent.finished))


def subject(run: Run, known_as: str | None) -> Subject:
    """What a tracker is told of a run from the start."""
    command = run.info.get("command") or [""]
    *parents, name = run.folder.absolute().parts[-3:]
    return Subject(
        name="/".join([*parents, name]),
        group=" ".join(command) if Path(command[0]).name == "vae-sweep" else "/".join(parents),
        folder=run.folder,
        output_dir=run.folder.absolute().parents[2],
        config=run.stored,
        id=known_as,
    )


def kept_epoch(run: Run) -> int:
    """The epoch that a resumed run would go on from."""
    facts = run.checkpoint_facts()
    return int(facts["epoch"]) if facts else 0


def rows_until(run: Run, epoch: int | None) -> Sequence[Row]:
    """The rows of metrics.csv, of epochs up to this one."""
    return [row for row in run.history if epoch is None or row["epoch"] <= epoch]


def keep(run: Run, name: str, now: State) -> None:
    """Writes down how far a tracker is."""
    run.write_json(f"trackers/{name}.json", now._asdict())


def without_login(text: str) -> str:
    """A text without what addresses in it have before their host: http://user:password@host."""
    return re.sub(r"//[^/@\s]+@", "//", text)


def main(folder: str, name: str) -> None:
    """Follows a run; what fails is said in one line to the process that trains, and in full in the log."""
    words = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print
    if hasattr(os, "nice"):
        os.nice(19)
    parent = Parent()
    parent.start()
    try:
        follow(Run(folder), name, parent)
    except BaseException as error:
        sys.stderr.write(without_login(traceback.format_exc()))
        words.write(without_login(str(error)).strip().partition("\n")[0] or type(error).__name__)
        words.flush()
        sys.stderr.flush()
        os._exit(1)  # libraries' own threads may never end


if __name__ == "__main__":
    main(*sys.argv[1:])
