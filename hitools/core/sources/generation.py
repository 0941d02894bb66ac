"""What an event generator is asked for, and the blocks of events that it hands back.

Shared by all generators (angantyr.py, urqmd.py) and by what runs them (pool.py, foreman.py).
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.features import BoolArray, FloatArray, IntArray
from hitools.core.format.meta import Selection
from hitools.core.sources.nuclei import System

GeneratorName = Literal["angantyr", "urqmd"]


@dataclass(frozen=True)
class Setting:
    """A line in the generator's own language, and where the user wrote it (for messages)."""

    text: str
    where: str


@dataclass(frozen=True)
class GeneratorOptions:
    """Everything that events depend on.

    Attributes:
        generator: which one.
        system: the beams.
        sqrt_s_nn_gev: energy per nucleon pair in its centre-of-mass frame, in GeV.
        selection: of particles; pseudorapidity is that of the nucleon pair's centre of mass.
        seed: fixes every event.
        weighted: keep the generator's own sampling of the impact parameter, with weights.
        settings: the user's additions, in order.
    """

    generator: GeneratorName
    system: System
    sqrt_s_nn_gev: float
    selection: Selection = field(default_factory=Selection)
    seed: int = 1
    weighted: bool = False
    settings: tuple[Setting, ...] = ()


@dataclass(frozen=True)
class Block:
    """Consecutive events from one stream of random numbers.

    Attributes:
        batch: events with at least one particle.
        position: (n_events,) int64 where in the block each was generated; events between, and
            after the last one, were left out because the selection kept no particle.
        n_generated: events generated.
    """

    batch: EventBatch
    position: IntArray
    n_generated: int


def block_seeds(seed: int, index: int, count: int) -> list[int]:
    """Seeds of 32 bits for the random generators of block `index`, unrelated between blocks."""
    words = np.random.SeedSequence(seed, spawn_key=(index,)).generate_state(count)
    return [int(word) for word in words]


class BlockBuilder:
    """Collects the particles of generated events and packs them in the end.

    It takes arrays of many particles: a particle loop in Python would cost as much as generating.
    """

    def __init__(self, selection: Selection) -> None:
        """An empty block."""
        self._selection = selection
        self._sinh_eta_max = np.sinh(selection.eta_max)
        self._momenta: list[FloatArray] = [np.zeros((0, 3))]
        self._counts: list[IntArray] = [np.zeros(0, np.int64)]
        self._geometry: list[FloatArray] = [np.zeros((0, 4))]

    def central(self, px: FloatArray, py: FloatArray, pz: FloatArray) -> BoolArray:
        """Which particles are within the eta limit: a first look before anything costly."""
        return px * px + py * py > (pz / self._sinh_eta_max) ** 2

    def add(self, momenta: FloatArray, counts: IntArray, geometry: FloatArray) -> None:
        """Append k events.

        Args:
            momenta: (n, 3) px, py, pz in GeV/c of final-state particles of the charge wanted, of
                all k events one after another.
            counts: (k,) how many of them each event has.
            geometry: (k, 4) impact parameter in fm, nucleon-nucleon collisions, participants,
                weight.
        """
        self._momenta.append(momenta)
        self._counts.append(counts)
        self._geometry.append(geometry)

    def finish(self, *, weighted: bool) -> Block:
        """Kinematics, selection, event vectors. Weights are dropped unless weighted."""
        counts = np.concatenate(self._counts)
        px, py, pz = np.concatenate(self._momenta).T
        pt64 = np.hypot(px, py)
        with np.errstate(divide="ignore", invalid="ignore"):
            eta = np.arcsinh(pz / pt64).astype(np.float32)
        pt = pt64.astype(np.float32)
        limits = self._selection
        kept = (pt > limits.pt_min) & (np.abs(eta) < limits.eta_max)
        n_particles = np.bincount(
            np.repeat(np.arange(len(counts)), counts)[kept], minlength=len(counts)
        )
        b, n_coll, n_part, weights = np.concatenate(self._geometry).T
        filled = n_particles > 0
        batch = EventBatch.from_particles(
            pt[kept],
            eta[kept],
            np.arctan2(py, px)[kept],
            n_particles[filled],
            b[filled],
            n_coll[filled],
            n_part[filled],
            weights[filled] if weighted else None,
        )
        return Block(batch, np.flatnonzero(filled), len(filled))
