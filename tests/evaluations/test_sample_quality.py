"""What judges generated samples, against references and on models whose samples are known."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from tests.evaluations.conftest import Make, digits
from torch import Tensor, nn

from vaelab import UsageError, losses
from vaelab.data import Batch
from vaelab.evaluations import (
    FID,
    AdversarialCurves,
    ClassPairs,
    Context,
    Diversity,
    GANTest,
    NearestNeighbours,
    Samples,
    Sharpness,
    ZInterpolations,
)
from vaelab.evaluations.base import seeded
from vaelab.evaluations.fid import RandomFeatures, distances, in_bytes
from vaelab.evaluations.generation import generated, source
from vaelab.evaluations.nearest_neighbours import copies, nearest

SIDE = 12
ADVERSARIAL = losses.Adversarial(0.0, 0.0, 0.0, 0.0, ())


class Memory(nn.Module):
    """A generator that answers with training images: those of the class asked for, others of it, or one alone."""

    offers: ClassVar[frozenset[str]] = frozenset({"generator", "classes"})
    noise = "normal"
    classes = 10

    def __init__(self, images: Tensor, labels: Tensor, shift: int = 0, single: bool = False) -> None:
        super().__init__()
        self.images, self.labels, self.shift, self.single = images, labels, shift, single

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.randn(count, 4, generator=generator)

    def generate(self, z: Tensor, label: Tensor) -> Tensor:
        if self.single:
            return self.images[:1].expand(len(z), -1, -1, -1)
        wanted = (label + self.shift) % 10
        chosen = []
        for number, code in zip(wanted.tolist(), z, strict=True):
            own = self.images[self.labels == number]
            chosen.append(own[int(code[0].abs() * 1000) % len(own)])
        return torch.stack(chosen)


def rows_of_history(accuracy: float, epochs: int = 4) -> list[dict[str, Any]]:
    return [
        {"epoch": e, "step": 10 * e, "split": split, "loss_discriminator": 1.0 / e, "loss_generator": 1.0 * e}
        | {"accuracy_real": accuracy, "accuracy_fake": accuracy}
        for e in range(1, epochs + 1)
        for split in ("train", "val")
    ]


@pytest.fixture
def game() -> Any:
    """game(shift=1): a context whose generator answers with training images of another class."""
    images, labels = digits(1, SIDE)

    def batches(split: str) -> Iterator[Batch]:
        rows = np.arange(123)[{"train": slice(0, 60), "val": slice(60, 80), "test": slice(80, 123)}[split]]
        for index in torch.from_numpy(rows).split(16):
            yield Batch(images[index], labels[index], index)

    def context(accuracy: float = 0.7, **settings: Any) -> Context:
        memory = Memory(images[:60], labels[:60], **settings)
        names = tuple("0123456789")
        return Context(
            memory, ADVERSARIAL, batches, names, rows_of_history(accuracy), "digits · memory · epoch 4"
        )

    return context


def test_samples_follow_from_the_seed_and_classes_take_turns(game: Any) -> None:
    made, again, other = (generated(game(), 25, seed) for seed in (0, 0, 1))
    assert torch.equal(made.images, again.images)
    assert not torch.equal(made.z, other.z)
    assert made.label is not None
    assert made.label.tolist() == [number % 10 for number in range(25)]
    assert source(game()) == "generator"


@pytest.mark.parametrize(
    ("kind", "kl_weight", "origin"),
    [
        ("vae", 1.0, "prior N(0, I)"),
        ("vae", 0.0, "Gaussian fitted to the codes"),
        ("ae", 1.0, "Gaussian fitted to the codes"),
    ],
)
def test_every_kind_of_model_generates(kind: str, kl_weight: float, origin: str, make: Make) -> None:
    context = make(kind, kl_weight=kl_weight)
    made = generated(context, 300, 0)
    assert source(context) == origin
    assert made.images.shape == (300, 1, 12, 12)
    torch.testing.assert_close(made.images[:5], context.model.decode(made.z[:5]).detach())
    if kind == "ae":  # the codes of an autoencoder have no variance of their own
        codes = torch.cat([context.model.encode(b.images).mean for b in context.batches("train")]).detach()
        # Both covariances come from few draws.
        scale = codes.T.cov().diagonal().max()
        torch.testing.assert_close(made.z.T.cov() / scale, codes.T.cov() / scale, rtol=0, atol=0.35)


@pytest.mark.parametrize(
    "evaluation",
    [
        AdversarialCurves(),
        Samples(count=10, seed=0, at_snapshots=True),
        ZInterpolations(pairs=3, steps=4, seed=0),
        ClassPairs(columns=5, seed=0),
        Diversity(pairs=20, seed=0),
        Sharpness(count=20, seed=0),
        NearestNeighbours(count=12, shown=3, neighbours=2, seed=0),
        GANTest(count=20, epochs=1, seed=0),
    ],
    ids=lambda e: type(e).__name__,
)
def test_it_draws_repeats_itself_and_leaves_torchs_generator_alone(evaluation: Any, game: Any) -> None:
    state = torch.get_rng_state()
    result, again = evaluation(game()), evaluation(game())
    assert torch.equal(state, torch.get_rng_state())
    assert result.draw is not None
    assert set(result.arrays) == set(again.arrays)
    for name, array in result.arrays.items():
        np.testing.assert_array_equal(array, again.arrays[name])
    assert result.metrics == again.metrics


def test_pairs_hold_the_noise_and_change_the_class(game: Any) -> None:
    arrays = ClassPairs(columns=6, seed=0)(game()).arrays
    assert arrays["image"].shape == (10, 6, SIDE, SIDE, 1)
    assert arrays["z"].shape == (6, 4)
    assert not np.array_equal(arrays["image"][0], arrays["image"][1])


def test_interpolations_keep_to_the_sphere_and_end_at_the_noise(game: Any) -> None:
    arrays = ZInterpolations(pairs=5, steps=7, seed=0)(game()).arrays
    drawn = torch.randn(10, 4, generator=torch.Generator().manual_seed(0)).numpy()
    np.testing.assert_allclose(arrays["z"][:, 0], drawn[:5], atol=1e-5)
    np.testing.assert_allclose(arrays["z"][:, -1], drawn[5:], atol=1e-5)
    norms = np.linalg.norm(arrays["z"], axis=-1)
    ends = np.sort(norms[:, [0, -1]], axis=1)
    straight = np.linalg.norm((arrays["z"][:, 0] + arrays["z"][:, -1]) / 2, axis=-1)
    assert (norms[:, 3] > straight - 1e-6).all()
    assert (norms[:, 3] <= ends[:, 1] + 1e-5).all()


def test_diversity_of_the_data_itself_is_that_of_the_data_and_of_one_image_is_a_collapse(game: Any) -> None:
    same = Diversity(pairs=200, seed=0)(game()).metrics
    assert same["diversity_ms_ssim"] == pytest.approx(same["diversity_ms_ssim_data"], abs=0.08)
    collapsed = Diversity(pairs=20, seed=0)(game(single=True))
    assert collapsed.metrics["diversity_ms_ssim"] == pytest.approx(1.0)
    assert collapsed.findings[0].startswith(
        "mode collapse: the samples are all alike (mean MS-SSIM of pairs 1.000"
    )
    assert not Diversity(pairs=20, seed=0)(game()).findings


def test_images_of_one_class_are_more_alike_than_images_of_all(game: Any) -> None:
    arrays = Diversity(pairs=100, seed=0)(game()).arrays
    assert arrays["class_ms_ssim"].shape == (10,)
    assert np.nanmean(arrays["class_ms_ssim"]) > arrays["ms_ssim"].mean()


def test_the_nearest_images_are_those_of_a_plain_search_and_copies_are_named(game: Any) -> None:
    context = game()
    images, _ = digits(1, SIDE)
    asked = images[80:90]
    distance, index = nearest(context, asked, 3)
    plain = ((asked[:, None] - images[None, :60]) ** 2).mean((2, 3, 4)).sqrt()
    expected = plain.topk(3, largest=False)
    torch.testing.assert_close(distance, expected.values, rtol=1e-4, atol=1e-5)
    assert torch.equal(index, expected.indices)
    result = NearestNeighbours(count=20, shown=4, neighbours=2, seed=0)(context)
    assert result.metrics["nearest_distance"] == pytest.approx(0, abs=1e-6)
    assert result.metrics["nearest_distance_data"] > 0.05
    assert result.findings[0].startswith("100% of the samples are nearer to a training image than 99%")
    np.testing.assert_array_equal(result.arrays["image"], result.arrays["neighbour"][:, 0])


def test_duplicates_in_the_data_do_not_hide_copies() -> None:
    real = np.concatenate((np.zeros(20), np.linspace(0.1, 0.3, 80)))  # a fifth is in the train split, too
    (found,) = copies(np.full(64, 0.03), real)
    assert found.startswith("100% of the samples are nearer")
    assert not copies(np.full(64, 0.2), real)
    assert not copies(np.zeros(64), np.zeros(5))


def test_gan_test_learns_wherever_it_is_called(game: Any) -> None:
    with torch.inference_mode():
        inside = GANTest(count=20, epochs=2, seed=0)(game())
        assert torch.is_inference_mode_enabled()
    assert inside.metrics == GANTest(count=20, epochs=2, seed=0)(game()).metrics


def test_gan_test_tells_the_right_classes_from_others(game: Any) -> None:
    right, wrong = (GANTest(count=50, epochs=40, seed=0)(game(shift=shift)) for shift in (0, 1))
    assert right.metrics["gan_test_accuracy"] > 0.95  # its own training images
    assert wrong.metrics["gan_test_accuracy"] < 0.05
    assert right.metrics["classifier_accuracy"] == wrong.metrics["classifier_accuracy"] > 0.4
    table = right.arrays["confusion_data"]
    assert table.shape == (10, 10)
    assert table.sum() == 43
    np.testing.assert_array_equal(right.arrays["confusion"].sum(1), np.full(10, 5))


@pytest.mark.parametrize(("accuracy", "won"), [(0.995, True), (0.98, False)])
def test_a_discriminator_that_won_is_said_in_words(accuracy: float, won: bool, game: Any) -> None:
    findings = AdversarialCurves()(game(accuracy)).findings
    assert [line.split(":")[0] for line in findings] == (["the discriminator won"] if won else [])
    if won:
        assert "above 0.99 from epoch 1 to 4" in findings[0]
    short = game(accuracy)
    short.history[:] = rows_of_history(accuracy, epochs=2)
    assert not AdversarialCurves()(short).findings


def test_steps_inside_the_epochs_are_drawn_where_there_are_more_of_them(game: Any) -> None:
    context = game()
    context.history.extend(
        {**row, "split": "steps", "step": step} for step, row in enumerate(context.history[:6])
    )
    assert AdversarialCurves()(context).arrays["step"].tolist() == [0, 1, 2, 3, 4, 5]
    assert AdversarialCurves()(game()).arrays["step"].tolist() == [10, 20, 30, 40]


def random_fid(count: int = 40) -> FID:
    return FID(count=count, network="random", weights=None, seed=0)


def features(images: Tensor) -> np.ndarray:
    network = RandomFeatures(0).eval()
    with torch.no_grad():
        return torch.cat([network(part) for part in in_bytes(images)]).double().numpy()


def test_fid_is_that_of_its_definition(game: Any) -> None:
    context = game(shift=3)
    pytest.importorskip("torchmetrics")
    found = random_fid()(context).metrics
    a = features(generated(context, 40, 0).images)
    rows = torch.linspace(0, 59, 40).round().long()
    b = features(digits(1, SIDE)[0][rows])
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    roots = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(0)).sum()  # of cov_a cov_b
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b) - 2 * roots
    assert found["fid_random"] == pytest.approx(expected, rel=0.02, abs=1e-5)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    off = 1 - np.eye(40)
    kid = (kernel(a, a) * off + kernel(b, b) * off).sum() / (40 * 39) - 2 * kernel(a, b).mean()
    assert found["kid_random"] == pytest.approx(kid, rel=0.02, abs=1e-6)


def test_distances_agree_with_their_definitions_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchmetrics")
    monkeypatch.setattr("vaelab.evaluations.fid.SUBSET", 100)
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(300, 8, generator=generator)
    b = torch.randn(400, 8, generator=generator) @ torch.randn(8, 8, generator=generator) + 0.5
    x, y = a.double().numpy(), b.double().numpy()
    cov_a, cov_b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    roots = sqrtm(cov_a @ cov_b).real.trace()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b) - 2 * roots
    with seeded(0):
        found, itself = distances(a, b), distances(a, a)
    assert found["fid"] == pytest.approx(expected, rel=1e-9)
    assert itself["fid"] == pytest.approx(0, abs=1e-9)
    kernels = [((u @ v.T / 8 + 1) ** 3) for u, v in ((x, x), (y, y), (x, y))]
    same = sum((k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in kernels[:2])
    kid = same - 2 * kernels[2].mean()  # of all images; that of a subset has this expectation
    assert found["kid_std"] > 0
    assert abs(found["kid"] - kid) < 3 * found["kid_std"]


def test_few_images_and_missing_weights_are_said_in_words(
    game: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "fewer than its 64 features" in random_fid()(game()).findings[0]
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    inception = FID(count=10, network="inception", weights=None, seed=0)(game())
    assert inception.metrics == {}
    assert "evaluation.fid.weights=FILE" in inception.findings[0]
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    assert FID(10, "random", None, 0)(game()).findings == ("fid is not measured: pip install 'vaelab[fid]'",)


class Harmful:
    """Makes a file where a pickle of it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_wrong_weights_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "wrong.pth").write_bytes(b"no weights")
    torch.save({"fc.weight": torch.zeros(10, 5)}, tmp_path / "other.pth")
    torch.save(Harmful(tmp_path / "harm"), tmp_path / "harmful.pth")
    missing = [("missing.pth", "is not a file")]
    for name, message in [*missing, *((f"{n}.pth", "does not hold") for n in ("wrong", "other", "harmful"))]:
        with pytest.raises(UsageError, match=message):
            FID(count=10, network="inception", weights=str(tmp_path / name), seed=0)
    assert not (tmp_path / "harm").exists()
    torch.save({"fc.weight": torch.zeros(1008, 2048)}, tmp_path / "part.pth")
    pytest.importorskip("torch_fidelity")
    with pytest.raises(UsageError, match="does not hold"):
        FID(count=10, network="inception", weights=str(tmp_path / "part.pth"), seed=0).features()


def test_inception_features_are_those_of_torch_fidelity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    file = tmp_path / "weights.pth"
    with monkeypatch.context() as patch, seeded(0):  # its network without a file: random weights
        patch.setattr(library, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(library.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        reference = library.FeatureExtractorInceptionV3("reference", ["2048"])
    torch.save(reference.state_dict(), file)
    network = FID(count=10, network="inception", weights=str(file), seed=0).features()
    (images,) = in_bytes(digits(1, SIDE)[0][:2])
    with torch.inference_mode():
        (expected,) = reference(images)
        found = network(images)
    assert expected.shape == (2, network.num_features)
    assert expected.std() > 0
    torch.testing.assert_close(found, expected)
