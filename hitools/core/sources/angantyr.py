"""Pythia 8 Angantyr events (Bierlich et al., JHEP 10 (2018) 134), through pythia8mc.

Runs in the foreman process: Angantyr(options, tell) starts Pythia, block(index) makes events.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from hitools.core.errors import InputError
from hitools.core.sources.generation import (
    Block,
    BlockBuilder,
    GeneratorOptions,
    Setting,
    block_seeds,
)
from hitools.core.sources.pythia_start import import_pythia, start

_MIN_GEV: Final = 20.0
"""Angantyr is not meant for less: section "Heavy Ion Collisions" of Pythia's manual."""

_TAIL_FM: Final = 9.0
"""How far beyond the sum of the nuclear radii nucleons still meet: at 5.36 TeV, fewer than one
event in a million lies farther out, from p-p to Pb-Pb."""

_MAX_SEED: Final = 900_000_000
_BATCH: Final = 100
"""Events that Pythia hands out together: converting a batch costs 2 ms whatever its size, and
there should not be too many particles in memory."""
_MAX_FAILURES: Final = 100.0
"""Attempts per event before it is an error."""


class Angantyr:
    """A started Pythia with its sub-generators."""

    def __init__(self, options: GeneratorOptions, tell: Callable[[str], None]) -> None:
        """Start Pythia; raises InputError for an unknown setting or beam."""
        if options.sqrt_s_nn_gev < _MIN_GEV:
            raise InputError(
                f"--sqrt-s-nn {options.sqrt_s_nn_gev:g}: Angantyr needs {_MIN_GEV:g} GeV or more"
            )
        self._options = options
        pythia8mc = import_pythia()
        self._geometry = _geometry_recorder(pythia8mc)
        self._pythia = start(pythia8mc, _run_settings(options), options, tell, self._geometry)
        self._geometry.heavy_ion = self._pythia.getHeavyIonsPtr().hiInfo
        self.name = f"Pythia {self._pythia.parm('Pythia:versionNumber'):.3f} Angantyr"
        self._charged = _ChargeTable(self._pythia.particleData)
        self._tries = _tries_per_block(options)
        self._generate(1)  # imports what pythia8mc needs for its arrays, once for all children

    def block(self, index: int) -> Block:
        """Block `index` of the run: a fixed number of Pythia events."""
        self._seed(index)
        block = BlockBuilder(self._options.selection)
        for size in _cut(self._tries):
            particles = self._generate(size)
            geometry = np.array(self._geometry.events)
            if not self._options.weighted and np.any(geometry[:, 3] != 1):
                raise InputError(
                    "with these settings Pythia gives events of unequal weight (one has "
                    f"{geometry[:, 3].max():.3g}): add --weighted, or leave "
                    "HeavyIon:forceUnitWeight on"
                )
            block.add(*self._select(particles, block), geometry)
        return block.finish(weighted=self._options.weighted)

    def _seed(self, index: int) -> None:
        # Angantyr holds a Pythia for each kind of nucleon-nucleon event, each with its own
        # random numbers: all are seeded, or blocks would share their hard collisions.
        members = self._pythia.getHeavyIonsPtr().pythia
        seeds = block_seeds(self._options.seed, index, len(members))
        for member, seed in zip(members, seeds, strict=True):
            member.rndm.init(1 + seed % _MAX_SEED)

    def _generate(self, size: int) -> Any:
        """The records of that many events, as awkward's list of a record of numpy arrays."""
        self._geometry.events.clear()
        try:
            # Failed events are replaced, but not without end.
            events = self._pythia.nextBatch(size, _MAX_FAILURES)
        except RuntimeError as error:
            raise InputError(f"Pythia cannot make events with these settings: {error}") from None
        return events.layout["prt"]

    def _select(self, particles: Any, block: BlockBuilder) -> tuple[np.ndarray, np.ndarray]:
        """(n, 3) momenta of the final-state particles wanted, and how many are of each event."""
        record = particles.content
        momentum = record["p"]
        px, py, pz = (np.asarray(momentum[name].data) for name in ("px", "py", "pz"))
        kept = np.flatnonzero((np.asarray(record["status"].data) > 0) & block.central(px, py, pz))
        if self._options.selection.charged:
            kept = kept[self._charged(np.asarray(record["id"].data)[kept])]
        counts = np.diff(np.searchsorted(kept, np.asarray(particles.offsets.data)))
        return np.stack([px[kept], py[kept], pz[kept]], axis=1), counts


def _geometry_recorder(pythia8mc: Any) -> Any:
    """A Pythia user hook that notes the collision geometry of each event.

    Pythia hands particles out in batches, but knows the geometry of the last event only.
    """

    class Recorder(pythia8mc.UserHooks):
        def __init__(self) -> None:
            super().__init__()
            self.heavy_ion: Any = None
            self.events: list[tuple[float, float, float, float]] = []

        def onEndEvent(self, status: Any) -> None:  # noqa: N802 - Pythia's name
            if status != self.COMPLETE or self.heavy_ion is None:
                return
            hi = self.heavy_ion
            self.events.append(
                (hi.b(), hi.nCollTot(), hi.nPartProj() + hi.nPartTarg(), hi.weight())
            )

    return Recorder()


def _cut(total: int) -> list[int]:
    """Sizes of the batches that make up a block."""
    full, rest = divmod(total, _BATCH)
    return [_BATCH] * full + ([rest] if rest else [])


class _ChargeTable:
    """Which PDG ids belong to charged particles, for whole arrays."""

    def __init__(self, particle_data: Any) -> None:
        ids = [1]
        while following := particle_data.nextId(ids[-1]):
            ids.append(following)
        self._ids = np.array(ids)
        self._is_charged = np.array([particle_data.chargeType(int(i)) != 0 for i in ids])

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        """(n,) bool."""
        absolute = np.abs(ids)
        row = np.minimum(np.searchsorted(self._ids, absolute), len(self._ids) - 1)
        known = self._ids[row] == absolute
        # What is left of a nucleus need not be in the table; its id holds its charge.
        remnant = (absolute > 1_000_000_000) & (absolute // 10_000 % 1000 > 0)
        return np.where(known, self._is_charged[row], remnant)


def read_card(path: str) -> tuple[Setting, ...]:
    """The settings in a Pythia command file; comments and empty lines are left out.

    A value in braces may run over several lines. Raises InputError where it cannot be read.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InputError(f"{path}: {reason}") from None
    settings: list[Setting] = []
    unfinished = ""
    for number, line in enumerate(lines, start=1):
        text = re.split("[!#]", line, maxsplit=1)[0].strip()
        if not unfinished and not text[:1].isalnum():
            continue
        unfinished = f"{unfinished} {text}".strip()
        if unfinished.count("{") <= unfinished.count("}"):
            settings.append(Setting(unfinished, f"{path}:{number}"))
            unfinished = ""
    if unfinished:
        raise InputError(f"{path}: the last value lacks its closing brace")
    return tuple(settings)


def _run_settings(options: GeneratorOptions) -> list[str]:
    """What differs between runs that can share a start of Pythia."""
    projectile, target = options.system.projectile, options.system.target
    lines = [f"Beams:idA = {projectile.pdg}", f"Beams:idB = {target.pdg}"]
    if projectile.nucleons == target.nucleons == 1:
        lines.append("HeavyIon:mode = 2")  # p-p, too, with an impact parameter
    if not options.weighted:
        b_max = projectile.radius_fm + target.radius_fm + _TAIL_FM
        lines += [
            "HeavyIon:forceUnitWeight = on",
            f"HeavyIon:bWidth = {b_max:.3f}",
            "HeavyIon:bWidthCut = 1",
        ]
    return lines


def _tries_per_block(options: GeneratorOptions) -> int:
    """Events in a block: about two seconds' work."""

    pairs = options.system.projectile.nucleons * options.system.target.nucleons
    return int(np.clip(round(200 * (256 / pairs) ** 0.68), 4, 500))
