"""Evaluations: what their arrays hold, and that the same model gives the same arrays."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from vaelab import UsageError
from vaelab.checks import check_arguments
from vaelab.evaluations import (
    Atlas,
    Context,
    Interpolations,
    KLPerDimension,
    LatentEdit,
    LatentSpace,
    LearningCurve,
    NoisePerturbation,
    PriorSamples,
    Reconstructions,
    Result,
    TestMetrics,
    Traversals,
    measure,
)
from vaelab.evaluations.interpolations import choose_pairs, lerp, slerp
from vaelab.evaluations.prior_samples import aggregate_posterior_samples

Make = Callable[..., Context]

LEARNING_CURVE = LearningCurve()
RECONSTRUCTIONS = Reconstructions(count=11, at_snapshots=True)
PRIOR_SAMPLES = PriorSamples(count=9, seed=0)
INTERPOLATIONS = Interpolations(pairs=3, steps=5, method="lerp")
TRAVERSALS = Traversals(dimensions=4, steps=7, limit=3.0, start="image")
PCA = LatentSpace(method="pca", points=1000)
TSNE = LatentSpace(method="tsne", points=30)
KL = KLPerDimension()
ATLAS = Atlas(steps=5, strip_steps=3, dimensions=4, images=20)
METRICS = TestMetrics(examples=3, seed=0, splits=["test"], verify=True)
EDIT = LatentEdit(
    index=[70, 3], edits=[{"dim": 0, "add": 2.0}, {"dim": -1, "set": 0.0}, {"dim": 1, "scale": 3.0}]
)
PERTURBATION = NoisePerturbation(index=[5, 71, 1], first_index=1, copies=4, sigma=0.5, seed=3)
OF_AUTOENCODERS = [
    LEARNING_CURVE,
    RECONSTRUCTIONS,
    INTERPOLATIONS,
    ATLAS,
    PCA,
    TSNE,
    METRICS,
    EDIT,
    PERTURBATION,
]
ALL = [*OF_AUTOENCODERS, PRIOR_SAMPLES, TRAVERSALS, KL]


def name(evaluation: Any) -> str:
    return f"{type(evaluation).__name__}-{getattr(evaluation, 'method', '')}"


def images(batches: Any) -> np.ndarray:
    return torch.cat([batch.images for batch in batches]).movedim(1, -1).numpy()


def assert_images(array: np.ndarray, shape: tuple[int, ...]) -> None:
    assert array.dtype == np.float32
    assert array.shape == shape
    assert array.min() >= 0
    assert array.max() <= 1


def drawn(result: Result) -> str:
    """The figure's title, after drawing it."""
    assert result.draw is not None
    figure = result.draw()
    figure.canvas.draw()
    return " ".join(figure.get_suptitle().split())


@pytest.mark.parametrize("evaluation", ALL, ids=name)
@pytest.mark.parametrize("kind", ["vae", "plane", "spatial"])
def test_every_evaluation_draws_every_vae(evaluation: Any, kind: str, make: Make) -> None:
    context = make(kind, channels=3 if kind == "vae" else 1, labelled=kind != "spatial")
    result = evaluation(context)
    assert drawn(result).endswith(context.title)
    assert all(array.dtype != object for array in result.arrays.values())


@pytest.mark.parametrize("evaluation", OF_AUTOENCODERS, ids=name)
def test_evaluations_without_a_posterior_draw_an_autoencoder(evaluation: Any, make: Make) -> None:
    assert getattr(evaluation, "needs", None) in (None, "encoder")
    assert drawn(evaluation(make("ae", channels=3))).endswith("digits · ae · epoch 3")


def test_those_that_need_a_posterior_say_so() -> None:
    assert {evaluation.needs for evaluation in (TRAVERSALS, KL)} == {"posterior"}
    assert PRIOR_SAMPLES.needs == "prior"


@pytest.mark.parametrize("evaluation", ALL, ids=name)
def test_the_same_model_gives_the_same_and_torchs_generator_is_left_alone(
    evaluation: Any, make: Make
) -> None:
    context = make(kl_weight=0.0)
    torch.manual_seed(1)
    first = evaluation(context)
    after = torch.rand(1)
    torch.manual_seed(2)
    second = evaluation(context)
    assert first.metrics == second.metrics
    assert first.arrays.keys() == second.arrays.keys()
    for key, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[key])
    torch.manual_seed(1)
    assert torch.rand(1) == after


def test_learning_curve_holds_what_is_plotted(make: Make) -> None:
    result = LEARNING_CURVE(make(kl_weight=1.0))
    assert result.arrays["train_epoch"].tolist() == [1, 2, 3]
    assert result.arrays["val_negative_elbo"].tolist() == pytest.approx([307, 159, 111])
    assert set(result.arrays) == {
        f"{s}_{n}" for s in ("train", "val") for n in ("epoch", "negative_elbo", "reconstruction", "kl")
    }
    assert result.draw is not None
    figure = result.draw()
    assert len(figure.axes) == 3
    styles = {line.get_label(): line.get_linestyle() for line in figure.axes[0].lines}
    assert styles == {"train": "--", "val": "-"}


def test_learning_curve_shows_the_weighted_loss_where_it_differs(make: Make) -> None:
    result = LEARNING_CURVE(make(kl_weight=5.0))
    assert result.arrays["train_loss"].tolist() == pytest.approx([310, 170, 130])


def test_learning_curve_of_an_autoencoder_is_its_reconstruction(make: Make) -> None:
    result = LEARNING_CURVE(make("ae"))
    assert set(result.arrays) == {"train_epoch", "train_reconstruction", "val_epoch", "val_reconstruction"}


def test_reconstructions_are_those_of_the_posterior_mean(make: Make) -> None:
    context = make(channels=3)
    arrays = RECONSTRUCTIONS(context).arrays
    assert_images(arrays["original"], (11, 12, 12, 3))
    assert_images(arrays["reconstruction"], (11, 12, 12, 3))
    test = images(context.batches("test"))
    spread = np.linspace(0, len(test) - 1, 11).round().astype(int)  # from the first to the last
    assert arrays["index"].tolist() == (80 + spread).tolist()
    np.testing.assert_array_equal(arrays["original"], test[spread])
    with torch.no_grad():
        x = torch.from_numpy(arrays["original"]).movedim(-1, 1)
        expected = context.model.decode(context.model.encode(x).mean).movedim(1, -1)
    np.testing.assert_allclose(arrays["reconstruction"], expected, atol=1e-6)


def test_fewer_test_images_than_asked_for(make: Make) -> None:
    context = make(tests=2)
    assert RECONSTRUCTIONS(context).arrays["index"].tolist() == [80, 81]
    for evaluation in ALL:
        drawn(evaluation(context))


def test_one_test_image_has_no_interpolation(make: Make) -> None:
    result = INTERPOLATIONS(make(tests=1))
    assert (result.arrays, result.draw) == ({}, None)
    assert "fewer than two images" in result.findings[0]
    drawn(METRICS(make(tests=1)))


def test_an_empty_test_split_is_refused_in_words(make: Make) -> None:
    with pytest.raises(UsageError, match="the test split has no image"):
        RECONSTRUCTIONS(make(tests=0))


def test_prior_samples_decode_standard_normal_numbers(make: Make) -> None:
    context = make("spatial")
    arrays = PriorSamples(count=64, seed=0)(context).arrays
    assert set(arrays) == {"z", "image"}
    assert arrays["z"].shape == (64, 2, 10, 10)
    assert arrays["z"].mean() == pytest.approx(0, abs=0.05)
    assert arrays["z"].std() == pytest.approx(1, abs=0.05)
    assert_images(arrays["image"], (64, 12, 12, 1))


def test_prior_samples_stand_beside_the_aggregate_posterior_at_zero_weight(make: Make) -> None:
    result = PRIOR_SAMPLES(make(kl_weight=0.0))
    assert_images(result.arrays["aggregate_image"], (9, 12, 12, 1))
    assert result.arrays["aggregate_z"].shape == (9, 6)
    assert result.draw is not None
    assert [ax.get_title() for ax in result.draw().axes] == [
        "prior N(0, I)",
        "Gaussian fitted to the aggregate posterior",
    ]


def test_aggregate_samples_have_the_moments_of_the_aggregate_posterior(make: Make) -> None:
    context = make(kl_weight=0.0)
    with torch.no_grad():
        posterior = context.model.encode(torch.cat([batch.images for batch in context.batches("train")]))
        z = aggregate_posterior_samples(context, 200_000, seed=0)
    mean, variance = posterior.mean.double(), posterior.log_variance.double().exp()
    covariance = torch.cov(mean.T, correction=0) + torch.diag(variance.mean(0))
    spread = covariance.diagonal().sqrt()
    assert ((z.double().mean(0) - mean.mean(0)) / spread).abs().max() < 0.02
    assert ((torch.cov(z.double().T) - covariance) / spread / spread[:, None]).abs().max() < 0.02


def test_interpolations_lead_from_one_posterior_mean_to_another(make: Make) -> None:
    context = make()
    arrays = INTERPOLATIONS(context).arrays
    assert_images(arrays["image"], (3, 5, 12, 12, 1))
    assert arrays["z"].shape == (3, 5, 6)
    assert arrays["index"].shape == (3, 2)
    test = images(context.batches("test"))
    with torch.no_grad():
        x = torch.from_numpy(test[arrays["index"] - 80]).movedim(-1, 2)
        mean = context.model.encode(x.flatten(0, 1)).mean.reshape(3, 2, 6).numpy()
    np.testing.assert_allclose(arrays["z"][:, [0, -1]], mean, atol=1e-6)
    np.testing.assert_allclose(arrays["z"][:, 2], mean.mean(1), atol=1e-6)


def test_slerp_agrees_with_geometry() -> None:
    t = torch.linspace(0, 1, 7)
    a, b = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0, 1.0, 0]])
    expected = torch.stack((torch.cos(t * math.pi / 2), torch.sin(t * math.pi / 2), 0 * t), -1)[None]
    torch.testing.assert_close(slerp(a, b, t), expected)
    a, b = torch.nn.functional.normalize(
        torch.randn(2, 20, 6, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    way = slerp(a, b, t)
    torch.testing.assert_close(way.norm(dim=-1), torch.ones(20, 7))
    torch.testing.assert_close(way[:, 0], a)
    torch.testing.assert_close(way[:, -1], b)


def test_slerp_is_straight_where_there_is_no_arc() -> None:
    t = torch.linspace(0, 1, 3)
    a = torch.tensor([[1.0, 2], [1.0, 2], [0, 0]])
    b = torch.tensor([[2.0, 4], [-1.0, -2], [3.0, 1]])
    way = slerp(a, b, t)
    assert way.isfinite().all()
    torch.testing.assert_close(way[:2], lerp(a, b, t)[:2])


def test_pairs_are_of_two_classes_where_possible() -> None:
    assert choose_pairs(6, torch.tensor([1, 1, 1, 2, 3, 3]), 3).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert choose_pairs(5, torch.tensor([1, 1, 1, 1, 1]), 8).tolist() == [[0, 2], [1, 3]]
    assert choose_pairs(4, None, 1).tolist() == [[0, 2]]
    assert choose_pairs(1, None, 1).tolist() == []


@pytest.mark.parametrize("start", ["image", "zero"])
def test_traversals_move_one_dimension_each_most_informative_first(start: Any, make: Make) -> None:
    context = make()
    arrays = Traversals(dimensions=4, steps=7, limit=3.0, start=start)(context).arrays
    kl = KL(context).arrays["kl"]
    assert arrays["dimension"].tolist() == np.argsort(-kl, kind="stable")[:4].tolist()
    np.testing.assert_array_equal(arrays["kl"], kl[arrays["dimension"]])
    assert arrays["value"].tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert_images(arrays["image"], (4, 7, 12, 12, 1))
    with torch.no_grad():
        mean = context.model.encode(next(iter(context.batches("test"))).images[:1]).mean[0].numpy()
    for row, dimension in enumerate(arrays["dimension"]):
        expected = np.tile(mean if start == "image" else 0 * mean, (7, 1))
        expected[:, dimension] = arrays["value"]
        np.testing.assert_allclose(arrays["z"][row], expected, atol=1e-6)


def test_latent_space_holds_the_posterior(make: Make) -> None:
    arrays = PCA(make()).arrays
    shapes = {key: array.shape for key, array in arrays.items()}
    flat = {"index": (43,), "label": (43,), "embedding": (43, 2)}
    assert shapes == {"mean": (43, 6), "log_variance": (43, 6)} | flat
    centred = arrays["mean"] - arrays["mean"].mean(0)
    singular = np.linalg.svd(centred, compute_uv=False)[:2]
    np.testing.assert_allclose(np.linalg.norm(arrays["embedding"], axis=0), singular, rtol=1e-4)


def test_latent_space_of_an_autoencoder_without_labels(make: Make) -> None:
    assert set(TSNE(make("ae", labelled=False)).arrays) == {"mean", "index", "embedding"}


def test_latent_space_of_two_dimensions_is_shown_as_it_is(make: Make) -> None:
    for evaluation in (PCA, TSNE):
        arrays = evaluation(make("plane")).arrays
        np.testing.assert_array_equal(arrays["embedding"], arrays["mean"])


@pytest.mark.parametrize("tests", [1, 2, 3, 5])
def test_latent_space_of_a_few_images(tests: int, make: Make) -> None:
    for evaluation in (PCA, TSNE):
        assert np.isfinite(evaluation(make(tests=tests)).arrays["embedding"]).all()


def test_tsne_shows_at_most_so_many_points(make: Make) -> None:
    arrays = TSNE(make()).arrays
    assert {key: len(array) for key, array in arrays.items()} == dict.fromkeys(arrays, 30)


def test_kl_per_dimension_adds_up_to_the_losss_kl(make: Make) -> None:
    context = make()
    result = KL(context)
    assert result.arrays["kl"].sum() == pytest.approx(METRICS(context).metrics["kl"], rel=1e-5)
    codes = context.model.encode(torch.cat([batch.images for batch in context.batches("test")]))  # type: ignore[operator]
    with torch.no_grad():
        variance = codes.mean.var(0, correction=0)
        aggregate = variance + codes.log_variance.exp().mean(0)
        expected = {
            "mean_variance": variance,
            "aggregate_variance": aggregate,
            "aggregate_mean": codes.mean.mean(0),
        }
    for name, values in expected.items():
        np.testing.assert_allclose(result.arrays[name], values, rtol=1e-5, atol=1e-7, err_msg=name)
    assert result.arrays["active"].tolist() == (variance > 0.01).tolist()
    assert result.metrics["active_units"] == result.arrays["active"].sum()
    assert f"{int(result.metrics['active_units'])} of 6 units active" in drawn(result)


def test_a_collapsed_posterior_is_said_in_words(make: Make) -> None:
    context = make()
    for parameter in context.model.encoder.parameters():  # type: ignore[union-attr]
        torch.nn.init.zeros_(parameter)
    for evaluation in ALL:
        drawn(evaluation(context))
    result = KL(context)
    assert result.findings == ("collapsed: 0 of 6 units active",)
    assert result.metrics == {"active_units": 0}


@pytest.mark.parametrize("batch_size", [16, 43])
def test_metrics_are_averages_over_images_whatever_the_batches(batch_size: int, make: Make) -> None:
    context = make(channels=3, batch_size=batch_size)
    result = METRICS(context)
    original = images(context.batches("test"))
    reconstruction = Reconstructions(count=43, at_snapshots=False)(context).arrays["reconstruction"]
    mse = ((original.astype(float) - reconstruction) ** 2).mean((1, 2, 3))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    ssim = [
        structural_similarity(a, b, channel_axis=-1, **options)
        for a, b in zip(original, reconstruction, strict=True)
    ]
    np.testing.assert_allclose(result.arrays["mse"], mse, rtol=1e-5)
    np.testing.assert_allclose(result.arrays["psnr"], 10 * np.log10(1 / mse), atol=1e-4)
    np.testing.assert_allclose(result.arrays["ssim"], ssim, atol=1e-4)
    assert result.arrays["index"].tolist() == list(range(80, 123))
    for key in ("mse", "psnr", "ssim"):
        assert result.metrics[key] == pytest.approx(result.arrays[key].mean())
    terms = result.metrics
    assert terms["loss"] == pytest.approx(terms["reconstruction"] + terms["kl"], rel=1e-5)
    assert terms["elbo"] == pytest.approx(-terms["loss"], rel=1e-5)


def test_small_images_have_no_ssim(make: Make) -> None:
    result = METRICS(make(side=8))
    assert set(result.arrays) == {"index", "mse", "psnr"}
    assert "ssim" not in result.metrics
    drawn(result)


def test_measure_agrees_with_test_metrics(make: Make) -> None:
    context = make(batch_size=43)
    (batch,) = context.batches("test")
    measured = measure(context.model, batch)
    metrics = METRICS(context).metrics
    assert {key: value.shape for key, value in measured.items()} == {"mse": (), "psnr": ()}
    assert float(measured["mse"]) == pytest.approx(metrics["mse"], rel=1e-5)
    assert float(measured["psnr"]) == pytest.approx(metrics["psnr"], rel=1e-5)
    assert not measured["mse"].requires_grad


def test_counts_below_one_are_refused() -> None:
    with pytest.raises(UsageError, match=r"evaluation.reconstructions.count=0 is not a whole number from 1"):
        check_arguments(Reconstructions, {"count": 0, "at_snapshots": True}, "evaluation.reconstructions")


def strengthen(context: Context) -> None:
    """Makes the posterior of an untrained network depend on the images, so that dimensions are active."""
    with torch.no_grad():
        for parameter in context.model.encoder.parameters():  # type: ignore[union-attr]
            parameter.mul_(4)


@pytest.mark.parametrize("kind", ["vae", "spatial", "ae"])
def test_the_atlas_is_what_plain_decoding_gives(kind: str, make: Make) -> None:
    context = make(kind)
    strengthen(context)
    model: Any = context.model
    arrays = ATLAS(context).arrays
    with torch.no_grad():
        test = torch.cat([batch.images for batch in context.batches("test")])
        posterior = model.encode(test)
        means = posterior.mean.flatten(1)
        variance = means.var(0, correction=0)
        informative, spread = variance, variance
        if kind != "ae":
            log_variance = posterior.log_variance.flatten(1)
            informative = (0.5 * (means**2 + log_variance.exp() - 1 - log_variance)).mean(0)
            spread = variance + log_variance.exp().mean(0)
        first, second = informative.argsort(descending=True)[:2].tolist()
        assert arrays["slice_dimension"].tolist() == [first, second]
        assert (arrays["slice"].shape[:2], arrays["strip"].shape[:2]) == ((5, 5), (4, 3))
        active = [d for d in informative.argsort(descending=True).tolist() if variance[d] > 0.01]
        assert arrays["strip_dimension"].tolist() == active[:4]
        for part in ("slice", "strip"):
            moved, value = arrays[f"{part}_dimension"], arrays[f"{part}_value"]
            centre, reach = means.mean(0)[moved], 3 * spread.sqrt()[moved]
            expected = torch.stack((centre - reach, centre, centre + reach), 1)
            np.testing.assert_allclose(value[:, [0, value.shape[1] // 2, -1]], expected, rtol=1e-4, atol=1e-5)
            if kind != "ae":
                np.testing.assert_allclose(arrays[f"{part}_kl"], informative[moved], rtol=1e-4)
        z = means[0].clone()
        z[first], z[second] = (float(v) for v in (arrays["slice_value"][0, 1], arrays["slice_value"][1, 4]))
        expected = model.decode(z.view(1, *posterior.mean.shape[1:]))[0].movedim(0, -1)
        np.testing.assert_allclose(arrays["slice"][1, 4], expected, atol=0.5 / 255 + 1e-5)
        middle = means[:1].repeat(5, 1)
        middle[:, first], middle[:, second] = (
            means[:, first].mean(),
            torch.from_numpy(arrays["slice_value"][1]),
        )
        expected = model.decode(middle.view(5, *posterior.mean.shape[1:])).movedim(1, -1)
        np.testing.assert_allclose(arrays["slice"][2], expected, atol=0.5 / 255 + 1e-4)
        z = means[0].clone()
        z[arrays["strip_dimension"][1]] = float(arrays["strip_value"][1, 2])
        expected = model.decode(z.view(1, *posterior.mean.shape[1:]))[0].movedim(0, -1)
        np.testing.assert_allclose(arrays["strip"][1, 2], expected, atol=0.5 / 255 + 1e-5)
        again = model.decode(posterior.mean).movedim(1, -1)[arrays["index"] - 80]
        np.testing.assert_allclose(arrays["reconstruction"], again, atol=0.5 / 255 + 1e-5)
    assert ("slice_kl" in arrays) == (kind != "ae")
    assert ("strip_kl" in arrays) == (kind != "ae")
    assert arrays["start"] == 80
    assert arrays["index"].tolist() == (80 + np.linspace(0, 42, 20).round()).astype(int).tolist()
    np.testing.assert_allclose(
        arrays["original"], images(context.batches("test"))[arrays["index"] - 80], atol=0.5 / 255 + 1e-5
    )
    for name in ("slice", "strip", "original", "reconstruction"):
        assert_images(arrays[name], arrays[name].shape)
        np.testing.assert_allclose(arrays[name] * 255, (arrays[name] * 255).round(), atol=1e-4)


def test_the_atlas_orders_strips_by_their_kl_whatever_the_batches(make: Make) -> None:
    contexts = [make(batch_size=16), make(batch_size=43)]
    for context in contexts:
        strengthen(context)
    one, other = (ATLAS(context).arrays for context in contexts)
    assert one["strip_kl"].tolist() == sorted(one["strip_kl"].tolist(), reverse=True)
    for key, array in one.items():
        np.testing.assert_allclose(array, other[key], atol=1 / 255 + 1e-5, rtol=1e-4)


def test_a_dimension_far_from_the_prior_that_never_varies_is_not_shown(make: Make) -> None:
    context = make()
    strengthen(context)
    last: Any = context.model.encoder[-1][-1]  # type: ignore[index]
    with torch.no_grad():
        last.weight[2], last.bias[2] = 0, 5  # the mean of z2: KL 12.5 nats and more, variance 0
    arrays, kl = ATLAS(context).arrays, KL(context).arrays["kl"]
    order = np.argsort(-kl)
    assert order[0] == 2
    assert arrays["slice_dimension"].tolist() == order[1:3].tolist()
    assert arrays["strip_dimension"].tolist() == order[1:5].tolist()
    np.testing.assert_array_equal(arrays["strip_kl"], kl[order[1:5]])


def test_the_atlas_of_a_collapsed_posterior_has_no_strip(make: Make) -> None:
    context = make(tests=7)
    for parameter in context.model.encoder.parameters():  # type: ignore[union-attr]
        torch.nn.init.zeros_(parameter)
    arrays = ATLAS(context).arrays
    assert arrays["strip"].shape == (0, 3, 12, 12, 1)
    assert arrays["strip_dimension"].size == 0
    assert len(arrays["index"]) == 7  # of 20 asked for


def test_points_of_the_latent_map_say_which_images_they_are(make: Make) -> None:
    assert PCA(make()).arrays["index"].tolist() == list(range(80, 123))
    spread = TSNE(make())  # over all classes, which many splits are sorted by
    assert spread.arrays["index"].tolist() == (80 + np.linspace(0, 42, 30).round().astype(int)).tolist()
    assert "(t-SNE) · 30 of 43 test images · digits" in drawn(spread)
    assert "test images" not in drawn(PCA(make()))


def test_edits_change_one_dimension_of_the_code_each(make: Make) -> None:
    context = make("ae")
    arrays = EDIT(context).arrays
    every = np.concatenate([images(context.batches(split)) for split in ("train", "val", "test")])
    np.testing.assert_array_equal(arrays["original"], every[[70, 3]])
    code = arrays["z"][:, 0]
    changes = arrays["z"][:, 1:] - code[:, None]
    np.testing.assert_allclose(changes[:, 0, 0], 2.0, rtol=1e-5)
    np.testing.assert_allclose(changes[:, 1, -1], -code[:, -1])
    np.testing.assert_allclose(changes[:, 2, 1], 2 * code[:, 1], rtol=1e-5)
    assert (changes != 0).sum(-1).max() == 1
    decoded = context.model.decode(torch.from_numpy(arrays["z"][:, 0])).detach().movedim(1, -1).numpy()
    np.testing.assert_allclose(arrays["reconstruction"], decoded, atol=1e-6)
    assert_images(arrays["edited"], (2, 3, 12, 12, 1))


@pytest.mark.parametrize(
    "edits",
    [[], [{"dim": 0}], [{"add": 1.0}], [{"dim": 0, "add": 1.0, "set": 2.0}], [{"dim": 0.5, "add": 1.0}]],
)
def test_edits_that_are_none_are_refused(edits: list[dict[str, float]]) -> None:
    with pytest.raises(ValueError, match="edits"):
        LatentEdit(index=[0], edits=edits)


def test_edits_beyond_the_code_or_the_data_are_refused() -> None:
    EDIT.refuse_missing(images=123, code=6)
    for dim in (6, -7):
        with pytest.raises(UsageError, match=f"dim={dim} is not a dimension of a code of 6: use -6 to 5"):
            LatentEdit(index=[0], edits=[{"dim": dim, "add": 1.0}]).refuse_missing(images=123, code=6)
    for row in (123, -1):
        with pytest.raises(UsageError, match=f"index={row} is no image of the data set: use 0 to 122"):
            LatentEdit(index=[row], edits=[{"dim": 0, "add": 1.0}]).refuse_missing(images=123, code=6)


def test_images_to_perturb_beyond_the_data_are_refused() -> None:
    PERTURBATION.refuse_missing(images=71, code=6)
    for row in (0, 72):
        wrong = NoisePerturbation(index=[row], first_index=1, copies=1, sigma=1.0, seed=0)
        with pytest.raises(UsageError, match=f"index={row} is no image of the data set: use 1 to 71"):
            wrong.refuse_missing(images=71, code=6)


def test_perturbed_images_decode_the_code_plus_the_same_noise_for_every_model(make: Make) -> None:
    result, other = (PERTURBATION(make(kind)) for kind in ("vae", "plane"))
    context = make("vae")
    every = np.concatenate([images(context.batches(split)) for split in ("train", "val", "test")])
    np.testing.assert_array_equal(result.arrays["original"], every[[4, 70, 0]])  # counted from 1
    code = (
        context.model.encode(torch.from_numpy(result.arrays["original"]).movedim(-1, 1)).mean.detach().numpy()
    )
    noise = 0.5 * torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(3)).numpy()
    np.testing.assert_allclose(result.arrays["z"], code[:, None] + noise, atol=1e-5)
    error = (result.arrays["image"] - result.arrays["original"][:, None]) ** 2
    assert result.metrics["perturbed_mse"] == pytest.approx(error.mean(), rel=1e-4)
    assert result.metrics["perturbed_psnr"] == pytest.approx(
        (-10 * np.log10(error.mean((2, 3, 4)))).mean(), rel=1e-4
    )
    first = result.arrays["image"][1, 2, :, :, 0], result.arrays["original"][1, :, :, 0]
    expected = structural_similarity(
        *first, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert result.arrays["ssim"][1, 2] == pytest.approx(expected, abs=1e-4)
    np.testing.assert_array_equal(
        result.plain["generated_data"], result.arrays["image"].reshape(12, 12, 12, 1)
    )
    np.testing.assert_array_equal(result.plain["generated_label"][:, 0], result.arrays["label"].repeat(4))
    assert result.plain["generated_label"].shape == (12, 1)
    assert other.arrays["z"].shape == (3, 4, 2)
    again = PERTURBATION(make("vae", kl_weight=9.0))
    np.testing.assert_array_equal(again.arrays["z"], result.arrays["z"])


def test_prior_samples_stand_beside_real_images_if_asked(make: Make) -> None:
    arrays = PriorSamples(count=9, seed=0, beside_real=True)(make()).arrays
    assert_images(arrays["original"], (9, 12, 12, 1))
    assert "original" not in PRIOR_SAMPLES(make()).arrays


def test_learning_curve_draws_steps_inside_the_epochs(make: Make) -> None:
    context = make()
    context.history.insert(0, context.history[0] | {"split": "steps", "step": 2})
    arrays = LEARNING_CURVE(context).arrays
    np.testing.assert_allclose(arrays["steps_epoch"], [0.5])  # of four steps an epoch
    assert len(arrays["train_epoch"]) == 3


def test_the_elbo_at_the_optimal_sigma_is_the_best_gaussian_one(make: Make) -> None:
    """No fixed σ gives the same samples a better bound, and the one that is told gives just this."""
    context = make("vae")
    found = TestMetrics(examples=2, seed=0, splits=["test"], verify=False)(context).metrics
    images, noise, squared = 0, context.noise(1), 0.0
    for batch in context.batches("test"):
        decoded = context.model.decode(context.model.encode(batch.images).sample(noise)).detach()  # type: ignore[operator]
        squared += float((batch.images - decoded).double().square().sum())
        images += len(batch.images)
    values = batch.images[0].numel()

    def elbo(sigma: float) -> float:
        nll = 0.5 * squared / images / sigma**2 + values * (math.log(sigma) + 0.5 * math.log(2 * math.pi))
        return -(nll + found["kl"])

    best = found["optimal_sigma"]
    assert found["elbo_optimal_sigma"] == pytest.approx(elbo(best), rel=1e-5)
    assert all(
        elbo(sigma) < found["elbo_optimal_sigma"]
        for sigma in (0.5 * best, 0.97 * best, 1.03 * best, 2 * best)
    )
