"""Whether hard particles of real events follow the laws by which a model draws them.

    python benchmarks/hard.py MODEL REFERENCE.h5 [-n EVENTS] [--json]

A model says where a hard particle is, given its event and those harder than it. Here all of these
are real (events that no training saw), so that a fault of one law does not hide behind those of
others. For each hard particle and one harder than it, the mean cosine of once and twice the angle
between them, as it is and as the law says, by their distance in eta; pairs weigh by their pT over
the particles of their event, as they do in its Q. Errors are of the difference, pairs of an event
taken together. The minus log-likelihood of an event judges all laws at once. Events that the model
draws as a whole are left out.
"""

import json
import os
from dataclasses import dataclass
from itertools import pairwise

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import numpy as np
import torch
from reference import asked, encoded, parser, real_events
from torch import Tensor

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import FloatArray
from hitools.core.model.shipped import find_model
from hitools.core.nets.layout import Layout
from hitools.core.nets.listed_events import ListedEvents
from hitools.core.nets.rotary_net import RotaryNet
from hitools.core.representation.event_scores import EVENT_SCORES

DISTANCES = (0.0, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0)
HARMONICS = (1, 2)


@dataclass(frozen=True)
class Pairs:
    """Of a hard particle and one harder than it in its event.

    Attributes:
        event: (n,) whose each is.
        distance: (n,) in eta.
        weight: (n,) product of their pT in GeV/c over the particles of the event.
        found: (n, len(HARMONICS)) cosine of multiples of the angle between them.
        said: the same as the law of the first says, where its eta is known.
    """

    event: FloatArray
    distance: FloatArray
    weight: FloatArray
    found: FloatArray
    said: FloatArray


@torch.no_grad()
def measured(network: RotaryNet, batch: EventBatch, first: int) -> tuple[Pairs, FloatArray]:
    """Pairs of events from number first on; minus the log-likelihood of each event.

    Events that are drawn as a whole are left out.
    """
    assert network.hard is not None  # drawing_hard
    z, x = encoded(network.representation, batch)
    layout = Layout.from_offsets(torch.from_numpy(batch.offsets), x.device)
    index, hard = network.hard_events(x, z[:, : len(EVENT_SCORES)], layout)
    cost = -network.hard.log_likelihood(hard)
    law = network.hard.places(hard)
    score, eta_score, phi = hard.particles.unbind(1)
    one, other, event = _pairs(hard)
    # The law's mean wave, turned to where the other is.
    found, said = [], []
    for k in HARMONICS:
        mean = law.mean_waves(eta_score, k)[one]
        found.append((k * (phi[one] - phi[other])).cos())
        said.append(mean[:, 0] * (k * phi[other]).cos() + mean[:, 1] * (k * phi[other]).sin())
    pt = network.representation.pt.decode(score).exp()
    eta = network.representation.eta.decode(eta_score)
    columns = (
        index[event] + first,
        (eta[one] - eta[other]).abs(),
        pt[one] * pt[other] / hard.n_particles[event],
        torch.stack(found, dim=1),
        torch.stack(said, dim=1),
    )
    return Pairs(*(column.double().numpy() for column in columns)), cost.double().numpy()


def _pairs(hard: ListedEvents) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of all pairs, the harder one second, and their events."""
    event = torch.repeat_interleave(hard.counts)
    before = torch.arange(len(event)) - (hard.counts.cumsum(0) - hard.counts)[event]
    one = torch.repeat_interleave(before)
    first = before.cumsum(0) - before
    other = one - 1 - (torch.arange(len(one)) - first[one])
    return one, other, event[one]


def rows(pairs: Pairs) -> dict[str, dict[str, float]]:
    """By distance and harmonic: what was found, what the law says, error of the difference."""
    table = {}
    for low, high in pairwise(DISTANCES):
        some = (pairs.distance >= low) & (pairs.distance < high)
        weight = pairs.weight[some]
        if not weight.sum():
            continue
        _, event = np.unique(pairs.event[some], return_inverse=True)
        for place, k in enumerate(HARMONICS):
            found, said = pairs.found[some, place], pairs.said[some, place]
            of_event = np.bincount(event, weight * (found - said))
            table[f"cos{k}, {low:g} to {high:g}"] = {
                "real": float(np.average(found, weights=weight)),
                "model": float(np.average(said, weights=weight)),
                "error": float(np.sqrt(np.square(of_event).sum()) / weight.sum()),
            }
    return table


def of_file(network: RotaryNet, path: str, n_events: int) -> tuple[Pairs, FloatArray]:
    """See measured; of the first events of a file that hold particles."""
    parts: list[Pairs] = []
    costs: list[FloatArray] = []
    done = 0
    for batch in real_events(path, n_events):
        pairs, cost = measured(network, batch, done)
        parts.append(pairs)
        costs.append(cost)
        done += len(batch)
    names = Pairs.__dataclass_fields__
    joined = Pairs(*(np.concatenate([getattr(one, name) for one in parts]) for name in names))
    return joined, np.concatenate(costs)


def drawing_hard(name: str) -> RotaryNet:
    """The network of a model. Raises InputError where it draws no hard particles."""
    network, _ = find_model(name).read_model()
    if not isinstance(network, RotaryNet) or network.hard is None:
        raise InputError(f"{name}: draws no hard particles")
    return network


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    given = asked(options)
    try:
        network = drawing_hard(given.model)
        pairs, costs = of_file(network, given.reference, given.events)
    except InputError as problem:
        options.error(str(problem))
    table = rows(pairs)
    cost = {"value": float(costs.mean()), "error": float(costs.std() / np.sqrt(len(costs)))}
    if given.json:
        print(json.dumps({"minus_log_likelihood": cost, "pairs": table}, indent=1))
        return
    print(f"{given.model}: hard particles of {len(costs):,} events of {given.reference}")
    print(f"minus log-likelihood of an event: {cost['value']:.4f} +- {cost['error']:.4f}")
    print(f"{'distance in eta':18}{'real':>10}{'model':>10}{'difference':>20}")
    for name, row in table.items():
        off = row["model"] - row["real"]
        print(f"{name:18}{row['real']:10.4f}{row['model']:10.4f}{off:10.4f} +- {row['error']:.4f}")


if __name__ == "__main__":
    main()
