"""Whether events of one size can be told from real ones, and by what.

    python benchmarks/by_size.py REFERENCE.h5 SAMPLE.h5 [-n EVENTS] [--json]

A classifier that sees events of all sizes finds what is most of the difference, and may miss what
is plainly wrong in the small ones. Here boosted trees judge each class of multiplicity alone: once
by n_part and n_coll, once by the whole event vector, once by the shape of its particles.
An AUC is of events that the trees did not see; 0.5 is chance, the error that of chance. Named are
the features that tell most by themselves. Balance is the mean cosine of the angle between particles
of an event that are more than 1.5 apart in eta: momenta across the beam add up to nothing.
"""

import argparse
import json
import os
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from reference import FEWEST
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import EVENT_COLUMNS, EVENT_INDEX, BoolArray, FloatArray, wrap_angle
from hitools.core.format.concatenation import Concatenation

SIZES = (2, 15, 30, 60, 128, 256, 100_000)
FAR = 1.5
NEAR = 0.4
N_NAMED = 3


def shape(pt: FloatArray, eta: FloatArray, phi: FloatArray) -> dict[str, float]:
    """What an event of two particles or more looks like, by name; pT in GeV/c, the rest plain."""
    pt, eta, phi = (values[np.argsort(-pt, kind="stable")] for values in (pt, eta, phi))
    one, other = np.triu_indices(len(pt), 1)
    d_eta, d_phi = np.abs(eta[one] - eta[other]), np.abs(wrap_angle(phi[one] - phi[other]))
    distance = np.hypot(d_eta, d_phi)
    return {
        "hardest pT": pt[0],
        "second pT": pt[1],
        "median pT": float(np.median(pt)),
        "lowest pT": pt[-1],
        "mean eta of particles": eta.mean(),
        "spread of eta": eta.std(),
        "largest |eta|": np.abs(eta).max(),
        "|sum of pT vectors|": _length(pt, phi, 1),
        "|Q_2|": _length(pt, phi, 2),
        "|Q_2| of counts": _length(np.ones_like(pt), phi, 2),
        "|Q_3| of counts": _length(np.ones_like(pt), phi, 3),
        "closest pair": distance.min(),
        "pairs within 0.4": (distance < NEAR).mean(),
        "cos of near pairs": _mean(np.cos(d_phi), d_eta < NEAR),
        "cos of far pairs": _mean(np.cos(d_phi), d_eta > FAR),
    }


def _length(weight: FloatArray, phi: FloatArray, k: int) -> float:
    return float(np.abs((weight * np.exp(1j * k * phi)).sum()))


def _mean(values: FloatArray, some: BoolArray) -> float:
    return float(values[some].mean()) if some.any() else 0.0


@dataclass(frozen=True)
class Events:
    """Of one class.

    Attributes:
        vectors: (n_events, 11).
        shapes: (n_events, len(names)), see shape.
        names: of the columns of shapes.
    """

    vectors: FloatArray
    shapes: FloatArray
    names: tuple[str, ...]

    @classmethod
    def of(cls, batch: EventBatch) -> "Events":
        """Of events of two particles at least."""
        columns = [batch.particle(name).astype(np.float64) for name in ("pt", "eta", "phi")]
        found = [
            shape(*(column[low:high] for column in columns))
            for low, high in pairwise(batch.offsets)
        ]
        rows = np.array([list(one.values()) for one in found])
        return cls(batch.events.astype(np.float64), rows, tuple(found[0]))

    @classmethod
    def joined(cls, parts: "list[Events]") -> "Events":
        """Of one class."""
        vectors, shapes = ([getattr(one, name) for one in parts] for name in ("vectors", "shapes"))
        return cls(np.concatenate(vectors), np.concatenate(shapes), parts[0].names)

    def __len__(self) -> int:
        """Number of events."""
        return len(self.vectors)


def by_size(path: str, n_events: int) -> list[Events]:
    """The first events of each class of SIZES. Raises InputError where there are too few."""
    classes = list(pairwise(SIZES))
    parts: list[list[Events]] = [[] for _ in classes]
    missing = [n_events] * len(classes)
    with Concatenation((path,)) as batches:
        for batch in batches:
            n = batch.n_particles
            for k, (low, high) in enumerate(classes):
                some = batch.take((n >= low) & (n < high))[: missing[k]]
                if len(some):
                    parts[k].append(Events.of(some))
                    missing[k] -= len(some)
            if not any(missing):
                break
    for (low, high), left in zip(classes, missing, strict=True):
        if n_events - left < FEWEST:
            raise InputError(
                f"{path}: {n_events - left} events of {low} to {high - 1} particles, "
                f"{FEWEST} or more expected"
            )
    return [Events.joined(one) for one in parts]


def auc(real: FloatArray, drawn: FloatArray) -> float:
    """Of boosted trees on the second half of (n, k) each."""
    n = min(len(real), len(drawn))
    half = n // 2
    first = np.concatenate([real[:half], drawn[:half]])
    second = np.concatenate([real[half:n], drawn[half:n]])
    trees = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.1, random_state=0)
    trees.fit(first, np.repeat([0, 1], half))
    said = trees.predict_proba(second)[:, 1]
    return float(roc_auc_score(np.repeat([0, 1], n - half), said))


def balance(real: Events, drawn: Events) -> dict[str, float]:
    """Mean over events of the cosine of far pairs: real, drawn, and error of the difference."""
    column = real.names.index("cos of far pairs")
    values = [one.shapes[:, column] for one in (real, drawn)]
    errors = [one.std() / np.sqrt(len(one)) for one in values]
    return {
        "real": float(values[0].mean()),
        "drawn": float(values[1].mean()),
        "error": float(np.hypot(*errors)),
    }


def row(real: Events, drawn: Events) -> dict[str, Any]:
    """The three AUC of a class, and the features of vectors and particles that tell most."""
    geometry = [EVENT_INDEX[name] for name in ("n_part", "n_coll")]
    vectors, shapes = (real.vectors, drawn.vectors), (real.shapes, drawn.shapes)
    single = {
        name: auc(*(one[:, [k]] for one in pair))
        for names, pair in ((EVENT_COLUMNS, vectors), (real.names, shapes))
        for k, name in enumerate(names)
    }
    n = min(len(real), len(drawn))
    return {
        "events": n,
        "n_part, n_coll": auc(*(one[:, geometry] for one in vectors)),
        "event vector": auc(*vectors),
        "particles": auc(*shapes),
        "error": float(np.sqrt(1 / (6 * (n - n // 2)))),
        "balance": balance(real, drawn),
        "telling": dict(sorted(single.items(), key=lambda pair: -pair[1])[:N_NAMED]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("reference")
    parser.add_argument("sample")
    parser.add_argument("-n", "--events", type=int, default=10_000, help="of each class, at most")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.events < FEWEST:
        parser.error(f"--events: expected {FEWEST} or more")
    try:
        real, drawn = (
            by_size(path, options.events) for path in (options.reference, options.sample)
        )
    except InputError as problem:
        parser.error(str(problem))
    table = {
        f"{low} to {high - 1}" if high < SIZES[-1] else f"{low} and more": row(*pair)
        for (low, high), pair in zip(pairwise(SIZES), zip(real, drawn, strict=True), strict=True)
    }
    if options.json:
        print(json.dumps(table, indent=1))
        return
    columns = ("n_part, n_coll", "event vector", "particles")
    heads = (f"{name:>15}" for name in (*columns, "error"))
    print(f"{'particles':14}{'events':>8}", *heads, f"{'balance: real, drawn':>32}")
    for name, of in table.items():
        said = ", ".join(f"{feature} {value:.3f}" for feature, value in of["telling"].items())
        cells = (f"{of[column]:15.3f}" for column in (*columns, "error"))
        far = "{real:12.4f}{drawn:10.4f} +- {error:.4f}".format(**of["balance"])
        print(f"{name:14}{of['events']:8,}", *cells, far, "", said)


if __name__ == "__main__":
    main()
