"""Weights and checkpoints: what of a training they hold, in safetensors files that carry their own checksum."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from hashlib import file_digest, sha256
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from vaelab import UsageError
from vaelab.runs import history

if TYPE_CHECKING:  # what lists runs does not wait for torch
    from pathlib import Path

    from torch import Tensor, nn
    from torch.optim import Optimizer

Terms = dict[str, "Tensor"]

# A file's metadata are its SHA-256, for which its own digits count as zeros, and the facts as JSON.
KEY = "vaelab"
BLANK = "0" * sha256().digest_size * 2
MARK = f'"{KEY}":"'.encode()
LONGEST_HEADER = 100 << 20  # bytes, as safetensors has it


AVERAGE, BEST = "average.", "best."  # prefixes of weights beside those of the last step
HISTORY = "history"  # metrics.csv as bytes, among the tensors of a checkpoint


class Checkpoint(NamedTuple):
    """The state after an epoch: tensors by name, epoch and step, and the rows of metrics.csv until then."""

    tensors: Terms
    facts: dict[str, Any]
    rows: list[history.Row] | None  # None in a checkpoint of an older version


class Damaged(Exception):
    """A file does not hold what was written to it; the reason in words."""


def save_state(
    path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], rows: Sequence[history.Row]
) -> None:
    """Writes a checkpoint."""
    import torch

    text = torch.frombuffer(bytearray(history.to_text(rows).encode()), dtype=torch.uint8)
    write(path, {**tensors, HISTORY: text}, facts)


def read_state(path: Path) -> Checkpoint:
    """Reads a checkpoint; raises Damaged."""
    tensors, facts = read(path)
    _refuse_no_epoch(facts)
    text = tensors.pop(HISTORY, None)
    rows = None if text is None else history.from_text(bytes(text.numpy()).decode(), str(path))
    return Checkpoint(tensors, facts, rows)


def write(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Writes tensors and facts to one file with a checksum of both."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    try:
        save_file(contiguous, path, {KEY: BLANK + json.dumps(facts)})
    except SafetensorError as error:
        if reason := re.search(r"\(os error (\d+)\)", str(error)):  # which it has in words only
            raise OSError(int(reason[1]), os.strerror(int(reason[1])), str(path)) from error
        raise
    with path.open("r+b") as file:
        digest = file_digest(file, "sha256").hexdigest()
        file.seek(_header(file).index(MARK) + len(MARK))
        file.write(digest.encode())


def read(path: Path, expected: Mapping[str, Tensor] | None = None) -> tuple[Terms, dict[str, Any]]:
    """The tensors and facts of a file; raises Damaged. A file of an older version has no checksum.

    Raises UsageError for other names or shapes than those expected, before tensors are read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    with path.open("rb") as file:
        header = _header(file)
        facts, digest = _parsed(header)
        if expected is not None:
            _refuse_others(path, header, expected)
        data = header + file.read()
    if digest and digest != _digest(data):
        raise Damaged("its checksum does not match")
    try:
        return load(data), facts
    except SafetensorError as error:
        raise Damaged("it is cut short or no safetensors file") from error


def read_facts(path: Path) -> dict[str, Any]:
    """The facts of a checkpoint, whose checksum is not looked at; raises Damaged."""
    with path.open("rb") as file:
        facts, _ = _parsed(_header(file))
    _refuse_no_epoch(facts)
    return facts


def _refuse_no_epoch(facts: Mapping[str, Any]) -> None:
    if any(type(facts.get(name)) is not int for name in ("epoch", "step")):
        raise Damaged("its epoch is not there")


def _header(file: BinaryIO) -> bytes:
    """The bytes before the tensors: the header's length in eight, then JSON."""
    file.seek(0)
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if length > LONGEST_HEADER:
        raise Damaged("it is no safetensors file")
    return start + file.read(length)


def _entries(header: bytes) -> dict[str, Any]:
    try:
        entries = json.loads(header[8:])
    except (ValueError, RecursionError):
        raise Damaged("it is cut short or no safetensors file") from None
    if not isinstance(entries, dict):
        raise Damaged("it is no safetensors file")
    return entries


def _parsed(header: bytes) -> tuple[dict[str, Any], str]:
    """The facts, and the checksum or nothing."""
    metadata = _entries(header).get("__metadata__", {KEY: "{}"})  # older weights have none
    if not isinstance(metadata, dict) or not isinstance(metadata.get(KEY), str):
        raise Damaged("its facts are not there")
    text = metadata[KEY]
    length = 0 if text.startswith("{") else len(BLANK)
    try:
        facts = json.loads(text[length:])
    except (ValueError, RecursionError):
        raise Damaged("its facts cannot be read") from None
    if not isinstance(facts, dict):
        raise Damaged("its facts cannot be read")
    return facts, text[:length]


def _digest(data: bytes) -> str:
    place = data.index(MARK) + len(MARK)
    view = memoryview(data)
    made = sha256(view[:place])
    made.update(BLANK.encode())
    made.update(view[place + len(BLANK) :])
    return made.hexdigest()


def _refuse_others(path: Path, header: bytes, expected: Mapping[str, Tensor]) -> None:
    entries = _entries(header)
    entries.pop("__metadata__", None)
    shapes = {name: entry.get("shape") for name, entry in entries.items() if isinstance(entry, dict)}
    for name in dict.fromkeys([*expected, *entries]):
        if name not in expected or shapes.get(name) != list(expected[name].shape):
            raise UsageError(
                f"{path} holds the weights of another model than its configuration says: {name} differs"
            )


def refuse_not_finite(path: Path, module: nn.Module) -> None:
    """Raises UsageError where the weights of a file, once loaded, are not finite."""
    # Buffers may be infinite, such as a mask's.
    lost = [name for name, value in module.named_parameters() if not value.isfinite().all()]
    lost += [name for name, value in module.named_buffers() if value.isnan().any()]
    if lost:
        raise UsageError(
            f"{path} holds numbers that are not finite ({lost[0]}): train the run again with rerun=true"
        )


def state(model: nn.Module, loss: nn.Module, optimizers: Mapping[str, Optimizer]) -> Terms:
    """Everything that training changes, as one flat dict of tensors."""
    tensors = weights(model, loss, prefix="model.")
    for player, optimizer in optimizers.items():
        for index, entries in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{player}.{index}.{name}": value for name, value in entries.items()}
    return tensors


def weights(model: nn.Module, loss: nn.Module, prefix: str = "") -> Terms:
    """The weights of a model and, named `loss.`, those of its loss."""
    return {f"{prefix}{name}": value for name, value in model.state_dict().items()} | {
        f"loss.{name}": value for name, value in loss.state_dict().items()
    }


def load(model: nn.Module, loss: nn.Module, optimizers: Mapping[str, Optimizer], tensors: Terms) -> None:
    """Puts back what state() gave."""
    model.load_state_dict(below(tensors, "model."))
    loss.load_state_dict(below(tensors, "loss."))
    for player, optimizer in optimizers.items():
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        entries: dict[int, Terms] = {}
        for name, value in below(tensors, f"optimizer.{player}.").items():
            index, _, entry = name.partition(".")
            parameter = parameters[int(index)]
            if value.shape == parameter.shape:  # fused optimizers need the parameter's own memory layout
                value = parameter.detach().clone().copy_(value)
            entries.setdefault(int(index), {})[entry] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": entries})


def final_weights(tensors: Terms) -> Terms:
    """The weights that a trained run keeps, of those in its last checkpoint: the best, the average, or the last."""
    if best := below(tensors, BEST):
        return best
    weights = below(tensors, f"{AVERAGE}weights.") or below(tensors, "model.")
    return weights | {name: value for name, value in tensors.items() if name.startswith("loss.")}


def below(tensors: Terms, prefix: str) -> Terms:
    """The tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
