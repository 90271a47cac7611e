"""What is built computes as run.json says."""

from dataclasses import replace

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import nn

from vaelab import build, config, hardware
from vaelab.hardware import Placed


def test_compiled_methods_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_ = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda call: compile_(call, backend="eager")
    )  # no C++ compiler needed
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("train", ["trainer.precision=fp32", "trainer.device=cpu"])
    network = build.model(cfg, (1, 16, 16))
    model = Placed(network, replace(hardware.choose(cfg.trainer), compile=True))
    images = torch.rand(2, 1, 16, 16)
    mean = model.encode(images).mean.detach()
    torch.testing.assert_close(mean, network.encode(images).mean)
    torch.testing.assert_close(model.decode(mean), network.decode(mean))


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_training_runs_in_the_chosen_precision_and_evaluation_in_float32(
    precision: str, dtype: torch.dtype
) -> None:
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("train", [f"trainer.precision={precision}", "trainer.device=cpu"])
    network = build.model(cfg, (1, 16, 16))
    model = Placed(network, hardware.choose(cfg.trainer))
    seen: list[torch.dtype] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    images = torch.rand(2, 1, 16, 16)
    posterior = model.encode(images)
    decoded = model.decode(posterior.sample(torch.default_generator))
    assert set(seen) == {dtype}
    assert {posterior.mean.dtype, posterior.log_variance.dtype, decoded.dtype} == {torch.float32}
    seen.clear()
    network.decode(network.encode(images).mean)
    assert set(seen) == {torch.float32}
    assert {p.dtype for p in network.parameters()} == {torch.float32}


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # dynamo looks at it
def test_both_networks_of_a_gan_run_in_the_chosen_precision_and_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda call: compile_(call, backend="eager"))
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("train", ["model=acgan", "trainer.precision=bf16", "trainer.device=cpu"])
    network = build.model(cfg, (1, 16, 16), classes=3)
    model = Placed(network, replace(hardware.choose(cfg.trainer), compile=True))
    optimizers = build.optimizers(cfg, network.players(), torch.device("cpu"))
    assert list(optimizers) == ["discriminator", "generator"]
    assert {optimizer.param_groups[0]["betas"] for optimizer in optimizers.values()} == {(0.5, 0.999)}
    seen: list[torch.dtype] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    z, label = network.draw(4), torch.tensor([0, 1, 2, 0])
    images = model.generate(z, label)
    verdict = model.discriminate(images)
    assert set(seen) == {torch.bfloat16}
    assert {images.dtype, verdict.real.dtype, verdict.classes.dtype} == {torch.float32}
    torch.testing.assert_close(network.train().generate(z, label), images, rtol=0, atol=0.02)


def test_a_network_that_cannot_be_compiled_goes_on_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("g++: fatal error")

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda call: compile_(call, backend=broken))
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("train", ["trainer.precision=fp32", "trainer.device=cpu"])
    network = build.model(cfg, (1, 16, 16))
    told: list[str] = []
    model = Placed(network, replace(hardware.choose(cfg.trainer), compile=True), told.append)
    images = torch.rand(2, 1, 16, 16)
    for _ in range(2):
        mean = model.encode(images).mean
        torch.testing.assert_close(mean, network.encode(images).mean)
        torch.testing.assert_close(model.decode(mean), network.decode(mean))
    (line,) = told
    assert "g++: fatal error" in line
    assert line.endswith("goes on uncompiled")
    assert model.not_compiled_because
