"""Whether what a model draws before particles can be told from real events: the slices of eta.

    python benchmarks/slices.py MODEL REFERENCE.h5 [-n EVENTS] [--json]

Draws event vectors, hard particles and slices, without the other particles, and takes those of as
many events of REFERENCE (events that no training saw). Boosted trees are trained on the scores of
half of both, and on the sums of hard particles; their AUC on the other half is 0.5 where the two
cannot be told apart. For each sum with a direction, the mean product of the vectors of slices that
lie two or more apart, a particle pair (as in c_k{2} with a gap), and for the particles the variance
of the whole event's vector less that of a random walk, tell what is wrong where it is not.
"""

import json
import os
from dataclasses import dataclass

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import numpy as np
import torch
from reference import asked, encoded, parser, real_events
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from torch import Tensor

from hitools.core.errors import InputError
from hitools.core.features import EVENT_INDEX
from hitools.core.generator import Generator
from hitools.core.model.folder import ModelConfig
from hitools.core.model.sampling import Sampling
from hitools.core.model.shipped import find_model
from hitools.core.nets.networks import Network
from hitools.core.representation.aligned import Aligned
from hitools.core.representation.slices import N_SLICES

SEED = 7
BLOCK = 4096
APART = 2


@dataclass(frozen=True)
class Drawn:
    """Of events, before their particles.

    Attributes:
        scores: (n_events, 9 + n_coarse + n_hard_sums).
        sums: (n_events, N_SLICES, n_names), as particles are made to add up to.
    """

    scores: Tensor
    sums: Tensor


def drawn(network: Network, config: ModelConfig, n_events: int) -> Drawn:
    """By the model."""
    generator = Generator(
        network, config, Sampling(seed=SEED, **config.sampling), torch.device("cpu")
    )
    representation = _with_slices(config, "the model")
    found = []
    for start in range(0, n_events, BLOCK):
        index = np.arange(start, min(start + BLOCK, n_events))
        events, _ = generator.draw_vectors(index, np.zeros_like(index))
        counts = events[:, EVENT_INDEX["n_particles"]].astype(np.int64)
        with torch.no_grad():
            made = generator.to_draw(index, events, np.concatenate([[0], counts.cumsum()]))
        found.append(_with_sums(representation, made.given, made.counts, made.hard_sums))
    return _joined(found)


def real(representation: Aligned, path: str, n_events: int) -> Drawn:
    """Of the first events of a file."""
    found = []
    for batch in real_events(path, n_events):
        z, x = encoded(representation, batch)
        counts = torch.from_numpy(batch.n_particles)
        of_hard = representation.hard_sums(x, z, torch.repeat_interleave(counts))
        found.append(
            _with_sums(representation, z, counts, of_hard[:, : representation.n_hard_sums])
        )
    return _joined(found)


def _with_sums(
    representation: Aligned, scores: Tensor, n_particles: Tensor, of_hard: Tensor
) -> Drawn:
    """With what hard particles add to the sums: to be told apart, they are part of the scores."""
    sums_of = representation.slices.sums
    added = (
        of_hard if of_hard.shape[1] else scores.new_zeros(len(scores), len(representation.known))
    )
    totals = representation.totals(scores, n_particles, added)[:, : sums_of.n_features]
    sums = totals.unflatten(1, (N_SLICES, -1)) * totals.new_tensor(sums_of.scales)
    return Drawn(torch.cat([scores, of_hard], dim=1), sums)


def _joined(parts: list[Drawn]) -> Drawn:
    return Drawn(torch.cat([one.scores for one in parts]), torch.cat([one.sums for one in parts]))


def auc(one: Tensor, other: Tensor) -> tuple[float, float]:
    """Of boosted trees on the second half of both, and its error where nothing can be told."""
    half = len(one) // 2
    labels = np.repeat([0, 1], half)
    first, second = (
        torch.cat([one[part], other[part]]).numpy() for part in (slice(half), slice(half, 2 * half))
    )
    trees = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.08, random_state=0)
    trees.fit(first, labels)
    error = np.sqrt((2 * half + 1) / (12 * half**2))
    return float(roc_auc_score(labels, trees.predict_proba(second)[:, 1])), float(error)


def moments(representation: Aligned, sums: Tensor) -> dict[str, tuple[float, float]]:
    """What the slices say of correlations, by name: mean and error."""
    which = representation.slices.sums
    scalars, vectors = which.split(sums)
    n = scalars[:, :, 0]
    found = {}
    far = [(i, j) for i in range(N_SLICES) for j in range(i + APART, N_SLICES)]
    pairs = torch.stack([n[:, i] * n[:, j] for i, j in far]).sum(0).mean()
    for place, (weight, k) in enumerate(which.vectors):
        v = vectors[:, :, place]
        products = torch.stack([(v[:, i] * v[:, j]).sum(1) for i, j in far]).sum(0)
        found[f"{weight}.{k}.gap"] = _mean(products / pairs)
        if weight == "n":
            whole = v.sum(1).square().sum(1) / n.sum(1)
            found[f"{weight}.{k}.excess"] = _mean(whole - 1)
    return found


def _mean(values: Tensor) -> tuple[float, float]:
    array = values.double().numpy()
    return float(array.mean()), float(array.std() / np.sqrt(len(array)))


def _with_slices(config: ModelConfig, name: str) -> Aligned:
    if not isinstance(config.representation, Aligned):
        raise InputError(f"{name}: draws no slices")
    return config.representation


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    given = asked(options)
    try:
        network, config = find_model(given.model).read_model()
        representation = _with_slices(config, given.model)
        reference = real(representation, given.reference, given.events)
    except InputError as problem:
        options.error(str(problem))
    model = drawn(network, config, given.events)
    value, error = auc(reference.scores, model.scores)
    rows = {"auc": {"model": (value, error), "real": (0.5, 0.0)}}
    of_model, of_real = (moments(representation, one.sums) for one in (model, reference))
    rows |= {name: {"model": of_model[name], "real": of_real[name]} for name in of_model}
    if given.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{given.model}: {given.events:,} events drawn, as many of {given.reference}")
    for name, row in rows.items():
        numbers = (f"{row[who][0]:10.5f} +- {row[who][1]:.5f}" for who in ("model", "real"))
        print(f"{name:12}", *numbers)


if __name__ == "__main__":
    main()
