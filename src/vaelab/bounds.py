"""What a number of the configuration must keep to, said in its type hint: Annotated[int, AtLeast(1)]."""

import math
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class AtLeast:
    """The smallest value that a number may have."""

    low: float

    def __str__(self) -> str:
        return f"at least {self.low}"

    def holds(self, value: float) -> bool:
        """Whether the value is finite and not below the bound."""
        return self.low <= value < math.inf


@dataclass(frozen=True)
class Above:
    """The value that a number must exceed."""

    low: float

    def __str__(self) -> str:
        return f"above {self.low}"

    def holds(self, value: float) -> bool:
        """Whether the value is finite and exceeds the bound."""
        return self.low < value < math.inf


@dataclass(frozen=True)
class Between:
    """The smallest and the largest value that a number may have."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"from {self.low} to {self.high}"

    def holds(self, value: float) -> bool:
        """Whether the value lies between the bounds or on one of them."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Inside:
    """The bounds between which a number must lie, and which it must not have."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"above {self.low} and below {self.high}"

    def holds(self, value: float) -> bool:
        """Whether the value lies between the bounds."""
        return self.low < value < self.high


@dataclass(frozen=True)
class Filled:
    """Text that is not empty."""

    def __str__(self) -> str:
        return "of one or more characters"

    def holds(self, value: str) -> bool:
        """Whether there is more than white space."""
        return bool(value.strip())


Count = Annotated[int, AtLeast(1)]
Width = Annotated[int, Between(1, 65_536)]  # of a layer or a code; what is wider fits no memory
Maps = Annotated[int, Between(1, 4096)]  # channels of a convolution
Side = Annotated[int, Between(2, 4096)]  # of an image, in pixels
Seed = Annotated[int, Between(0, 2**64 - 1)]  # what torch takes
Dpi = Annotated[int, Between(10, 1200)]  # pictures of 100 megapixels

# Images or codes in a row of a figure, in a grid, made to be measured; points on a line.
Few = Annotated[int, Between(1, 100)]
Many = Annotated[int, Between(1, 4096)]
Made = Annotated[int, Between(1, 100_000)]
Steps = Annotated[int, Between(2, 100)]
