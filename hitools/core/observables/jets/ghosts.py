"""Ghosts: particles of vanishing momentum on a jittered grid, whose number in a jet is its area.

FastJet's own ghosts come from one random sequence for the whole process, so that an event's areas
depend on what was clustered before it. These are drawn for each event from the seed and from the
event's particles alone: an event keeps its areas when its file is cut, shuffled or selected from.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hitools.core.features import BoolArray, Float64Array, FloatArray, IntArray

_PT = 1e-100
_PT_SCATTER = 0.1
"""Equal ghosts would make ties, which rounding would break (M. Cacciari, G. Salam, G. Soyez,
JHEP 04 (2008) 005, section 3)."""


@dataclass(frozen=True)
class GhostGrid:
    """Cells that fill |y| < rapidity_max, each with one ghost somewhere in it.

    Attributes:
        rapidity_max: of the covered region.
        wanted_area: upper limit for the area of a cell.
    """

    rapidity_max: float
    wanted_area: float

    @cached_property
    def n_phi(self) -> int:
        """Cells around."""
        return int(np.ceil(2 * np.pi / np.sqrt(self.wanted_area)))

    @cached_property
    def n_rapidity(self) -> int:
        """Cells along the beam."""
        return 2 * int(np.ceil(self.rapidity_max / np.sqrt(self.wanted_area)))

    def __len__(self) -> int:
        """Number of ghosts."""
        return self.n_phi * self.n_rapidity

    @property
    def cell_size(self) -> tuple[float, float]:
        """In rapidity and in phi."""
        return 2 * self.rapidity_max / self.n_rapidity, 2 * np.pi / self.n_phi

    @property
    def ghost_area(self) -> float:
        """Area of a cell: what a ghost counts for."""
        return self.cell_size[0] * self.cell_size[1]

    @cached_property
    def _corners(self) -> Float64Array:
        """(2, n_ghosts) rapidity and phi where each cell begins, cells along phi first."""
        d_rapidity, d_phi = self.cell_size
        rapidity = (np.arange(self.n_rapidity) - self.n_rapidity // 2) * d_rapidity
        phi = np.arange(self.n_phi) * d_phi
        return np.stack([np.repeat(rapidity, self.n_phi), np.tile(phi, self.n_rapidity)])

    def draw(self, generator: np.random.Generator) -> Float64Array:
        """(4, n_ghosts) momenta of one set of ghosts."""
        uniform = generator.random((3, len(self)))
        d_rapidity, d_phi = self.cell_size
        rapidity = self._corners[0] + d_rapidity * uniform[0]
        phi = self._corners[1] + d_phi * uniform[1]
        pt = _PT * (1 + _PT_SCATTER * (uniform[2] - 0.5))
        ghosts = np.empty((4, len(self)))
        ghosts[0] = pt * np.cos(phi)
        ghosts[1] = pt * np.sin(phi)
        ghosts[2] = pt * np.sinh(rapidity)
        ghosts[3] = pt * np.cosh(rapidity)
        return ghosts

    def near(self, rapidity: Float64Array, phi: Float64Array, reach: float) -> BoolArray:
        """(n_ghosts,) true for every cell with a point within reach of one of the axes.

        Cells a little beyond are true as well.
        """
        d_rapidity, d_phi = self.cell_size
        along, around = self._stencil(reach)
        row = np.floor(rapidity / d_rapidity).astype(np.int64) + self.n_rapidity // 2
        column = np.floor(phi / d_phi).astype(np.int64)
        rows = row[:, None] + along
        columns = (column[:, None] + around) % self.n_phi
        inside = (rows >= 0) & (rows < self.n_rapidity)
        chosen = np.zeros(len(self), dtype=np.bool_)
        chosen[(rows * self.n_phi + columns)[inside]] = True
        return chosen

    def _stencil(self, reach: float) -> tuple[IntArray, IntArray]:
        """Steps between two cells that have points closer than reach."""
        d_rapidity, d_phi = self.cell_size
        rows = int(np.ceil(reach / d_rapidity)) + 1
        columns = int(np.ceil(reach / d_phi)) + 1
        along, around = np.mgrid[-rows : rows + 1, -columns : columns + 1]
        gap_rapidity = np.maximum(np.abs(along) - 1, 0) * d_rapidity
        gap_phi = np.maximum(np.abs(around) - 1, 0) * d_phi
        close = np.hypot(gap_rapidity, gap_phi) <= reach
        return along[close], around[close]


def event_generator(
    seed: int, pt: FloatArray, eta: FloatArray, phi: FloatArray
) -> np.random.Generator:
    """Random numbers that depend on the seed and on this event's particles, and on nothing else.

    Args:
        seed: 0 to 2^64 - 1.
        pt: (n_particles,) as stored, in float32; eta and phi likewise.
    """
    digest = hashlib.blake2b(digest_size=16, key=seed.to_bytes(8, "little"))
    for column in (pt, eta, phi):
        digest.update(np.ascontiguousarray(column, dtype="<f4").data)
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest.digest(), "little")))
