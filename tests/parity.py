"""Compare the networks with reference numbers of the original Keras implementation.

    python tests/parity.py FILE.npz

FILE holds weights, inputs, intermediates and outputs of OmniLearn's PET and event ResNet, with
the Keras name of each weight, and a run of the original sampler. Prints the relative error (norm
of the difference over norm) of every part and ends with status 1 where one is above its limit.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hitools.core.diffusion.schedule import alpha_sigma, log_snr
from hitools.core.diffusion.solvers import SOLVERS
from hitools.core.nets.config import NetConfig
from hitools.core.nets.model import Denoiser

LIMIT = 1e-5
SAMPLER_LIMIT = 1e-3

Reference = Mapping[str, np.ndarray]


class KerasLayers:
    """The layers of one Keras model by kind, each kind in the order of creation."""

    def __init__(self, reference: Reference, part: str) -> None:
        layers: dict[tuple[str, int], dict[str, Tensor]] = defaultdict(dict)
        for i, full_name in enumerate(reference[f"{part}.names"]):
            match = re.fullmatch(r"([a-z_]+?)(?:_(\d+))?/(.+):0\|.*", str(full_name))
            assert match, full_name
            kind, number, weight = match[1], int(match[2] or 0), match[3]
            layers[kind, number][weight] = torch.from_numpy(reference[f"{part}.w{i:03d}"])
        self.kinds: dict[str, Iterator[dict[str, Tensor]]] = {
            kind: iter([layers[key] for key in sorted(layers) if key[0] == kind])
            for kind, _ in layers
        }

    def dense(self, layer: nn.Linear) -> None:
        weights = next(self.kinds["dense"])
        layer.weight.data.copy_(weights["kernel"].T)
        assert ("bias" in weights) == (layer.bias is not None)
        if layer.bias is not None:
            layer.bias.data.copy_(weights["bias"])

    def scale(self, layer: nn.Module) -> None:
        layer.weight.data.copy_(next(self.kinds["layer_scale"])["gamma"])

    def norm(self, layer: nn.Module, kind: str = "group_normalization") -> None:
        weights = next(self.kinds[kind])
        layer.weight.data.copy_(weights["gamma"])
        layer.bias.data.copy_(weights["beta"])

    def attention(self, layer: nn.Module) -> None:
        weights = next(self.kinds["multi_head_attention"])
        names = ("query", "key", "value")
        kernels = [weights[f"{name}/kernel"].flatten(1).T for name in names]
        layer.qkv.weight.data.copy_(torch.cat(kernels))
        layer.qkv.bias.data.copy_(torch.cat([weights[f"{name}/bias"].flatten() for name in names]))
        layer.out.weight.data.copy_(weights["attention_output/kernel"].flatten(0, 1).T)
        layer.out.bias.data.copy_(weights["attention_output/bias"])

    def block(self, block: nn.Module) -> None:
        self.norm(block.attention_norm)
        self.attention(block.attention)
        self.scale(block.attention_scale)
        self.norm(block.mlp_norm)
        self.dense(block.mlp_hidden)
        self.dense(block.mlp_out)
        self.scale(block.mlp_scale)

    def assert_used_up(self) -> None:
        assert all(next(rest, None) is None for rest in self.kinds.values())


def load_denoiser(reference: Reference) -> Denoiser:
    """The reference's network with the reference's weights."""
    n_particle, n_event, n_classes, k, n_local, n_blocks, n_head, n_heads, width = (
        int(value) for value in reference["config"]
    )
    model = Denoiser(
        NetConfig(
            n_particle_features=n_particle,
            n_event_features=n_event,
            n_classes=n_classes,
            n_neighbours=k,
            n_local_layers=n_local,
            n_blocks=n_blocks,
            n_head_blocks=n_head,
            n_heads=n_heads,
            width=width,
        )
    )
    body = KerasLayers(reference, "body")
    for layer in (model.body.embed_hidden, model.body.embed_out):
        body.dense(layer)
    for layer in (model.body.time.hidden, model.body.time.out, model.body.modulation.dense):
        body.dense(layer)
    for local in model.body.local_layers:
        body.dense(local.hidden)
        body.dense(local.out)
    for block in model.body.blocks:
        body.block(block)
    body.assert_used_up()

    head = KerasLayers(reference, "head")
    for layer in (model.head.time.hidden, model.head.time.out, model.head.event_embed):
        head.dense(layer)
    for layer in (model.head.condition_hidden, model.head.condition_out, model.head.label):
        head.dense(layer)
    for block in model.head.blocks:
        head.block(block)
    head.norm(model.head.norm)
    head.dense(model.head.out)
    head.assert_used_up()

    event = KerasLayers(reference, "event")
    for layer in (model.event.time.hidden, model.event.time.out, model.event.label):
        event.dense(layer)
    for layer in (model.event.modulation.dense, model.event.embed):
        event.dense(layer)
    for block in model.event.blocks:
        event.norm(block.norm, "layer_normalization")
        for layer in (block.shortcut, block.first, block.second):
            event.dense(layer)
        event.scale(block.scale)
    event.norm(model.event.norm, "layer_normalization")
    event.dense(model.event.out)
    event.assert_used_up()
    return model.eval()


@torch.no_grad()
def our_numbers(reference: Reference) -> dict[str, Tensor]:
    """What this implementation makes of the reference's weights and inputs, by reference name."""
    model = load_denoiser(reference)
    x, jet, t, y, y1 = (torch.from_numpy(reference[key]) for key in ("x", "jet", "t", "y", "y1"))
    n_events, n_particles, n_features = x.shape
    t = t[:, 0]
    packed = x.reshape(-1, n_features)
    offsets = torch.arange(n_events + 1) * n_particles
    ours: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> None:
        ours[name] = value.reshape(n_events, n_particles, -1)

    hooks = [
        model.body.blocks[0].register_forward_pre_hook(
            lambda _module, args: keep("body_after_local", args[0])
        ),
        model.body.register_forward_hook(lambda _module, _args, out: keep("body_out", out)),
    ]
    for i, block in enumerate(model.body.blocks):
        hooks.append(
            block.register_forward_hook(
                lambda _module, _args, out, i=i: keep(f"body_block{i}_premask", out)
            )
        )
    keep("head_out", model.particle_velocity(packed, t, jet, offsets, y))
    for hook in hooks:
        hook.remove()
    keep("head_out_y1", model.particle_velocity(packed, t, jet, offsets, y1))
    ours["event_out"] = model.event_velocity(jet, t, y)
    ours["event_out_y1"] = model.event_velocity(jet, t, y1)

    ours["logsnr"] = log_snr(t)[:, None]
    ours["alpha"], ours["sigma"] = (value[:, None] for value in alpha_sigma(t))

    solve, steps = SOLVERS["midpoint"].solve, int(reference["sampler_steps"])
    ours["sampler_event"] = solve(
        lambda z, time: model.event_velocity(z, torch.full((n_events,), time), y),
        torch.from_numpy(reference["sampler_xT_event"]),
        steps,
    )
    particles = solve(
        lambda z, time: model.particle_velocity(z, torch.full((n_events,), time), jet, offsets, y),
        torch.from_numpy(reference["sampler_xT"]).reshape(-1, n_features),
        steps,
    )
    keep("sampler_part", particles)
    return ours


def relative_errors(reference: Reference) -> dict[str, float]:
    """Norm of the difference over norm of the reference, for every number that both have."""
    return {
        name: float(np.linalg.norm(value.numpy() - reference[name]))
        / max(float(np.linalg.norm(reference[name])), 1e-30)
        for name, value in our_numbers(reference).items()
    }


def main(path: Path) -> int:
    """Print the comparison with the reference at path; 0 where every part is within its limit."""
    torch.set_num_threads(1)
    with np.load(path, allow_pickle=False) as file:
        reference = {key: file[key] for key in file.files}
    errors = relative_errors(reference)
    failed = False
    for name, error in errors.items():
        limit = SAMPLER_LIMIT if name.startswith("sampler") else LIMIT
        good = error <= limit  # false for NaN
        failed |= not good
        print(f"{name:<22} {error:9.2e}  limit {limit:g}{'' if good else '  ABOVE'}")  # noqa: T201
    return int(failed)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/parity.py FILE.npz")
    sys.exit(main(Path(sys.argv[1])))
