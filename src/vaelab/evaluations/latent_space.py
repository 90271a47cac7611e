"""The codes of the test images in two dimensions."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch

from vaelab import figures
from vaelab.bounds import Between
from vaelab.evaluations.base import Context, Result

SEED = 0
PERPLEXITY = 30.0
PRINCIPAL = 50  # dimensions that t-SNE is given (van der Maaten & Hinton 2008, section 4.2, reduce to 30)


@dataclass(frozen=True)
class LatentSpace:
    """Posterior means of at most `points` test images by PCA or t-SNE; two dimensions are shown as they are."""

    method: Literal["pca", "tsne"]
    points: Annotated[int, Between(1, 1_000_000)]
    needs: ClassVar[str] = "encoder"

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        arrays = _codes(context, self.points)
        embedding, axes, method = embed(arrays["mean"], self.method)
        figure = figures.scatter(
            embedding,
            axes,
            arrays.get("label"),
            context.classes,
            f"Latent space ({method}) · {context.title}",
        )
        return Result(arrays | {"embedding": embedding}, figure)


def embed(codes: np.ndarray, method: str) -> tuple[np.ndarray, tuple[str, str], str]:
    """Codes (N, d) to points (N, 2) float32, the labels of the two axes, and the method in words."""
    if codes.shape[1] == 2:
        return codes, ("z0", "z1"), "its two dimensions"
    # A plane takes three points, and codes that are all the same have no direction.
    if len(codes) < 3 or not np.ptp(codes, axis=0).any():
        plane = np.pad(codes, ((0, 0), (0, 1)))[:, :2]
        return plane, ("z0", "z1"), "first two dimensions"
    if method == "pca":
        return _pca(codes)
    return _tsne(codes)


def _pca(codes: np.ndarray) -> tuple[np.ndarray, tuple[str, str], str]:
    from sklearn.decomposition import PCA

    pca = PCA(n_components=2, random_state=SEED)
    points = pca.fit_transform(codes)
    shares = pca.explained_variance_ratio_
    axes = [f"principal component {i + 1} ({share:.0%} of the variance)" for i, share in enumerate(shares)]
    return points.astype(np.float32), (axes[0], axes[1]), "PCA"


def _tsne(codes: np.ndarray) -> tuple[np.ndarray, tuple[str, str], str]:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if min(codes.shape) > PRINCIPAL:
        codes = PCA(n_components=PRINCIPAL, random_state=SEED).fit_transform(codes)
    perplexity = min(PERPLEXITY, (len(codes) - 1) / 3)
    tsne = TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=SEED)
    # One thread: sums of several come in any order, and on a busy machine their many short turns wait on each other.
    with threadpool_limits(limits=1):
        points = tsne.fit_transform(codes)
    return points.astype(np.float32), ("t-SNE 1", "t-SNE 2"), "t-SNE"


def _codes(context: Context, points: int) -> dict[str, np.ndarray]:
    """mean (N, d) and index (N,) of at most `points` test images; log_variance and label (N,) where there are such."""
    parts: dict[str, list[np.ndarray]] = {}
    images = 0
    for batch in context.batches("test"):
        posterior: Any = context.model.encode(batch.images)  # type: ignore[operator]
        found = {"mean": posterior.mean, "log_variance": getattr(posterior, "log_variance", None)}
        for name, code in found.items():
            if code is not None:
                parts.setdefault(name, []).append(code.float().flatten(1).cpu().numpy())
        parts.setdefault("index", []).append(torch.as_tensor(batch.index).cpu().numpy())
        if batch.labels is not None:
            parts.setdefault("label", []).append(batch.labels.cpu().numpy())
        images += len(batch.images)
        if images >= points:
            break
    return {name: np.concatenate(part)[:points] for name, part in parts.items()}
