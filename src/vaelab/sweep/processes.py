"""Runs in worker processes: a worker does several runs, and one that dies loses only its own."""

from collections import deque
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from vaelab import Failure
from vaelab.commands import signals
from vaelab.commands.workers import follow_parent, portable, start
from vaelab.runs.request import Request


def perform(requests: Sequence[Request], processes: int, threads: int) -> dict[str, Exception]:
    """Does what is left of the runs in this many processes of so many threads; returns those that failed, by name.

    When this process ends, however it does, so do the workers; what they were at continues with the same command.
    """
    workers: dict[Connection, SpawnProcess] = {}
    with signals.at_end(lambda reason: stop(workers.values())):
        try:
            return _perform(deque(requests), workers, processes, threads)
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
    process, connection = start(_serve, threads, threads)
    workers[connection] = process
    return connection


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
    follow_parent()
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
