"""The denoiser: both branches in one module, for training and for the samplers.

Particles are packed: rows offsets[k]:offsets[k+1] belong to event k, and nothing is padded.
"""

import torch
from torch import Tensor, nn

from hitools.core.nets.config import NetConfig
from hitools.core.nets.event_resnet import EventResNet
from hitools.core.nets.layout import Layout
from hitools.core.nets.pet import Body, Head


class Denoiser(nn.Module):
    """Velocity v = alpha eps - sigma z0 of events, and of particles given their event."""

    def __init__(self, config: NetConfig | None = None) -> None:
        """Random weights; the paper's sizes by default."""
        super().__init__()
        self.config = config or NetConfig()
        self.event = EventResNet(self.config)
        self.body = Body(self.config)
        self.head = Head(self.config)

    @property
    def n_event_features(self) -> int:
        """Of an event vector."""
        return self.config.n_event_features

    def event_velocity(self, z: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Velocity of noised event vectors.

        Args:
            z: (n_events, n_event_features) noised, standardised event vectors.
            t: (n_events,) diffusion times in [0, 1], or () for one time of all events.
            label: (n_events, n_classes) one-hot class; the first class by default.

        Returns:
            (n_events, n_event_features).
        """
        return self.event(z, t.expand(len(z)), self._label(label, z))

    def particle_velocity(
        self, x: Tensor, t: Tensor, events: Tensor, offsets: Tensor, label: Tensor | None = None
    ) -> Tensor:
        """Velocity of noised particles, conditioned on their events.

        Args:
            x: (n_total, n_particle_features) noised, standardised particles of all events.
            t: (n_events,) diffusion times in [0, 1], or () for one time of all events.
            events: (n_events, n_event_features) standardised event vectors, without noise.
            offsets: (n_events + 1,) int64; event k holds rows offsets[k]:offsets[k+1]. On the
                host they spare the device a synchronisation.
            label: (n_events, n_classes) one-hot class; the first class by default.

        Returns:
            (n_total, n_particle_features).
        """
        layout = Layout.from_offsets(offsets, x.device)
        t = t.expand(len(events))
        encoded = self.body(x, t, layout)
        return self.head(encoded, t, events, self._label(label, events), layout)

    def event_branch(self) -> list[nn.Module]:
        """What draws event vectors; it shares no weights with the rest."""
        return [self.event]

    def hard_branch(self) -> list[nn.Module]:
        """None: no particles are drawn before others."""
        return []

    def whole_branch(self) -> list[nn.Module]:
        """None: all events are drawn alike."""
        return []

    def compiled_parts(self) -> list[nn.Module]:
        """What torch.compile works on, where it is asked for."""
        return [self.event, self.body, self.head]

    def _label(self, label: Tensor | None, like: Tensor) -> Tensor:
        if label is not None:
            return label
        first = torch.zeros(len(like), self.config.n_classes, device=like.device)
        first[:, 0] = 1
        return first
