"""The hard particles of an event, by their likelihood, before all others.

A jet's core is narrow and rare: the squared error of a velocity hardly notices it, a likelihood
does. So the few hard particles are drawn before the others, each given those before it
(particle_lists.py).
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from hitools.core.nets.hard_laws import Places
from hitools.core.nets.mixtures import NormalMixture
from hitools.core.nets.particle_lists import Before, Inputs, ListBranch

MOST_PARTNERS: Final = 24


class HardBranch(ListBranch):
    """The likelihood of the hard particles of events, and how they are drawn."""

    most_partners = MOST_PARTNERS

    def __init__(self, n_known: int, n_sums: int, width: int, threshold: float) -> None:
        """Numbers known of an event, sums that are known of it, channels, lowest score of pT."""
        super().__init__(n_known, n_sums, width, threshold, width, Inputs())

    def _told(self, missing: Tensor) -> list[Tensor]:  # noqa: ARG002
        return []

    def _score_law(self, before: Before) -> NormalMixture:
        hidden = functional.silu(self.score_hidden(before.state))
        return NormalMixture.of(self.score_out(hidden))

    def _place_law(
        self, before: Before, scores: Tensor, partners: Tensor, exists: Tensor
    ) -> Places:
        lean = self.lean(scores, before.missing, self.threshold)
        inputs = torch.cat([before.state, scores[:, None], lean], dim=1)
        said = functional.silu(self.place_hidden(inputs))
        return self._mixture(said, self.leaning_to(lean), partners, exists)
