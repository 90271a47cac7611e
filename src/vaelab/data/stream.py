"""Reads from several threads what can only be read from its beginning to its end."""

from collections.abc import Callable, Iterator
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")
WINDOW = 4096  # items that are kept for threads that come late


class Stream(Generic[T]):
    """The items of an iterator by their numbers; one that is long past is reached by starting again.

    Several threads may ask at once, in about the order of the items: what is passed over waits for the others.
    """

    def __init__(self, start: Callable[[], Iterator[T]]) -> None:
        self._start = start
        self._items = start()
        self._next = 0
        self._waiting: dict[int, T] = {}
        self._lock = Lock()

    def take(self, numbers: range) -> list[T]:
        """The items of these numbers; EOFError where the stream ends before them."""
        with self._lock:
            return [self._take(number) for number in numbers]

    def _take(self, number: int) -> T:
        if number in self._waiting:
            return self._waiting.pop(number)
        if number < self._next:
            self._items, self._next = self._start(), 0
            self._waiting.clear()
        for item in self._items:
            self._next += 1
            if self._next > number:
                return item
            self._waiting[self._next - 1] = item
            self._waiting.pop(self._next - WINDOW, None)
        raise EOFError("it ends too early")
