"""Makes angantyr_oo.hepmc.gz and angantyr_oo.npz: `python make_angantyr_hepmc.py`, pythia8mc 8.317.

Real O-O events at 5.36 TeV as HepMC3 text, written by pyhepmc with decay vertices and the heavy-ion
block, and beside them what Pythia itself says of the charged particles in |eta| < 2.5: the two
share nothing but the event record. Peripheral events keep the file small; one has no charged
particle in the acceptance.
"""

from pathlib import Path

import numpy as np
import pyhepmc
import pythia8mc

HERE = Path(__file__).parent
SETTINGS = """
Print:quiet = on
Beams:idA = 1000080160
Beams:idB = 1000080160
Beams:eCM = 5360
Beams:frameType = 1
HeavyIon:SigFitErr = 0.02,0.02,0.1,0.05,0.05,0.0,0.1,0.0
HeavyIon:SigFitDefPar = 2.15,17.24,0.33
HeavyIon:SigFitNGen = 0
Random:setSeed = on
Random:seed = 5
"""
BEAM, DECAYED, FINAL = 4, 2, 1
N_FILLED, MAX_CHARGED = 5, 120


def to_hepmc(index, particles, heavy_ion):
    """A GenEvent of beams, hadrons and decay products (vertices of partons are left out)."""
    kept = [i for i, p in enumerate(particles) if i and p.statusHepMC() in (BEAM, DECAYED, FINAL)]
    place = {old: new for new, old in enumerate(kept)}
    chosen = [particles[i] for i in kept]
    status = np.array([p.statusHepMC() for p in chosen], np.int32)
    first, last = np.flatnonzero(status == BEAM)[[0, -1]]
    parents = np.empty((len(chosen), 2), np.int32)
    for new, particle in enumerate(chosen):
        mother = place.get(particle.mother1())
        from_decay = mother is not None and status[mother] == DECAYED
        parents[new] = (mother, mother) if from_decay else (first, last)
    parents[status == BEAM] = -1
    momenta = np.array([(p.px(), p.py(), p.pz(), p.e(), p.m()) for p in chosen]).T.copy()
    ids = np.array([p.id() for p in chosen], np.int32)
    event = pyhepmc.GenEvent()
    event.from_hepevt(index, *momenta, ids, status, parents=parents, fortran=False)
    block = pyhepmc.GenHeavyIon()
    block.impact_parameter = heavy_ion.b()
    block.Ncoll = heavy_ion.nCollTot()
    block.Ncoll_hard = heavy_ion.nCollND()
    block.Npart_proj = heavy_ion.nPartProj()
    block.Npart_targ = heavy_ion.nPartTarg()
    event.heavy_ion = block
    return event


def main():
    """Generate until there are enough small events and an empty one."""
    pythia = pythia8mc.Pythia("", False)
    for line in SETTINGS.split("\n"):
        pythia.readString(line)
    pythia.init()
    heavy_ion = pythia.getHeavyIonsPtr().hiInfo
    run = pyhepmc.GenRunInfo()
    run.weight_names = ["Default"]
    kinematics, counts, geometry, weights = [], [], [], []
    with pyhepmc.open(HERE / "angantyr_oo.hepmc.gz", "w", precision=9) as out:
        while counts.count(0) < 1 or len(counts) < N_FILLED + 1:
            pythia.next()
            particles = list(pythia.event)
            charged = [
                (p.pT(), p.eta(), p.phi())
                for p in particles
                if p.isFinal() and p.isCharged() and abs(p.eta()) < 2.5
            ]
            wanted = (
                not counts.count(0) if not charged else len(counts) - counts.count(0) < N_FILLED
            )
            if len(charged) > MAX_CHARGED or not wanted:
                continue
            event = to_hepmc(len(counts), particles, heavy_ion)
            event.run_info = run
            event.weights = [heavy_ion.weight()]
            out.write(event)
            kinematics += charged
            counts.append(len(charged))
            geometry.append(
                (heavy_ion.b(), heavy_ion.nCollTot(), heavy_ion.nPartProj() + heavy_ion.nPartTarg())
            )
            weights.append(heavy_ion.weight())
    np.savez_compressed(
        HERE / "angantyr_oo.npz",
        pt_eta_phi=np.array(kinematics),
        n_particles=counts,
        geometry=geometry,
        weights=weights,
    )


if __name__ == "__main__":
    main()
