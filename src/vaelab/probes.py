"""Classes read off codes by three classifiers of scikit-learn, which see nothing but the codes."""

import warnings
from typing import NamedTuple

import numpy as np

from vaelab import machine

NEIGHBOURS = 5
HIDDEN = 100  # units of the small network's one layer
EPOCHS, STEPS = 100, 1000  # at most: of the network, of the logistic regression


class Read(NamedTuple):
    """What each classifier says of the codes (N,) that it has not learned from, and whether the linear one is done."""

    said: dict[str, np.ndarray]
    converged: bool


def read_off(codes: np.ndarray, labels: np.ndarray, others: np.ndarray, seed: int) -> Read:
    """Learns from codes (N, d) of two or more classes (N,), and names those of others (M, d).

    All features are scaled to mean 0 and variance 1 over the codes that are learned from. "linear" is a logistic
    regression, "knn" the vote of the 5 nearest codes, "mlp" a network of one hidden layer.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    classifiers = {
        "linear": LogisticRegression(max_iter=STEPS),
        "knn": KNeighborsClassifier(min(NEIGHBOURS, len(codes))),
        "mlp": MLPClassifier((HIDDEN,), max_iter=EPOCHS, random_state=seed),
    }
    scaler = StandardScaler().fit(codes)
    known, asked = scaler.transform(codes), scaler.transform(others)
    with threadpool_limits(limits=machine.own_cores()), warnings.catch_warnings():
        # Of the linear one it is told; the network just ends.
        warnings.simplefilter("ignore", ConvergenceWarning)
        said = {name: one.fit(known, labels).predict(asked) for name, one in classifiers.items()}
    return Read(said, bool(classifiers["linear"].n_iter_.max() < STEPS))
