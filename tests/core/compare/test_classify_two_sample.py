"""The whole test: nothing is found where nothing is, and known defects are."""

from dataclasses import replace

import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.compare.classify.training import TrainingOptions
from hitools.core.compare.classify.two_sample import (
    ClassifyAccumulator,
    ClassifyOptions,
    ClassifyResult,
)
from hitools.core.errors import InputError
from tests.core.toys import toy_events

QUICK = TrainingOptions(device="cpu", max_epochs=15, patience_steps=150, patience_epochs=3)


def classify(
    reference: EventBatch, sample: EventBatch | None, *names: str, **options
) -> ClassifyResult:
    options.setdefault("n_seeds", 1)
    options.setdefault("training", QUICK)
    test = ClassifyAccumulator(ClassifyOptions(classifiers=names, **options))
    test.add_reference(reference)
    if sample is not None:
        for batch in sample.split(7000):
            test.add_sample(batch)
    return test.result()


def numbers(result: ClassifyResult) -> dict[str, float]:
    return {quantity.name: quantity.value for quantity in result.quantities()}


def events(n: int, seed: int, **how) -> EventBatch:
    return toy_events(n, seed, mean_particles=20, **how)


def altered(batch: EventBatch, **columns: np.ndarray) -> EventBatch:
    """The same events with other pT, eta or phi."""
    kinematics = {name: batch.particle(name) for name in ("pt", "eta", "phi")} | columns
    geometry = (batch.event(name) for name in ("b", "n_coll", "n_part"))
    return EventBatch.from_particles(
        *kinematics.values(), batch.n_particles, *geometry, batch.weights
    )


@pytest.fixture(scope="module")
def reference() -> EventBatch:
    return events(1200, 1)


@pytest.fixture(scope="module")
def halves(reference) -> ClassifyResult:
    return classify(reference, None, "event", "deepsets", n_seeds=2)


def test_two_halves_of_a_sample_cannot_be_told_apart(halves):
    for verdict in halves.classifiers:
        value, error = verdict.observed.statistics["auc"]
        assert abs(value - 0.5) < 4 * error
        assert verdict.observed.p_value > 1e-3
        assert verdict.observed.statistics["weight_share"][0] > 0.9
        assert verdict.floor is None


def test_every_number_has_its_name_error_and_floor(reference):
    result = classify(reference, events(300, 2), "event", n_seeds=2)
    listed = {quantity.name: quantity for quantity in result.quantities()}
    tails = [
        f"weight_{q}.event.{which}"
        for which in ("reference", "sample")
        for q in ("1%", "50%", "99%")
    ]
    assert set(listed) == {
        "auc.event",
        "auc_spread.event",
        "p_value.event",
        "weight_mean.event",
        "weight_share.event",
        *tails,
    }
    assert all(np.isfinite(q.floor) for q in listed.values())
    without_error = {"auc_spread.event", "p_value.event"}
    assert all(np.isfinite(q.error) for q in listed.values() if q.name not in without_error)
    assert result.n_used == (1200, 300)
    # The second half is as large as the sample.
    assert result.n_floor == (600, 300)


def test_the_same_seed_gives_the_same_numbers_and_batches_do_not_matter(reference):
    sample = events(400, 2)
    options = ClassifyOptions(
        classifiers=("deepsets",), n_seeds=1, max_events=300, training=replace(QUICK, max_epochs=2)
    )
    found = []
    for size in (400, 2500, 10**6):
        test = ClassifyAccumulator(options)
        for batch in reference.split(size):
            test.add_reference(batch)
        for batch in sample.split(size):
            test.add_sample(batch)
        found.append([tuple(q.as_dict().values()) for q in test.result().quantities()])
    assert found[0] == found[1] == found[2]
    other = ClassifyAccumulator(replace(options, seed=2))
    other.add_reference(reference)
    other.add_sample(sample)
    assert [tuple(q.as_dict().values()) for q in other.result().quantities()] != found[0]


@pytest.mark.parametrize("name", ["event", "deepsets"])
def test_momenta_scaled_by_a_tenth_are_seen(reference, name):
    sample = events(1200, 2)
    found = numbers(classify(reference, altered(sample, pt=sample.particle("pt") * 1.1), name))
    assert found[f"auc.{name}"] > 0.6
    assert found[f"p_value.{name}"] < 1e-3
    assert found[f"weight_share.{name}"] < 0.97


def test_a_cut_tail_is_seen_by_deep_sets(reference):
    sample = events(1200, 2)
    pt = sample.particle("pt")
    found = numbers(classify(reference, altered(sample, pt=np.minimum(pt, 1.2)), "deepsets"))
    assert found["auc.deepsets"] > 0.6


def test_removed_flow_is_seen(reference):
    flowing = events(1200, 3, flow={2: 0.25})
    found = numbers(classify(flowing, events(1200, 2), "event", "deepsets"))
    assert found["auc.event"] > 0.6
    assert found["auc.deepsets"] > 0.6


def test_particles_that_lost_their_partners_are_seen_by_the_transformer():
    """Pairs of near particles against the same particles dealt anew over all events."""

    def pairs(seed: int) -> EventBatch:
        rng = np.random.default_rng(seed)
        pt, eta, phi = rng.exponential(0.5, 5000) + 0.1, *rng.uniform(-2.5, 2.5, (2, 5000))
        near = rng.normal(0, 0.05, (2, 5000))
        return EventBatch.from_particles(
            np.repeat(pt, 2),
            np.stack([eta, eta + near[0]], 1).ravel(),
            np.stack([phi, phi + near[1]], 1).ravel(),
            np.full(500, 20),
            *np.ones((3, 500)),
        )

    sample = pairs(2)
    dealt = np.random.default_rng(3).permutation(10000)
    mixed = altered(sample, **{name: sample.particle(name)[dealt] for name in ("pt", "eta", "phi")})
    found = numbers(classify(pairs(1), mixed, "transformer", training=replace(QUICK, max_epochs=8)))
    assert found["auc.transformer"] > 0.75


def test_event_vectors_of_other_events_are_seen_only_by_who_sees_both(reference):
    """Vectors and particles each distributed as they should be, but swapped between events."""
    sample = events(1200, 2)
    swapped = EventBatch(np.roll(sample.events, 1, axis=0), sample.particles, sample.offsets)
    blind = classify(reference, swapped, "event", "deepsets")
    assert all(q.value > 1e-3 for q in blind.quantities() if "p_value" in q.name)
    options = replace(QUICK, with_event_vector=True, max_epochs=30)
    told = classify(reference, swapped, "deepsets", training=options)
    assert numbers(told)["auc.deepsets"] > 0.6


def test_event_weights_count_in_training_and_in_the_auc():
    """A central-heavy sample is told from the reference, unless its weights undo the choice."""
    reference, thrown = events(2500, 1), events(5000, 2)
    chance = 1 - thrown.event("b") / 10
    kept = thrown.take(np.random.default_rng(0).uniform(size=5000) < chance)
    undone = replace(kept, weights=(10 / (10 - kept.event("b"))).astype(np.float32))
    assert numbers(classify(reference, kept, "event"))["auc.event"] > 0.6
    found = numbers(classify(reference, undone, "event"))
    assert found["p_value.event"] > 1e-3
    assert found["auc.event"] < 0.55


def test_the_worst_events_are_those_that_were_spoilt(reference):
    sample = events(1200, 2)
    spoilt = np.arange(1200) % 8 == 0
    factor = np.where(spoilt, 2.0, 1.0)[sample.event_of_particle]
    sample = altered(sample, pt=sample.particle("pt") * factor)
    result = classify(reference, sample, "event", "deepsets", n_seeds=2)
    worst, judge = result.worst(20)
    assert judge.name in ("event", "deepsets")
    assert len(worst) == 20
    mean_pt = {float(x) for x in sample.event("mean_pt")[spoilt]}
    assert np.mean([float(x) in mean_pt for x in worst.event("mean_pt")]) > 0.8
    # Of all events only those that a training tested can be asked for.
    tested = np.unique(judge.observed.rows)
    everything = result.worst(5000)[0]
    assert len(everything) == np.count_nonzero(tested >= 1200) < 1200


def test_too_few_events_are_refused(reference):
    test = ClassifyAccumulator(ClassifyOptions())
    test.add_reference(reference[:199])
    with pytest.raises(InputError, match=r"^a\.h5: 199 events; a classifier test needs .* 200"):
        test.check(("a.h5",))
    test.add_reference(reference[199:250])
    test.check(("a.h5",))
    test.add_sample(reference[300:399])
    with pytest.raises(InputError, match=r"^b\.h5: 99 events; .* 100"):
        test.check(("a.h5", "b.h5"))


def test_details_hold_each_training(halves):
    details = halves.details()["classifiers"]["deepsets"]["observed"]
    assert len(details["auc"]) == len(details["p_value"]) == len(details["epochs"]) == 2
    assert details["roc"]["reference"] == sorted(details["roc"]["reference"])
    assert details["roc"]["reference"][-1] == 1
    w = details["weight_quantiles"]
    assert w["reference"] == sorted(w["reference"])
    assert len(w["at"]) == len(w["sample"])
