"""K networks of one architecture in one pass: every layer works for all members at once."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaelab.models.blocks import Code, EncoderDecoder, Expand, Reshape

Noise = Callable[[Tensor], Tensor]  # codes (B, ...) of one member to normal numbers (B, ...) or (K, B, ...)
Layer = TypeVar("Layer", bound=nn.Module)

# Layers without weights of their own, for which the members are nothing but more images or more channels.
ELEMENTWISE = (nn.SiLU, nn.ReLU, nn.LeakyReLU)
FOLDED = (nn.MaxPool2d, nn.Upsample)
CONTAINERS = (nn.Sequential, Expand)


class Posteriors(NamedTuple):
    """The posteriors of K members: mean and log variance, both (K, B, ...)."""

    mean: Tensor
    log_variance: Tensor
    noise: Noise

    def sample(self) -> Tensor:
        """One draw for each member and image; members with one seed share their noise."""
        return self.mean + torch.exp(0.5 * self.log_variance) * self.noise(self.mean[0])


class Ensemble(nn.Module):
    """K members behind the encode and decode of one; the members' parameters become views of the stacked ones.

    `groups` counts the members whose parameters are stacked into one tensor (they share an optimizer's settings), in
    the members' order. Features are (B, K, C, H, W) inside, vectors (K, B, n); without K where the members share
    them. Raises ValueError for an architecture with a layer that is not known here.
    """

    def __init__(self, members: Sequence[EncoderDecoder], groups: Sequence[int], noise: Noise) -> None:
        super().__init__()
        first = members[0]
        self.noise = noise
        self.network: EncoderDecoder = _shell(first)
        for part in ("encoder", "decoder"):
            layers = stacked([getattr(member, part) for member in members], groups)
            setattr(self.network, part, nn.Sequential(Swap(), layers, Swap()))
        places = [(group, row) for group, size in enumerate(groups) for row in range(size)]
        self._rows: list[list[tuple[nn.Parameter, int]]] = []
        for member, (group, row) in zip(members, places, strict=True):
            rows = [(leaf, row) for leaf in self.group(group)]
            for parameter, (leaf, _) in zip(member.parameters(), rows, strict=True):
                parameter.data = leaf.data[row]
            self._rows.append(rows)

    def group(self, number: int) -> list[nn.Parameter]:
        """The stacked parameters of one group, in the order of a member's own."""
        return [p for name, p in self.named_parameters() if int(name.rpartition(".")[2]) == number]

    def rows(self, member: int) -> list[tuple[nn.Parameter, int]]:
        """Where each parameter of a member is: the stacked parameter and the row of it."""
        return self._rows[member]

    methods = EncoderDecoder.methods

    def encode(self, images: Tensor) -> Any:
        """Images (B, C, H, W) of all members, or (K, B, C, H, W), to their codes (K, B, ...)."""
        code = self.network.encode(images)
        return code if isinstance(code, Code) else Posteriors(code.mean, code.log_variance, self.noise)

    def decode(self, z: Tensor) -> Tensor:
        """Codes (K, B, ...) to images (K, B, C, H, W) in [0, 1], always in float32."""
        return self.network.decode(z)


def stacked(layers: Sequence[nn.Module], groups: Sequence[int]) -> nn.Module:
    """One layer that does what the members' layers do; raises ValueError where it cannot."""
    first = layers[0]
    if isinstance(first, CONTAINERS):
        shell = _shell(first)
        for name in dict(first.named_children()):
            setattr(shell, name, stacked([getattr(layer, name) for layer in layers], groups))
        return shell
    if make := STACKED.get(type(first)):
        return make(layers, groups)
    if isinstance(first, ELEMENTWISE):
        return first
    if isinstance(first, FOLDED):
        return Folded(first)
    if isinstance(first, nn.Flatten):
        return StackedFlatten()
    if isinstance(first, Reshape):
        return StackedReshape(first.shape)
    raise ValueError(f"{type(first).__name__} layers cannot be trained together")


def _shell(module: Layer) -> Layer:
    """A module of the same class and settings, to be given other children."""
    shell = copy.copy(module)
    shell._parameters, shell._buffers = module._parameters.copy(), module._buffers.copy()
    shell._modules = module._modules.copy()
    return shell


def _stack(tensors: Sequence[Tensor], groups: Sequence[int]) -> nn.ParameterList:
    parts = torch.stack([tensor.detach() for tensor in tensors]).split(list(groups))
    return nn.ParameterList(nn.Parameter(part.clone()) for part in parts)


def _all(parts: nn.ParameterList) -> Tensor:
    """(K, ...): the groups one after the other, without a copy where there is only one."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


class Weighted(nn.Module):
    """Stacked weights (K, ...) and biases (K, n) of K layers."""

    settings: tuple[str, ...] = ()  # of a layer, beside its weights
    weight: nn.ParameterList
    bias: nn.ParameterList | None

    def __init__(self, layers: Sequence[Any], groups: Sequence[int]) -> None:
        super().__init__()
        self.members = len(layers)
        self.layer = {name: getattr(layers[0], name, None) for name in self.settings}
        self.weight = _stack([layer.weight for layer in layers], groups)
        self.bias = None if layers[0].bias is None else _stack([layer.bias for layer in layers], groups)

    def flat_bias(self) -> Tensor | None:
        """(K · n,), or None."""
        return None if self.bias is None else _all(self.bias).flatten()


class StackedLinear(Weighted):
    """Vectors (K, B, a), or (B, a) that all members share, to (K, B, b)."""

    def forward(self, x: Tensor) -> Tensor:
        weight = _all(self.weight)
        if x.ndim == 2:
            out = F.linear(x, weight.flatten(0, 1), self.flat_bias())
            return out.unflatten(1, (self.members, -1)).transpose(0, 1)
        if self.bias is None:
            return torch.bmm(x, weight.transpose(1, 2))
        return torch.baddbmm(_all(self.bias).unsqueeze(1), x, weight.transpose(1, 2))


class StackedConv(Weighted):
    """Features (B, K, C, H, W), or (B, C, H, W) that all members share, to (B, K, D, h, w)."""

    settings = ("stride", "padding")

    def forward(self, x: Tensor) -> Tensor:
        # What the members share is read once, by one convolution with all of their filters.
        groups = 1 if x.ndim == 4 else self.members
        out = F.conv2d(
            x if x.ndim == 4 else x.flatten(1, 2),
            _all(self.weight).flatten(0, 1),
            self.flat_bias(),
            groups=groups,
            **self.layer,  # type: ignore[arg-type]
        )
        return out.unflatten(1, (self.members, -1))


class StackedConvTranspose(Weighted):
    """Features (B, K, C, H, W) to (B, K, D, h, w)."""

    settings = ("stride", "padding", "output_padding")

    def forward(self, x: Tensor) -> Tensor:
        out = F.conv_transpose2d(
            x.flatten(1, 2),
            _all(self.weight).flatten(0, 1),
            self.flat_bias(),
            groups=self.members,
            **self.layer,  # type: ignore[arg-type]
        )
        return out.unflatten(1, (self.members, -1))


class StackedGroupNorm(Weighted):
    """Features (B, K, C, H, W), each member normalised in groups of its own."""

    settings = ("num_groups", "eps")

    def forward(self, x: Tensor) -> Tensor:
        groups, eps = self.layer["num_groups"], self.layer["eps"]
        assert isinstance(groups, int)
        assert isinstance(eps, float)
        weight = _all(self.weight).flatten()
        out = F.group_norm(x.flatten(1, 2), self.members * groups, weight, self.flat_bias(), eps)
        return out.unflatten(1, (self.members, -1))


STACKED: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Linear: StackedLinear,
    nn.Conv2d: StackedConv,
    nn.ConvTranspose2d: StackedConvTranspose,
    nn.GroupNorm: StackedGroupNorm,
}


class Folded(nn.Module):
    """A layer that works on each channel alone."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.flatten(1, 2))
        return out.unflatten(1, (x.shape[1], -1))


class StackedFlatten(nn.Module):
    """Features (B, K, C, H, W) to vectors (K, B, n); what the members share to (B, n)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) if x.ndim == 4 else x.transpose(0, 1).flatten(2)


class StackedReshape(nn.Module):
    """Vectors (K, B, n) to features (B, K, *shape)."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(2, self.shape).transpose(0, 1)


class Swap(nn.Module):
    """(K, B, C, H, W) to (B, K, C, H, W) and back; leaves vectors and shared images as they are."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1) if x.ndim == 5 else x
