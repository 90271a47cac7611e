"""The codes of the test images in two dimensions."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch

from vaelab import figures
from vaelab.bounds import Between
from vaelab.evaluations.base import Context, Result, chosen, size_of, spread

SEED = 0
PERPLEXITY = 30.0
MOST_VALUES = 2**26  # of all codes that are kept: 256 MB
IN_ATLAS = 200  # images of the test split that an atlas has, which a report looks for in the map
PRINCIPAL = 50  # dimensions that t-SNE is given (van der Maaten & Hinton 2008, section 4.2, reduce to 30)


@dataclass(frozen=True)
class LatentSpace:
    """Posterior means of at most `points` test images by PCA or t-SNE; one and two dimensions are shown as they are.

    Of more images, and where codes are so large that these would not fit, a subset spread evenly over the split.
    """

    method: Literal["pca", "tsne"]
    points: Annotated[int, Between(1, 1_000_000)]
    needs: ClassVar[str] = "encoder"

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        total = size_of(context, "test")
        arrays = _codes(context, total, self.points)
        finite = np.isfinite(arrays["mean"]).all(1)
        if not finite.any():
            return Result({}, None, findings=("no latent space: no code of a test image is finite",))
        lost = np.count_nonzero(~finite)
        findings = (f"{lost:,} codes are left out, which are not finite",) if lost else ()
        shown = f"{len(finite):,} of {total:,} test images · " if len(finite) < total else ""
        arrays = {name: values[finite] for name, values in arrays.items()}
        embedding, axes, method = embed(arrays["mean"], self.method)
        classes, told = figures.class_names(context.classes)
        title = f"Latent space ({method}) · {shown}{context.title}{told}"
        figure = figures.scatter(embedding, axes, arrays.get("label"), classes, title)
        return Result(arrays | {"embedding": embedding}, figure, findings=findings)


def embed(codes: np.ndarray, method: str) -> tuple[np.ndarray, tuple[str, str], str]:
    """Codes (N, d) to points (N, 2) float32, the labels of the two axes, and the method in words."""
    if codes.shape[1] == 1:  # the second axis only draws the points apart
        strip = np.column_stack((codes[:, 0], np.linspace(0, 1, len(codes)))).astype(np.float32)
        return strip, ("z0", "place of the image in the test split, 0 to 1"), "its one dimension"
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


def _codes(context: Context, total: int, points: int) -> dict[str, np.ndarray]:
    """mean (N, d) and index (N,) of at most `points` test images; log_variance and label (N,) where there are such."""
    parts: dict[str, list[np.ndarray]] = {}
    first = next(iter(context.batches("test")))
    size = int(context.model.encode(first.images[:1]).mean.numel())  # type: ignore[operator]
    places = _places(total, min(points, max(1, MOST_VALUES // size)))
    for batch, inside in chosen(context, "test", places):
        if not len(inside):
            continue
        posterior: Any = context.model.encode(batch.images)  # type: ignore[operator]
        found = {"mean": posterior.mean, "log_variance": getattr(posterior, "log_variance", None)}
        for name, code in found.items():
            if code is not None:
                parts.setdefault(name, []).append(code[inside].float().flatten(1).cpu().numpy())
        parts.setdefault("index", []).append(torch.as_tensor(batch.index)[inside].cpu().numpy())
        if batch.labels is not None:
            parts.setdefault("label", []).append(batch.labels[inside].cpu().numpy())
    return {name: np.concatenate(part) for name, part in parts.items()}


def _places(total: int, points: int) -> torch.Tensor:
    """Places spread evenly over the test split, among them those of an atlas's images."""
    places = spread(total, points)
    of_atlas = spread(total, min(IN_ATLAS, points))
    places[torch.searchsorted(places, of_atlas)] = of_atlas
    return places
