"""How far a difference between two λ is known: paired over test images, or over seeds."""

import math
from dataclasses import dataclass, replace

import numpy as np

from vaelab.report.records import Group

LEVEL = 0.95
SEEDS = 3  # of both, from which the interval is one over seeds
LEAST = 30  # images, for an interval of the normal distribution


@dataclass(frozen=True)
class Difference:
    """A difference of means, with half the width of its interval, and over what it is."""

    value: float
    half_width: float
    over: str

    @property
    def is_sure(self) -> bool:
        """Whether the interval is on one side of 0."""
        return abs(self.value) > self.half_width

    def words(self, digits: int, unit: str) -> str:
        """The difference with its interval."""
        over = f"{LEVEL:.0%} interval, {self.over}"
        return f"{self.value:.{digits}f} ± {self.half_width:.{digits}f}{unit} ({over})"


def between(one: Group, other: Group, metric: str, sign: int = 1) -> Difference | None:
    """How much more of a metric, times its sign, one λ has than another; None where its spread is not known."""
    found = _over_seeds(one, other, metric) or _over_images(one, other, metric)
    return found and replace(found, value=sign * found.value)


def _over_seeds(one: Group, other: Group, metric: str) -> Difference | None:
    """Paired over the seeds that both have."""
    a, b = (
        {str(r.seed): v for r in group.records if math.isfinite(v := r.metric(metric))}
        for group in (one, other)
    )
    seeds = sorted(a.keys() & b.keys())
    if len(seeds) < SEEDS:
        return None
    apart = np.array([a[seed] - b[seed] for seed in seeds])
    from scipy.stats import t

    width = float(t.ppf((1 + LEVEL) / 2, len(apart) - 1) * apart.std(ddof=1) / math.sqrt(len(apart)))
    return Difference(float(apart.mean()), width, f"paired over {len(apart)} seeds")


def _over_images(one: Group, other: Group, metric: str) -> Difference | None:
    """Paired over the test images of the first run of each."""
    first = [group.records[0] for group in (one, other)]
    stored = [record.arrays("test_metrics", **{"index": "n", metric: "n"}) for record in first]
    if not all(stored) or not np.array_equal(stored[0]["index"], stored[1]["index"]):
        return None
    apart = stored[0][metric].astype(np.float64) - stored[1][metric]
    if len(apart) < LEAST or not np.isfinite(apart).all():
        return None
    width = 1.96 * float(apart.std(ddof=1)) / math.sqrt(len(apart))
    return Difference(float(apart.mean()), width, f"paired over {len(apart):,} test images")
