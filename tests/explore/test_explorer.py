"""What a page is told equals what the networks, other libraries and closed forms say."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from torch.distributions import Normal, kl_divergence

from vaelab import UsageError, models
from vaelab.data import ImageSet
from vaelab.explore.explorer import Explorer
from vaelab.explore.recipes import Between, Datum, Prior, Recipe, Upload, recipe

from .conftest import CLASSES, SHAPE, Make, any_weight, fc_vae


def planes(squares: ImageSet, rows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(squares.images[rows]).permute(0, 3, 1, 2).float() / 255


def of(source: Prior | Datum | Upload, *changes: tuple[int, str, float], label: int | None = None) -> Recipe:
    return Recipe(source, label, changes)


def test_a_code_is_that_of_the_network_and_is_decoded_by_it(explorer: Make, squares: ImageSet) -> None:
    networks = fc_vae(0), fc_vae(1)
    found = explorer(*networks)
    test = squares.indices("test")
    for weight, network in zip((0.5, 1.5), networks, strict=True):
        with torch.inference_mode():
            expected = network.encode(planes(squares, test[[3]])).mean
            assert torch.equal(found.code(weight, of(Datum(3))), expected)
            picture = network.decode(expected)[0].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(found.picture(weight, of(Datum(3))), picture)
        drawn = network.draw(1, torch.Generator().manual_seed(11))
        assert torch.equal(found.code(weight, of(Prior(11))), drawn)
    assert not torch.equal(found.code(0.5, of(Prior(11))), found.code(0.5, of(Prior(12))))


def test_changes_are_made_in_turn(explorer: Make) -> None:
    found = explorer(fc_vae())
    before = found.code(0.5, of(Datum(0)))
    after = found.code(0.5, of(Datum(0), (1, "set", 3.0), (1, "scale", 2.0), (3, "add", -1.0)))
    expected = before.clone()
    expected[0, 1], expected[0, 3] = 6.0, before[0, 3] - 1
    assert torch.equal(after, expected)
    assert torch.equal(found.code(0.5, of(Datum(0))), before)  # what is kept was not changed
    with pytest.raises(UsageError, match="dimension 5 is none of a code of 5: use 0 to 4"):
        found.code(0.5, of(Datum(0), (5, "add", 1.0)))


def test_units_are_in_the_order_of_their_kl(explorer: Make, squares: ImageSet) -> None:
    network = fc_vae()
    known = explorer(network).units(0.5)
    with torch.inference_mode():
        code = network.encode(planes(squares, squares.indices("test")))
    posterior = Normal(code.mean.double(), (0.5 * code.log_variance.double()).exp())
    kl = kl_divergence(posterior, Normal(torch.zeros(5).double(), 1)).mean(0).numpy()
    np.testing.assert_allclose(known.information, kl, rtol=1e-5)
    assert known.measure == "kl"
    assert known.order.tolist() == np.argsort(-kl).tolist()
    assert known.active.tolist() == (code.mean.double().var(0, correction=0) > 0.01).tolist()
    assert not known.active[0]
    assert (known.low <= -3).all()
    assert (known.high >= 3).all()


def test_a_reconstruction_has_psnr_and_the_bits_of_its_code(explorer: Make, squares: ImageSet) -> None:
    network = fc_vae()
    found = explorer(network).reconstruction(0.5, Datum(7), None)
    row = squares.indices("test")[7]
    original = squares.images[row].astype(np.float64) / 255
    assert found.psnr == pytest.approx(peak_signal_noise_ratio(original, found.image, data_range=1), abs=1e-4)
    with torch.inference_mode():
        code = network.encode(planes(squares, np.array([row])))
    posterior = Normal(code.mean.double(), (0.5 * code.log_variance.double()).exp())
    nats = float(kl_divergence(posterior, Normal(torch.zeros(5).double(), 1)).sum())
    assert found.bits == pytest.approx(nats / math.log(2), rel=1e-5)


def test_bits_are_the_length_of_a_discrete_code_and_none_without_a_prior(explorer: Make) -> None:
    torch.manual_seed(0)
    discrete = models.vq_vae(SHAPE, 4, "vector", "fsq", 8, 2, [8, 4], 8, 1, 16)
    point = models.fc_ae(SHAPE, 4, [16], 0.2)
    layered = models.ladder_vae(SHAPE, [3, 2], 8, 16)
    bits = [
        explorer(network).reconstruction(0.5, Datum(0), None).bits for network in (discrete, point, layered)
    ]
    assert bits[0] == 4 * 5
    assert bits[1] is None
    assert bits[2] is not None
    assert bits[2] > 0
    assert explorer(point).prior == "Gaussian fitted to the codes of test images"
    assert explorer(point).units(0.5).measure == "variance"
    assert explorer(discrete).picture(0.5, of(Prior(0), (0, "set", 1.0))).shape == (16, 16, 1)


def test_two_codes_are_joined_by_a_straight_line(explorer: Make) -> None:
    found = explorer(fc_vae())
    a, b = of(Datum(1)), of(Prior(3), (2, "add", 1.0))
    ends = [found.code(0.5, end) for end in (a, b)]
    for t in (0.0, 0.25, 1.0):
        expected = (1 - t) * ends[0] + t * ends[1]
        np.testing.assert_allclose(found.code(0.5, Between(a, b, t)), expected, atol=1e-6)
    way = found.way(0.5, Between(a, b, 0.5), 3)
    for place, t in enumerate((0.0, 0.5, 1.0)):
        np.testing.assert_allclose(way[place], found.picture(0.5, Between(a, b, t)), atol=1e-6)


def test_the_plane_has_its_first_unit_to_the_right_and_its_second_upward(explorer: Make) -> None:
    found = explorer(fc_vae())
    known = found.units(0.5)
    x, y = map(int, known.order[:2])
    images = [found.plane_row(0.5, of(Datum(2)), (x, y), 3, row) for row in range(3)]
    middle = {x: known.centre[x], y: known.centre[y]}
    for row, column, values in (
        (0, 0, {x: known.low[x], y: known.high[y]}),
        (2, 2, {x: known.high[x], y: known.low[y]}),
        (1, 1, middle),
    ):
        changes = [(unit, "set", float(value)) for unit, value in values.items()]
        np.testing.assert_allclose(images[row][column], found.picture(0.5, of(Datum(2), *changes)), atol=1e-6)
    moved = found.moved(0.5, of(Datum(2)), x, 3)
    expected = found.picture(0.5, of(Datum(2), (x, "set", float(known.high[x]))))
    np.testing.assert_allclose(moved[-1], expected, atol=1e-6)


def test_neighbours_are_those_that_all_distances_say(explorer: Make, squares: ImageSet) -> None:
    train = squares.indices("train")
    row = int(train[17])
    image = squares.images[row].astype(np.float32) / 255
    images, distance, rows = explorer(fc_vae()).neighbours(image, 4)
    others = squares.images[train].astype(np.float64) / 255
    expected = np.sqrt(((others - image) ** 2).mean((1, 2, 3)))
    np.testing.assert_allclose(distance, np.sort(expected)[:4], atol=1e-6)
    assert rows[0] == row
    assert distance[0] == 0
    np.testing.assert_array_equal(images[0], squares.images[row])


def test_a_class_is_told_to_conditional_networks(explorer: Make) -> None:
    torch.manual_seed(0)
    found = explorer(models.conditional_vae(SHAPE, len(CLASSES), 4, 8, 16))
    assert found.classes == 3
    pictures = [found.picture(0.5, of(Datum(0), label=label)) for label in range(3)]
    assert not np.array_equal(pictures[0], pictures[1])
    for label in (None, 3):
        with pytest.raises(UsageError, match=f"class {label} is none of the 3"):
            found.picture(0.5, of(Datum(0), label=label))


def test_a_gan_makes_pictures_of_noise_and_has_no_codes(explorer: Make) -> None:
    torch.manual_seed(0)
    network = models.acgan(SHAPE, len(CLASSES), 6, 4, 4, "uniform", "none", None, "one_hot").eval()
    found = explorer(network, weights=(None,))
    z = network.draw(1, torch.Generator().manual_seed(5))
    with torch.inference_mode():
        expected = network.generate(z, torch.tensor([2]))[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(found.picture(None, of(Prior(5), label=2)), expected)
    assert not found.encodes
    assert found.prior == "uniform noise"
    assert (found.units(None).low == 0).all()
    with pytest.raises(UsageError, match="a GAN has no encoder"):
        found.picture(None, of(Datum(0), label=2))


def test_a_network_of_any_weight_is_asked_at_that_weight(explorer: Make) -> None:
    network = any_weight()
    found = explorer(network, weights=(None,))
    assert found.bounds == (0.1, 10.0)
    assert found.stops[0] == pytest.approx(0.1)
    assert found.stops[-1] == pytest.approx(10)
    assert len(found.stops) == 7
    for weight in (0.1, 0.7, 3.21, 10.0):
        with torch.inference_mode():
            z = network.encode(torch.from_numpy(found.original(Datum(4))).permute(2, 0, 1)[None] / 255).mean
            expected = network.at(weight).decode(z)[0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(found.picture(weight, of(Datum(4))), expected, atol=1e-6)
        assert found.units(weight).measure == "kl"
    for weight in (0.05, 11.0, None):
        with pytest.raises(UsageError, match=r"is not from 0\.1 to 10"):
            found.picture(weight, of(Datum(4)))


def test_a_weight_that_no_run_has_is_refused(explorer: Make) -> None:
    with pytest.raises(UsageError, match="no run of this page has λ = 7"):
        explorer(fc_vae()).picture(7.0, of(Prior(0)))


def test_without_images_there_are_pictures_from_the_prior(explorer: Make) -> None:
    found = explorer(fc_vae(), prepared=False)
    assert found.images is None
    assert found.picture(0.5, of(Prior(0))).shape == (16, 16, 1)
    assert found.units(0.5).measure is None
    assert found.units(0.5).order.tolist() == [0, 1, 2, 3, 4]
    for asks in (
        lambda: found.picture(0.5, of(Datum(0))),
        lambda: found.neighbours(np.zeros((16, 16, 1)), 1),
    ):
        with pytest.raises(UsageError):
            asks()


def test_an_upload_is_encoded_as_the_image_that_it_is(explorer: Make, squares: ImageSet) -> None:
    found: Explorer = explorer(fc_vae())
    row = squares.indices("test")[9]
    found.uploads = lambda key, shape: squares.images[row]
    assert torch.equal(found.code(0.5, of(Upload("x"))), found.code(0.5, of(Datum(9))))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"source": {"kind": "file", "path": "/etc/passwd"}},
        {"source": {"kind": "prior", "seed": "x"}},
        {"source": {"kind": "data", "place": None}},
        {"source": {"kind": "prior", "seed": 1}, "changes": [{"dim": 0}]},
        {"source": {"kind": "prior", "seed": 1}, "changes": [{"dim": 0, "set": float("nan")}]},
        {"source": {"kind": "prior", "seed": 1}, "changes": [{"dim": 0, "set": 0}] * 5000},
        {"between": [1, 2], "t": 0.5},
        [],
        None,
    ],
)
def test_what_is_no_recipe_is_refused(given: object) -> None:
    with pytest.raises(UsageError, match="the page has asked for no code"):
        recipe(given)


def test_recipes_are_read_as_they_were_sent() -> None:
    a = {"source": {"kind": "data", "place": 4}, "label": 1, "changes": [{"dim": 2, "scale": 0.5}]}
    b = {"source": {"kind": "upload", "key": "abc"}, "label": None}
    assert recipe(a) == Recipe(Datum(4), 1, ((2, "scale", 0.5),))
    assert recipe({"between": [a, b], "t": 1.5}) == Between(recipe(a), Recipe(Upload("abc"), None, ()), 1.0)
