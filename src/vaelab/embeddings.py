"""Codes in the plane, by PCA or t-SNE."""

import numpy as np

from vaelab import machine

SEED = 0
PERPLEXITY = 30.0
PRINCIPAL = 50  # dimensions that t-SNE is given (van der Maaten & Hinton 2008, section 4.2, reduce to 30)

Embedding = tuple[
    np.ndarray, tuple[str, str], str
]  # points (N, 2) float32, labels of the axes, method in words


def embed(codes: np.ndarray, method: str) -> Embedding:
    """Codes (N, d) by `pca` or `tsne`; of one and two dimensions, and where no method applies, as they are."""
    if codes.shape[1] == 1:  # the second axis only draws the points apart
        strip = np.column_stack((codes[:, 0], np.linspace(0, 1, len(codes)))).astype(np.float32)
        return strip, ("z0", "place of the image in the test split, 0 to 1"), "its one dimension"
    if codes.shape[1] == 2:
        return codes, ("z0", "z1"), "its two dimensions"
    # A plane takes three points, and codes that are all the same have no direction.
    if len(codes) < 3 or not np.ptp(codes, axis=0).any():
        plane = np.pad(codes, ((0, 0), (0, 1)))[:, :2]
        return plane, ("z0", "z1"), "first two dimensions"
    import sklearn.manifold  # noqa: F401 - limits hold for what has loaded
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(limits=machine.own_cores()):
        return _pca(codes) if method == "pca" else _tsne(codes)


def _pca(codes: np.ndarray) -> Embedding:
    from sklearn.decomposition import PCA

    pca = PCA(n_components=2, random_state=SEED)
    points = pca.fit_transform(codes)
    shares = pca.explained_variance_ratio_
    axes = [f"principal component {i + 1} ({share:.0%} of the variance)" for i, share in enumerate(shares)]
    return points.astype(np.float32), (axes[0], axes[1]), "PCA"


def _tsne(codes: np.ndarray) -> Embedding:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if min(codes.shape) > PRINCIPAL:
        codes = PCA(n_components=PRINCIPAL, random_state=SEED).fit_transform(codes)
    perplexity = min(PERPLEXITY, (len(codes) - 1) / 3)
    points = TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=SEED).fit_transform(codes)
    return points.astype(np.float32), ("t-SNE 1", "t-SNE 2"), "t-SNE"
