"""UrQMD 3.4 events (Bleicher et al., J. Phys. G 25 (1999) 1859), through chromo.

Runs in the foreman process, in a folder of its own: UrQMD writes a table of cross sections there.
"""

import warnings
from typing import Any, Final

import numpy as np

from hitools.core.errors import InputError
from hitools.core.sources.generation import Block, BlockBuilder, GeneratorOptions, block_seeds
from hitools.core.sources.nuclei import Beam

_MIN_GEV: Final = 2.0


class UrQMD:
    """A started UrQMD.

    Its collision geometry is that of a transport model. Participants are the nucleons that
    collided at all; n_coll counts every two-body collision of the event, of produced hadrons too,
    because UrQMD does not tell the first ones apart.
    """

    def __init__(self, options: GeneratorOptions) -> None:
        """Start; raises InputError where chromo is missing or does not take the system."""
        if options.weighted or options.settings:
            raise InputError("urqmd: events have no weights, and no settings are passed on")
        if options.sqrt_s_nn_gev < _MIN_GEV:
            raise InputError(
                f"--sqrt-s-nn {options.sqrt_s_nn_gev:g}: UrQMD needs {_MIN_GEV:g} GeV or more"
            )
        try:
            import chromo
        except ImportError as error:
            raise InputError(
                f"{error.name} is missing; it comes with: pip install 'hitools[urqmd]'"
            ) from None
        self._options = options
        self._nucleons = options.system.projectile.nucleons + options.system.target.nucleons
        kinematics = chromo.kinematics.CenterOfMass(
            options.sqrt_s_nn_gev * chromo.constants.GeV,
            _chromo_beam(options.system.projectile),
            _chromo_beam(options.system.target),
        )
        # It warns of every hadron that it leaves undecayed; the manual page says so once.
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            self._model = chromo.models.UrQMD34(kinematics, seed=0)
        except ValueError as error:
            raise InputError(f"UrQMD does not take {options.system}: {error}") from None
        self.name = "UrQMD 3.4"
        next(self._model(1))  # computes constants on its first event, once for all children

    def block(self, index: int) -> Block:
        """Block `index` of the run: a fixed number of events."""
        (seed,) = block_seeds(self._options.seed, index, 1)
        self._model.random_state = np.random.PCG64(seed).state
        block = BlockBuilder(self._options.selection)
        for event in self._model(_events_per_block(self._options)):
            momenta = self._select(event, block)
            geometry = (float(event.impact_parameter), *self._geometry(), 1.0)
            block.add(momenta, np.array([len(momenta)]), np.array([geometry]))
        return block.finish(weighted=False)

    def _select(self, event: Any, block: BlockBuilder) -> np.ndarray:
        """(n, 3) momenta of the final-state particles wanted."""
        kept = (event.status == 1) & block.central(event.px, event.py, event.pz)
        if self._options.selection.charged:
            kept &= event.charge != 0
        return np.stack([event.px[kept], event.py[kept], event.pz[kept]], axis=1)

    def _geometry(self) -> tuple[float, float]:
        """Two-body collisions and participants of the last event."""
        library = self._model._lib  # chromo does not hand these out
        final = int(library.sys.npart)
        untouched = int(np.count_nonzero(library.isys.ncoll[:final] == 0))
        n_coll = int(library.sys.ctag) - int(library.sys.dectag)
        return float(n_coll), float(self._nucleons - untouched)


def _chromo_beam(beam: Beam) -> tuple[int, int] | str:
    return "p" if beam.nucleons == 1 else (beam.nucleons, beam.charge)


def _events_per_block(options: GeneratorOptions) -> int:
    """About two seconds' work."""
    pairs = options.system.projectile.nucleons * options.system.target.nucleons
    return int(np.clip(round(10 * (256 / pairs) ** 0.68), 1, 100))
