"""ONNX: each part of a network as one file, which ONNX Runtime computes as torch does."""

import io
import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from vaelab import Failure, UsageError, files
from vaelab.build import Network
from vaelab.export.parts import Part, parts
from vaelab.models import ImageShape

TOLERANCE = 1e-5  # of the largest value, or of 1 where that is larger: the last digits of float32
EXAMPLE = 3  # images that a part is traced with; a batch of another size then shows what depends on it
CHECKED = (1, 7)  # sizes of the batches that are compared
LARGEST = (1 << 31) - 1  # bytes of one ONNX file, as Protocol Buffers has it


def refuse_missing() -> None:
    """Raises UsageError where a package that writes or computes ONNX is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise UsageError(
            "to=onnx needs onnx, onnxscript and onnxruntime: pip install 'vaelab[onnx]'"
        ) from None


def write(network: Network, image_shape: ImageShape, folder: Path) -> Iterator[tuple[Path, float]]:
    """Writes <part>.onnx of each part; gives its path and how far ONNX Runtime is from torch at most.

    Raises UsageError for a network that has no ONNX, with the layer, and Failure where the difference is no rounding.
    """
    bytes_of_weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if bytes_of_weights > LARGEST:
        raise UsageError(
            f"the weights have {bytes_of_weights / 1e9:.1f} GB, and an ONNX file holds 2.1 GB: use to=hub"
        )
    network.requires_grad_(False)
    for part in parts(network, image_shape):
        program = graph(part, network)
        target = folder / f"{part.name}.onnx"
        with files.whole(target) as path:
            program.save(path, external_data=False)
            difference = largest_difference(path, part)
            if not difference <= TOLERANCE:
                raise Failure(
                    f"{part.name}: ONNX Runtime differs from torch by {difference:.1e}, more than {TOLERANCE:g}: "
                    "nothing was written"
                )
        yield target, difference


def graph(part: Part, network: Network) -> Any:
    """A part as an ONNX program for batches of any size; raises UsageError with the layer that has no ONNX."""
    example = part.inputs(EXAMPLE)
    batch = Dim("batch", min=1)
    with quiet():
        try:
            sizes = {name: {0: batch} for name in example}
            traced = torch.export.export(part.function, (), example, dynamic_shapes=sizes, strict=False)
        except Exception as error:  # a layer of a user's own may raise anything
            raise refusal(part, layer_of(error, network), reason(error)) from error
        try:
            program: Any = torch.onnx.export(
                traced, dynamo=True, input_names=list(example), output_names=part.outputs, verbose=False
            )
        except torch.onnx.OnnxExporterError as error:
            operation = missing_operation(error)
            told = f"ONNX has no {operation}" if operation else reason(error)
            raise refusal(part, layer_with(operation, traced), told) from error
    assert program is not None
    program.rename_axes({str(program.model.graph.inputs[0].shape[0]): "batch"})
    return program


@contextmanager
def quiet() -> Iterator[None]:
    """Without what torch says of a trace that fails, of which an error tells in one line."""
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


@torch.no_grad()
def largest_difference(path: Path, part: Part) -> float:
    """How far the outputs of an ONNX file are from torch's at most, relative to the largest value where above 1."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = [0.0]
    for count in CHECKED:
        inputs = part.inputs(count)
        wanted = part.function(**inputs)
        given = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        for ours, theirs in zip((wanted,) if isinstance(wanted, Tensor) else wanted, given, strict=True):
            if ours.shape != theirs.shape:
                raise refusal(part, "", f"its output is {theirs.shape} there, and {tuple(ours.shape)} here")
            off = (ours.double() - torch.from_numpy(theirs).double()).abs().max()
            found.append(float(off / ours.abs().max().clamp(min=1)))
    return float(torch.tensor(found).max())  # which is NaN where one of them is


def refusal(part: Part, layer: str, told: str) -> UsageError:
    """For a part that has no ONNX."""
    where = f", layer {layer}," if layer else ""
    return UsageError(f"the {part.name}{where} cannot be exported to ONNX: {told}")


def layer_of(error: Exception, network: Network) -> str:
    """The innermost layer that was at work when an error was raised, with its class; empty where none was."""
    # By its class, for torch traces copies of the layers.
    at_work = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)]
    kinds = [type(layer).__name__ for layer in at_work if isinstance(layer, nn.Module)]
    names = [name for name, layer in network.named_modules() if name and type(layer).__name__ in kinds[-1:]]
    return f"{' or '.join(names)} ({kinds[-1]})" if names else ""


def missing_operation(error: Exception) -> str:
    """The operation of torch that ONNX lacks; empty where that is not what is wrong."""
    found = re.search(r"No ONNX function found for <OpOverload\(op='(?:aten\.)?(\w+)'", str(error))
    return found[1] if found else ""


def layer_with(operation: str, traced: ExportedProgram) -> str:
    """The layer that has an operation, with its class; empty where none is found."""
    for node in traced.run_decompositions().graph.nodes if operation else ():
        if f".{operation}." in f".{node.target}.":
            name, kind = list(node.meta["nn_module_stack"].values())[-1]
            return f"{str(name).removeprefix('network.')} ({str(kind).rpartition('.')[2]})"
    return ""


def reason(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join((str(error) or type(error).__name__).split("\n\n")[0].split())[:200]
