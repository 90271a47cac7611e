"""What the training can do beside a plain step: schedules, averages, the best epoch, patience, steps left out."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir

from tests.test_train import images as images  # the fixture
from tests.test_train import trained
from vaelab import UsageError, build, config, hardware
from vaelab.data import ImageSet
from vaelab.runs import checkpoint
from vaelab.runs.folder import Run
from vaelab.runs.perform import Compilation
from vaelab.training.average import Average
from vaelab.training.loop import Plan, best_epoch, is_over
from vaelab.training.rates import Rates, Schedule

CPU = torch.device("cpu")
SGD = {"optimizer._target_": "torch.optim.SGD", "~optimizer.betas": "[0.9,0.999]"}


def rows(run: Run) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.history]


# ---- learning rates


def rates_of_torch(make: Any, epochs: int, steps: int) -> list[float]:
    """The rate of each step by a scheduler of torch's own."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make(optimizer)
    found = []
    for _ in range(epochs * steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def own_rates(schedule: Schedule, steps: int) -> list[float]:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    rates = Rates([optimizer], schedule, steps, CPU)
    found = []
    for epoch in range(1, schedule.epochs + 1):
        rates.begin(epoch)
        for step in range(steps):
            rates.set(torch.tensor([step]))
            found.append(float(optimizer.param_groups[0]["lr"]))
        assert rates.last == pytest.approx(found[-1], rel=1e-6)
    return found


EPOCHS, STEPS = 6, 5
SCHEDULES = {
    "cosine": (
        Schedule("cosine", EPOCHS, None, 10, 0.1),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, EPOCHS * STEPS),
    ),
    "step": (
        Schedule("step", EPOCHS, None, 2, 0.3),
        lambda o: torch.optim.lr_scheduler.StepLR(o, 2 * STEPS, 0.3),
    ),
    "warm-up": (
        Schedule("constant", EPOCHS, 2, 10, 0.1),
        lambda o: torch.optim.lr_scheduler.LinearLR(o, 1 / (2 * STEPS), 1, 2 * STEPS - 1),
    ),
    "constant": (
        Schedule("constant", EPOCHS, None, 10, 0.1),
        lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_those_of_torchs_schedulers(name: str) -> None:
    schedule, make = SCHEDULES[name]
    expected = rates_of_torch(make, EPOCHS, STEPS)
    assert own_rates(schedule, STEPS) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_a_cosine_after_a_warm_up_goes_from_the_full_rate_to_nearly_none() -> None:
    found = own_rates(Schedule("cosine", 10, 2, 10, 0.1), 10)
    assert found[:20] == pytest.approx([0.1 * (step + 1) / 20 for step in range(20)])
    assert found[20] == pytest.approx(0.1)
    assert found[60] == pytest.approx(0.05)
    assert 0 < found[-1] < 1e-4


def test_a_run_learns_at_the_rates_of_its_schedule(images: ImageSet, tmp_path: Path) -> None:
    """Plain gradient descent without a rate moves nothing; metrics.csv has the rate that an epoch ended with."""
    run = trained(
        tmp_path, images, 4, batch_size=16, lr_schedule="step", lr_step_epochs=1, lr_step_factor=0.5, lr=1e-3
    )
    assert [row["lr"] for row in run.history if row["split"] == "train"] == pytest.approx(
        [1e-3, 5e-4, 2.5e-4, 1.25e-4]
    )
    still = trained(
        tmp_path / "still",
        images,
        2,
        batch_size=16,
        lr_schedule="step",
        lr_step_epochs=1,
        lr_step_factor=1e-30,
    )
    first = still.load_checkpoint()
    moved = trained(tmp_path / "one", images, 1, batch_size=16, lr_schedule="step", lr_step_epochs=1)
    assert first is not None
    for name, value in moved.load_weights().items():
        assert torch.equal(value, still.load_weights()[name]), "the second epoch had no rate"


# ---- all that is kept in a checkpoint


SMALL = {"model.channels": 4, "model.hidden": 8}
SETTINGS: dict[str, dict[str, Any]] = {
    "target": {"regulariser.target": 5},
    "logistic": {"likelihood": "discretized_logistic"},
    "mmd": {"regulariser": "mmd", "regulariser.kl_share": 0.5},
    "codebook": {"model": "vq_vae", **SMALL, "model.codes": 8, "model.code_dim": 3, "trainer.ema": 0.8},
    "layers": {"model": "ladder_vae", **SMALL},
    "all weights": {"kl_weight": "conditioned", **SMALL},
    "cosine": {"lr_schedule": "cosine", "lr_warmup_epochs": 1.5},
    "step of sgd": {"lr_schedule": "step", "lr_step_epochs": 1, "lr": 1e-5, **SGD},
    "average": {"trainer.ema": 0.8},
    "best": {"trainer.keep": "best", "lr": 0.1},
    "best average": {"trainer.keep": "best", "trainer.ema": 0.8, "lr": 3e-2},
    "patience": {"trainer.patience": 2, "lr": 0.1},
    "skipped": {"trainer.skip_gradient_above": 31.9},
    "clipped and skipped": {"trainer.skip_gradient_above": 31.9, "trainer.gradient_clip": 10},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_that_was_stopped_goes_on_bit_for_bit(name: str, images: ImageSet, tmp_path: Path) -> None:
    settings = {"batch_size": 16, **SETTINGS[name]}
    whole = trained(tmp_path / "whole", images, 6, **settings)
    for _ in range(5):  # a run that ends at its first epoch's end, again and again
        parts = trained(tmp_path / "parts", images, 6, max_epochs=1, **settings)
    parts = trained(tmp_path / "parts", images, 6, **settings)
    weights = [(run.folder / "model.safetensors").read_bytes() for run in (whole, parts)]
    assert weights[0] == weights[1]
    assert rows(whole) == rows(parts)
    assert whole.info["training"] == parts.info["training"]


@pytest.mark.parametrize("name", ["average", "best", "best average", "patience"])
def test_the_weights_that_are_kept_can_be_written_again_from_the_checkpoint(
    name: str, images: ImageSet, tmp_path: Path
) -> None:
    run = trained(tmp_path, images, 6, batch_size=16, **SETTINGS[name])
    last = run.load_checkpoint()
    assert last is not None
    found, expected = checkpoint.final_weights(last.tensors), run.load_weights()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


# ---- averages


def test_the_average_is_that_of_its_definition() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    average = Average(network, 0.9)
    expected = {name: value.clone() for name, value in network.state_dict().items()}
    for update in range(1, 30):
        network.train()(torch.randn(5, 3))  # moves the statistics of the norm
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update()
        decay = min(0.9, (1 + update) / (10 + update))
        for name, value in network.state_dict().items():
            floating = value.is_floating_point()
            expected[name] = decay * expected[name] + (1 - decay) * value if floating else value.clone()
    for name, value in average.weights.items():
        torch.testing.assert_close(value, expected[name])
    own = {name: value.clone() for name, value in network.state_dict().items()}
    with average.in_place():
        for name, value in network.state_dict().items():
            torch.testing.assert_close(value, expected[name])
    for name, value in network.state_dict().items():
        assert torch.equal(value, own[name])


def test_a_run_keeps_and_validates_its_average(images: ImageSet, tmp_path: Path) -> None:
    plain = trained(tmp_path / "plain", images, 3, batch_size=16)
    average = trained(tmp_path / "average", images, 3, batch_size=16, **{"trainer.ema": 0.9})
    train = [[row for row in rows(run) if row["split"] == "train"] for run in (plain, average)]
    assert train[0] == train[1], "the average changes nothing of the training"
    assert rows(plain)[-1]["elbo"] != rows(average)[-1]["elbo"]
    last = average.load_checkpoint()
    assert last is not None
    for name, value in average.load_weights().items():
        assert torch.equal(value, last.tensors[f"average.weights.{name}"])
    for name, value in plain.load_weights().items():
        assert torch.equal(value, last.tensors[f"model.{name}"])
    assert (plain.info["training"]["weights"], average.info["training"]["weights"]) == ("plain", "average")


# ---- the best epoch, and patience


def validation(*elbos: float) -> list[dict[str, Any]]:
    return [
        {"epoch": epoch, "split": split, "elbo": elbo if split == "val" else 0.0}
        for epoch, elbo in enumerate(elbos, start=1)
        for split in ("train", "val")
    ]


def test_the_best_epoch_is_the_first_of_the_highest_bound() -> None:
    assert best_epoch(validation(-3, -1, -2, -1)) == 2
    losses = [{"epoch": e, "split": "val", "loss": loss} for e, loss in ((1, 3.0), (2, 2.0), (3, 2.5))]
    assert best_epoch(losses) == 2
    bounds = [{"epoch": e, "split": "val", "elbo": -e, "iwae": -3 / e} for e in (1, 2, 3)]
    assert best_epoch(bounds) == 3  # what IWAE is trained for, Burda et al. 2016, equation 8


@pytest.mark.parametrize(
    ("elbos", "patience", "over"),
    [
        ((-3, -2, -1), 1, False),
        ((-1, -2), 1, True),
        ((-1, -2), 2, False),
        ((-1, -2, -3), 2, True),
        ((), 1, False),
    ],
)
def test_patience_ends_after_so_many_epochs_without_a_better_one(
    elbos: tuple[float, ...], patience: int, over: bool
) -> None:
    plan = Plan(9, None, None, lambda epoch: None, patience=patience)
    assert is_over(validation(*elbos), plan) is over


def test_a_run_keeps_the_weights_of_its_best_epoch(images: ImageSet, tmp_path: Path) -> None:
    settings = {"batch_size": 16, "lr": 0.1}
    best = trained(tmp_path / "best", images, 6, **settings, **{"trainer.keep": "best"})
    epoch = best.info["training"]["weights_of_epoch"]
    elbos = {row["epoch"]: row["elbo"] for row in best.history if row["split"] == "val"}
    assert elbos[epoch] == max(elbos.values())
    assert epoch < 6, "this learning rate does better before its end"
    until = trained(tmp_path / "until", images, epoch, **settings)
    kept, then = best.load_weights(), until.load_weights()
    assert all(torch.equal(kept[name], then[name]) for name in then)


def test_a_run_stops_early_and_says_so(images: ImageSet, tmp_path: Path) -> None:
    run = trained(tmp_path, images, 50, batch_size=16, lr=0.1, **{"trainer.patience": 2})
    told = run.info["training"]
    assert told["stopped_early"] is True
    assert told["epochs"] < 50
    assert told["epochs"] == run.history[-1]["epoch"] == best_epoch(run.history) + 2


# ---- steps that are left out


def test_a_step_with_a_large_gradient_is_left_out(images: ImageSet, tmp_path: Path) -> None:
    settings = {"batch_size": 16, "log_every": 1}
    none = trained(tmp_path / "none", images, 1, **settings, **{"trainer.skip_gradient_above": 1e-6})
    assert [row["skipped"] for row in none.history if row["split"] == "train"] == [1.0]
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("train", ["trainer.device=cpu"])
    for name, value in build.model(cfg, images.image_shape).state_dict().items():
        assert torch.equal(value, none.load_weights()[name])
    every = trained(tmp_path / "every", images, 1, **settings, **{"trainer.skip_gradient_above": 1e6})
    plain = trained(tmp_path / "plain", images, 1, **settings)
    for name, value in plain.load_weights().items():
        assert torch.equal(value, every.load_weights()[name])
    some = trained(tmp_path / "some", images, 3, **settings, **{"trainer.skip_gradient_above": 31.9})
    skipped = {row["skipped"] for row in some.history if row["split"] == "steps"}
    assert skipped == {0.0, 1.0}


# ---- what is refused


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["trainer.keep=bset"], "trainer.keep=bset is not one of last, best (did you mean best?)"),
        (
            ["lr_schedule=cosin"],
            "lr_schedule=cosin is not one of constant, cosine, step (did you mean cosine?)",
        ),
        (["trainer.patience=0"], "trainer.patience=0 is not a whole number at least 1 or null"),
        (["trainer.ema=1.0"], "trainer.ema=1.0 is not a number above 0 and below 1 or null"),
        (["trainer.ema=2"], "trainer.ema=2 is not a number above 0 and below 1 or null"),
        (["lr_warmup_epochs=0"], "lr_warmup_epochs=0 is not a number above 0 or null"),
        (["model=dcgan", "trainer.ema=0.9"], "use model.ema"),
        (["model=dcgan", "trainer.keep=best"], "tell no best epoch"),
        (["model=dcgan", "trainer.patience=3"], "tell no best epoch"),
        (["trainer.precision=tf32", "trainer.device=cpu"], "use fp32 or bf16 on a CPU"),
        (["regulariser.target=5", "regulariser.schedule=linear"], "drives λ, which schedule=linear does too"),
        (["regulariser.target=5", "regulariser.capacity=3"], "exclude each other"),
        (
            ["loss.reduction=mean", "likelihood=discretized_logistic"],
            "has no error to average: use reduction=sum",
        ),
        (["model=conv_ae", "regulariser=kl"], "loss=reconstruction takes no regulariser"),
        (["model=dcgan", "likelihood=gaussian"], "loss=adversarial takes no likelihood"),
        (["model=linear_vae", "likelihood=bernoulli"], "a Bernoulli likelihood is one of pixels in [0, 1]"),
        (["model=linear_vae", "likelihood=continuous_bernoulli"], "use likelihood=gaussian"),
        (["loss=elbo", "~regulariser"], "loss=elbo needs a regulariser"),
        (["trainer.skip_gradient_above=5", "optimizer.fused=false"], "needs optimizer.fused=true"),
    ],
)
def test_what_makes_no_sense_is_refused_before_training(overrides: list[str], words: str) -> None:
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("train", overrides)

    def checked() -> None:
        config.check(cfg, config.Train)
        hardware.choose(cfg.trainer)
        build.rehearse(cfg)

    with pytest.raises(UsageError) as refused:
        checked()
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


# ---- the precision, where that is left to the program


@pytest.mark.parametrize(
    ("has", "precision"),
    [
        ({}, "fp32"),
        ({"avx512_bf16": True, "amx_bf16": True, "cpu_name": "Intel Xeon"}, "bf16"),
        ({"avx512_bf16": True, "amx_bf16": False, "cpu_name": "Intel Xeon"}, "fp32"),
        ({"avx512_bf16": True, "cpu_name": "AMD EPYC"}, "bf16"),
        ({"avx512_bf16": True}, "fp32"),
    ],
)
def test_a_cpu_computes_in_bf16_where_that_was_measured_to_be_faster(
    has: dict[str, Any], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        chosen = hardware.choose(compose("train", ["trainer.device=cpu"]).trainer)
    assert chosen.precision == precision
    assert "measured" in chosen.reasons["precision"] or "no bf16" in chosen.reasons["precision"]


# ---- compiling, where that is left to the program


def test_compiling_pays_for_long_trainings_only() -> None:
    assert hardware.pays(60) is None
    because = hardware.pays(600)
    assert because is not None
    assert because.startswith("600 s of steps were left")


@pytest.mark.parametrize(("seconds", "epochs", "compiled"), [(1.0, 30, False), (20.0, 30, True)])
def test_a_network_on_a_gpu_is_compiled_after_the_second_epoch_where_it_pays(
    seconds: float, epochs: int, compiled: bool, tmp_path: Path
) -> None:
    class Told:
        """Takes down what it is told to do, in place of a run, a training and a network on a GPU."""

        def __init__(self) -> None:
            self.facts: dict[str, Any] = {}
            self.calls: list[str] = []
            self.step = self.validation = self.repeated = self
            self.hardware, self.device = self, torch.device("cuda")
            self.reasons = {"precision": "asked for"}
            self.cfg = self.trainer = self
            self.compile: Any = "auto"

        def update(self, **facts: Any) -> None:
            self.facts |= facts

        def forget(self) -> None:
            self.calls.append("forget")

    class Network:
        def __init__(self) -> None:
            self.compiled = 0

        def compile(self) -> None:
            self.compiled += 1

    told, network = Told(), Network()
    decide = Compilation(told, told, told, network)  # type: ignore[arg-type]
    for epoch in range(1, epochs + 1):
        decide(seconds, epochs - epoch)
        assert network.compiled == (compiled and epoch >= 2)
    assert told.calls == ["forget", "forget"] * compiled
    assert ("compile" in told.facts) is compiled
