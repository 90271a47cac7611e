"""Runs in worker processes: a worker does several runs, and one that dies loses only its own."""

import multiprocessing
import os
import pickle
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from threading import Thread

from vaelab import Failure
from vaelab.commands import signals
from vaelab.runs.request import Request


def perform(asked: Sequence[Request], processes: int, threads: int) -> dict[str, Exception]:
    """Does what is left of the runs in this many processes of so many threads; returns those that failed, by name.

    When this process ends, however it does, so do the workers; what they were at continues with the same command.
    """
    workers: dict[Connection, SpawnProcess] = {}
    with signals.at_end(lambda reason: stop(workers.values())):
        try:
            return _perform(deque(asked), workers, processes, threads)
        except BaseException:
            stop(workers.values())
            raise


def stop(workers: Iterable[SpawnProcess]) -> None:
    """Ends the workers, whose runs say then that they are interrupted."""
    for process in workers:
        process.terminate()
    for process in workers:
        process.join()


def _perform(
    waiting: deque[Request], workers: dict[Connection, SpawnProcess], processes: int, threads: int
) -> dict[str, Exception]:
    failures: dict[str, Exception] = {}
    busy: dict[Connection, Request] = {}
    while waiting or busy:
        while waiting and len(busy) < processes:
            idle = next((c for c in workers if c not in busy), None) or _start(workers, threads)
            try:
                idle.send(waiting[0])
            except OSError:  # it has died while it had nothing to do
                workers.pop(idle).join()
                continue
            busy[idle] = waiting.popleft()
        for connection in wait(list(busy)):
            assert isinstance(connection, Connection)
            one = busy.pop(connection)
            error = _outcome(connection, workers, one)
            if error:
                failures[one.name] = error
    for connection in workers:  # an idle worker ends when nothing more can come
        connection.close()
    for process in workers.values():
        process.join()
    return failures


def _start(workers: dict[Connection, SpawnProcess], threads: int) -> Connection:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, threads), daemon=True)
    with _environment_of_workers(threads):
        process.start()
    there.close()  # so that the end of the worker is the end of the pipe
    workers[here] = process
    return here


@contextmanager
def _environment_of_workers(threads: int) -> Iterator[None]:
    """Pins threads before libraries load, keeps bars from overwriting each other, leaves Ctrl-C to the parent."""
    wanted = {"OMP_NUM_THREADS": str(threads), "TQDM_DISABLE": "1"}
    before = {name: os.environ.get(name) for name in wanted}
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(wanted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _outcome(
    connection: Connection, workers: dict[Connection, SpawnProcess], one: Request
) -> Exception | None:
    try:
        error = connection.recv()
    except (EOFError, OSError):
        process = workers.pop(connection)
        process.join()
        if one.run.is_done():
            return None
        died = Failure(f"its process died (exit status {process.exitcode}); out of memory?")
        if one.run.info.get("status") == "running":
            one.run.fail(died)
        return died
    assert error is None or isinstance(error, Exception)
    return error


def _serve(connection: Connection, threads: int) -> None:
    signals.answer("SIGTERM", "SIGHUP")
    Thread(target=_follow_parent, daemon=True).start()
    import torch

    from vaelab.runs import perform as job

    torch.set_num_threads(threads)
    while True:
        try:
            one = connection.recv()
        except EOFError:
            return
        try:
            job.perform(one)
            connection.send(None)
        except Exception as error:
            connection.send(portable(error))


def _follow_parent() -> None:
    """Ends this process when its parent has, even by SIGKILL, which nobody can handle."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def portable(error: Exception) -> Exception:
    """The error without the frames that it holds, or its words where it cannot travel between processes."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return Failure(f"{type(error).__name__}: {error}")
    return error
