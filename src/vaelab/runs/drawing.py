"""Figures drawn, and what needs no model computed, by processes beside the one that trains and measures."""

import multiprocessing
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from vaelab import Failure, canvas, machine, moving
from vaelab.canvas import Drawing
from vaelab.commands.workers import follow_parent, portable, start

MOST_PROCESSES = 4  # more of them take longer to start than one run's figures to be drawn
LONGEST_WAIT = 0.05  # seconds
SHORT_WAIT = 0.005  # seconds, where others than the workers are waited for
MOST_SENT = 64 << 20  # bytes; what is larger would be in memory thrice, and is done here


class Task(NamedTuple):
    """A call, pickled, and where its result goes; in the background it leaves the cores to whoever wants them."""

    call: bytes
    background: bool
    future: Future[Any]


class Workers:
    """Processes that do what needs no model, one call after another; they end with this process, however it ends.

    They start when there is something to do. On one core, in a process that may start none, and with `processes` 0,
    calls are done here and at once.
    """

    def __init__(self, processes: int | None = None) -> None:
        self._most = most_processes() if processes is None else processes
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._drivers: list[threading.Thread] = []  # one for each process, which hands it its calls
        self._processes: list[SpawnProcess] = []
        self._unfinished = 0
        self._alive = 0
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)  # a call has
        self._released = threading.Event()
        self._released.set()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Waits for what is left to do; after an exception nothing of it is done."""
        if kind is not None:
            for process in self._processes:
                process.terminate()
        for _driver in self._drivers:
            self._tasks.put(None)
        for driver in self._drivers:
            driver.join()

    def submit(self, call: Callable[[], Any], background: bool = False) -> Future[Any]:
        """Has a call done that can be pickled; one that cannot, or is large, is done here."""
        future: Future[Any] = Future()
        try:
            pickled = pickle.dumps(call) if self._most else b""
        except Exception:  # of a user's own; pickles fail in many ways
            pickled = b""
        if not 0 < len(pickled) <= MOST_SENT:
            _settle(future, _outcome(call))
            return future
        with self._lock:
            self._unfinished += 1
            if self._alive < min(self._most, self._unfinished):
                self._start()
            self._tasks.put(Task(pickled, background, future))
        return future

    def help(self) -> None:
        """Does a call that no process has begun, or waits a moment: for who has nothing else to do."""
        if task := self._untouched():
            self._finish(task, _outcome(lambda: pickle.loads(task.call)()))
            return
        with self._ended:
            self._ended.wait(LONGEST_WAIT if self._unfinished else SHORT_WAIT)

    @contextmanager
    def held(self, hold: bool) -> Iterator[None]:
        """While within, no further call is begun: on a CPU a busy neighbour holds up each step of a network."""
        if hold:
            self._released.clear()
        try:
            yield
        finally:
            self._released.set()

    def _start(self) -> None:
        process, connection = start(_serve, 1)
        driver = threading.Thread(target=self._drive, args=(process, connection), daemon=True)
        self._processes.append(process)
        self._drivers.append(driver)
        self._alive += 1
        driver.start()

    def _drive(self, process: SpawnProcess, connection: Connection) -> None:
        with connection:
            while task := self._tasks.get():
                self._released.wait()
                try:
                    connection.send((task.call, task.background))
                    error, value = connection.recv()
                except (EOFError, OSError):
                    return self._bury(process, task)
                self._finish(task, (error, None) if error else _outcome(partial(pickle.loads, value)))
        process.join()

    def _bury(self, process: SpawnProcess, task: Task) -> None:
        """Fails the call that a process died of, and all that are left where it was the last one."""
        process.join()
        died = Failure(f"a process that draws figures died (exit status {process.exitcode}); out of memory?")
        self._finish(task, (died, None))
        left: list[Task] = []
        with self._lock:  # so that none is taken that was given to a process of later
            self._alive -= 1
            while not self._alive and (task_left := self._untouched()):
                left.append(task_left)
        for task_left in left:
            self._finish(task_left, (died, None))

    def _untouched(self) -> Task | None:
        with suppress(Empty):
            return self._tasks.get_nowait()
        return None

    def _finish(self, task: Task, outcome: "Outcome") -> None:
        _settle(task.future, outcome)
        with self._ended:
            self._unfinished -= 1
            self._ended.notify_all()


Outcome = tuple[Exception | None, Any]


class Drawer:
    """Draws the figures of one run; raises in words what kept a figure from the disk, at the next one or at the end."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self._pending: list[Future[Any]] = []

    def draw(self, draw: Drawing, path: Path, dpi: int, background: bool = False) -> Future[Any]:
        """Has a figure drawn into a PNG, whole or not at all; in the background while a run is trained."""
        self.is_done()
        future = self.workers.submit(partial(_save, draw, path, dpi), background)
        self._pending.append(future)
        return future

    def animate(self, frames: moving.Moving, path: Path) -> None:
        """Has a moving picture encoded into a GIF, whole or not at all."""
        self._pending.append(self.workers.submit(partial(moving.save_gif, frames, path)))

    def is_done(self) -> bool:
        """Whether all figures are on the disk; raises the first failure."""
        for future in self._pending:
            if future.done():
                future.result()
        self._pending = [future for future in self._pending if not future.done()]
        return not self._pending

    def wait(self) -> None:
        """Returns when all figures are on the disk; raises the first failure."""
        while not self.is_done():
            self.workers.help()


def _save(draw: Drawing, path: Path, dpi: int) -> None:
    canvas.save(draw(), path, dpi)


def most_processes(runs: int = 1) -> int:
    """How many processes may draw the figures of so many runs beside this one.

    None beside a worker, nor a thread that starts no processes.
    """
    if multiprocessing.current_process().daemon or threading.current_thread() is not threading.main_thread():
        return 0
    return min(MOST_PROCESSES + runs - 1, machine.cores() - 1)


def _serve(connection: Connection) -> None:
    follow_parent()
    background = ThreadPoolExecutor(1, initializer=_give_way)
    while True:
        try:
            call, in_background = connection.recv()
        except EOFError:
            return
        connection.send(background.submit(_done, call).result() if in_background else _done(call))


def _give_way() -> None:
    """Lets other threads have the cores when they want them, where the system ranks threads one by one."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


def _done(pickled: bytes) -> Outcome:
    """The outcome of a pickled call, pickled: what cannot be sent is an error too."""
    error, value = _outcome(lambda: pickle.dumps(pickle.loads(pickled)()))
    return error and portable(error), value


def _outcome(call: Callable[[], Any]) -> Outcome:
    try:
        return None, call()
    except Exception as error:
        return error, None


def _settle(future: Future[Any], outcome: Outcome) -> None:
    error, value = outcome
    if error:
        future.set_exception(error)
    else:
        future.set_result(value)
