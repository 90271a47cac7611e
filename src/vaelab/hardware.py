"""Where and how a run is computed: device, precision, compilation, and why each was chosen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from omegaconf import DictConfig

from vaelab import UsageError

# Measured on one NVIDIA H200 with torch 2.11 and conv_vae in batches of 128 (scripts/benchmarks.md).
BF16_CAPTURED = 1.94  # times as fast as fp32 at 64×64, captured
BF16_EAGER = 0.65  # at 28×28, not captured, on an H100
COMPILED = 1.3  # times as fast as uncompiled at 28×28 (1.58 at 64×64)
COMPILING = 19.0  # seconds that compiling takes at most, without a cache of earlier times


@dataclass(frozen=True)
class Hardware:
    """Where and how a run is computed, and why."""

    device: torch.device
    precision: str  # fp32, tf32 or bf16
    compile: bool
    reasons: dict[str, str]


def device(name: str) -> str:
    """cpu or cuda; raises UsageError for a device that is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device=cuda: no CUDA device is there: use device=cpu or auto")
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose(trainer: DictConfig) -> Hardware:
    """Resolves the trainer's `auto` values by rule; run.json holds the choice and the reason."""
    kind = device(trainer.device)
    reasons = {}
    precision = trainer.precision
    if precision == "auto":
        precision, reasons["precision"] = _precision(kind)
    if precision == "tf32" and kind == "cpu":
        raise UsageError("trainer.precision=tf32 is one of GPUs: use fp32 or bf16 on a CPU")
    compiled = trainer.compile
    if compiled == "auto":
        compiled, reasons["compile"] = False, _uncompiled(kind)
    elif compiled and kind == "cpu" and not _has_compiler():
        compiled, reasons["compile"] = False, "asked for, but there is no working C++ compiler such as g++"
    return Hardware(torch.device(kind), precision, bool(compiled), reasons)


def continued(chosen: Hardware, trainer: DictConfig, begun: Mapping[str, Any]) -> Hardware:
    """The choice with the precision that a run of this run.json has begun in, where that is left to the program."""
    precision = begun.get("precision")
    elsewhere = not str(begun.get("device")).startswith(chosen.device.type)
    others = {"fp32", "bf16"} - {chosen.precision}
    if trainer.precision != "auto" or elsewhere or precision not in others:
        return chosen
    return replace(chosen, precision=precision, reasons=chosen.reasons | {"precision": "the run began in it"})


def pays(seconds_left: float) -> str | None:
    """Why compiling pays for what is left of a training on a GPU, or None where it does not."""
    saved = seconds_left * (1 - 1 / COMPILED)
    if saved <= COMPILING:
        return None
    return (
        f"{seconds_left:.0f} s of steps were left, of which compiling was taken to save {saved:.0f} s "
        f"({COMPILED:g} times as fast on an H200) and to cost at most {COMPILING:g} s"
    )


def _uncompiled(kind: str) -> str:
    if kind == "cpu":
        return "eager: on a CPU a choice by time would change the digits of a run that is continued"
    return f"captured, uncompiled: compiling pays where it saves more than {COMPILING:g} s"


def _precision(kind: str) -> tuple[str, str]:
    if kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        told = f"measured {BF16_CAPTURED:g} times as fast as fp32 on an H200 at 64×64 when captured"
        return "bf16", f"{told} ({BF16_EAGER:g} times at 28×28 on an H100 where a step cannot be captured)"
    if kind == "cuda":
        return "fp32", "the device has no bf16"
    return _precision_of_cpu(torch.cpu.get_capabilities())


def _precision_of_cpu(has: Mapping[str, Any]) -> tuple[str, str]:
    """Units for bf16 do not say that it is faster: those of an Intel without AMX are slower than its own fp32."""
    if has.get("amx_bf16"):
        return "bf16", "the CPU multiplies bf16 in AMX units, measured 1.3 to 1.7 times as fast as fp32"
    if not has.get("avx512_bf16"):
        return "fp32", "the CPU has no bf16 in hardware"
    if "AMD" in str(has.get("cpu_name")):
        return (
            "bf16",
            "the CPU multiplies bf16 in hardware, measured 1.6 times as fast as fp32 on an AMD EPYC",
        )
    return "fp32", "bf16 was measured 0.7 to 0.9 times as fast on an Intel Xeon with avx512_bf16 and no AMX"


def _has_compiler() -> bool:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return False
    return True


class Placed:
    """A network on its device, whose methods run in the chosen precision; all else is the network's own.

    Evaluations use the network itself, in float32.
    """

    def __init__(
        self, network: Any, chosen: Hardware, tell: Callable[[str], object] = lambda line: None
    ) -> None:
        network.to(chosen.device)
        if chosen.device.type == "cuda":  # the layout of the loader's batches there
            network.to(memory_format=torch.channels_last)
        self._network, self._chosen, self._tell = network, chosen, tell
        self.not_compiled_because: str | None = None  # where it was asked for
        self._make(chosen.compile)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def compile(self) -> None:
        """Compiles the methods, once each is called again."""
        self._make(compiled=True)

    def _make(self, compiled: bool) -> None:
        for name in self._network.methods:
            method = getattr(self._network, name)
            setattr(self, name, self._in_precision(self._compiled(method) if compiled else method))

    def _compiled(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """The method compiled when it is first called, or as it is from the first failure on."""
        from torch._dynamo.exc import TorchDynamoException

        call = torch.compile(method)

        def compiled(*arguments: Any) -> Any:
            if self.not_compiled_because is None:
                try:
                    return call(*arguments)
                except TorchDynamoException as error:
                    reason = getattr(error, "inner_exception", error)
                    lines = str(reason).splitlines() or [type(reason).__name__]
                    self.not_compiled_because = f"compiling failed: {lines[0]}"
                    self._tell(f"{self.not_compiled_because}; goes on uncompiled")
            return method(*arguments)

        return compiled

    def _in_precision(self, method: Callable[..., Any]) -> Callable[..., Any]:
        if self._chosen.precision != "bf16":
            return method
        kind = self._chosen.device.type

        def in_bf16(*arguments: Any) -> Any:
            with torch.autocast(kind, torch.bfloat16):
                return method(*arguments)

        return in_bf16


def allow_tf32(device: torch.device, allowed: bool) -> None:
    """Lets float32 products on a GPU have the digits of TF32, or not; of the whole process, until it is said again."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high" if allowed else "highest")
        torch.backends.cudnn.allow_tf32 = allowed
