"""Comparison of jets: against scipy and numpy, and with samples that are wrong in a known way."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from hitools.core.errors import InputError
from hitools.core.observables.jets import Areas, JetBatch, JetDefinition, find_jets
from hitools.core.observables.jets import comparison as comparison_module
from hitools.core.observables.jets.comparison import JetComparison
from hitools.core.observables.jets.reach import reach, reach_cells, slices
from hitools.core.observables.jets.table import event_columns, jet_columns, table_type

BARE = JetDefinition(areas=None, substructure=None)


def toy_jets(seed, n_events=4000, slope=5.0, rate=3.0, weighted=False):
    """Jets of a power-law spectrum, pT^-slope above 5 GeV/c, flat in eta and phi."""
    rng = np.random.default_rng(seed)
    n_jets = rng.poisson(rate, n_events)
    jets = np.zeros(n_jets.sum(), table_type(jet_columns(BARE)))
    jets["event"] = np.repeat(np.arange(n_events), n_jets)
    jets["pt"] = 5 * rng.random(len(jets)) ** (-1 / (slope - 1))
    jets["eta"] = rng.uniform(-2.1, 2.1, len(jets))
    jets["phi"] = rng.uniform(-np.pi, np.pi, len(jets))
    jets["energy"] = jets["pt"] * np.cosh(jets["eta"])
    jets["mass"] = 0.3 * jets["pt"] * rng.random(len(jets))
    jets["n_constituents"] = 1 + rng.poisson(8, len(jets))
    events = np.zeros(n_events, table_type(event_columns(BARE)))
    events["weight"] = rng.uniform(0.5, 2, n_events) if weighted else 1.0
    events["n_jets"] = n_jets
    return JetBatch(jets, events)


def compare(reference, sample, definition=BARE):
    """Result of feeding both in uneven pieces."""
    comparison = JetComparison(definition, seed=3)
    for add, batch in ((comparison.add_reference, reference), (comparison.add_sample, sample)):
        for cut in (slice(0, 100), slice(100, 101), slice(101, len(batch))):
            add(batch[cut])
    return comparison.result()


def named(result):
    """Quantities by name."""
    return {quantity.name: quantity for quantity in result.quantities()}


def without(batch, keep):
    """Only some of the jets."""
    events = batch.events.copy()
    events["n_jets"] = np.bincount(batch.jets["event"][keep], minlength=len(batch))
    return JetBatch(batch.jets[keep], events)


@pytest.mark.parametrize("weighted", [False, True])
def test_w1_is_that_of_scipy(weighted):
    a, b = toy_jets(1, weighted=weighted), toy_jets(2, slope=5.2, weighted=weighted)
    numbers = named(compare(a, b))
    for name in ("pt", "eta", "energy", "mass", "n_constituents"):
        expected = wasserstein_distance(a.jets[name], b.jets[name], a.weights, b.weights)
        assert numbers[f"jets.{name}.w1"].value == pytest.approx(expected, rel=1e-5)
    per_event = wasserstein_distance(
        a.events["n_jets"], b.events["n_jets"], a.events["weight"], b.events["weight"]
    )
    assert numbers["jets.n_jets.w1"].value == pytest.approx(per_event, rel=1e-5)


def test_w1_of_the_azimuth_is_measured_along_the_circle():
    a, b = toy_jets(1), toy_jets(1)
    turned = (a.jets["phi"] + 0.3 + np.pi) % (2 * np.pi) - np.pi
    a.jets["phi"] = np.where(a.jets["phi"] > 0, 3.1, -3.1)
    b.jets["phi"] = np.where(a.jets["phi"] > 0, -3.1, 3.1)
    assert abs(turned).max() <= np.pi
    value = named(compare(a, b))["jets.phi.w1"].value
    assert value < 0.01


def test_w1_of_more_jets_than_memory_lies_within_its_bound(monkeypatch):
    a, b = toy_jets(1), toy_jets(2, slope=5.3)
    exact = {v.variable.name: v.w1.value for v in compare(a, b).variables}
    monkeypatch.setattr(comparison_module, "_HELD_BYTES", 10_000)
    for entry in compare(a, b).variables:
        assert abs(entry.w1.value - exact[entry.variable.name]) <= entry.w1_bound * (1 + 1e-6)


def test_ratio_panels_hold_the_histograms():
    a, b = toy_jets(1), toy_jets(2)
    for entry in compare(a, b).variables:
        if entry.variable.of_events:
            continue
        ratio, name = entry.ratio, entry.variable.name
        for batch, density in ((a, ratio.reference), (b, ratio.sample)):
            values = batch.jets[name].astype(float)
            expected = np.histogram(values, ratio.edges)[0] / np.diff(ratio.edges) / len(values)
            np.testing.assert_allclose(density, expected, rtol=1e-9, atol=1e-12)


def test_halves_of_one_sample_agree_within_floor_and_error():
    numbers = named(compare(toy_jets(1), toy_jets(2)))
    for name, quantity in numbers.items():
        if name.endswith(".w1"):
            assert quantity.value < quantity.floor + 4 * quantity.error, name
        elif name.endswith(".chi2_ndf"):
            assert quantity.value < 3, name
        elif name.endswith(".within_10"):
            assert quantity.value > 0.95, name
    ratio = numbers["jets.per_event.ratio"]
    assert abs(ratio.value - 1) < 4 * ratio.error
    assert 1 < ratio.floor < 1.05


def test_jets_per_event_are_counted_with_the_weights():
    a = toy_jets(1, weighted=True)
    b = without(a, np.arange(len(a.jets)) % 2 == 0)
    numbers = named(compare(a, b))
    w = a.events["weight"]
    assert numbers["jets.per_event.reference"].value == pytest.approx(
        (w * a.events["n_jets"]).sum() / w.sum()
    )
    assert numbers["jets.per_event"].value == pytest.approx(
        (w * b.events["n_jets"]).sum() / w.sum()
    )
    ratio = numbers["jets.per_event.ratio"]
    assert ratio.value == pytest.approx(0.5, abs=5 * ratio.error)


def test_a_weight_of_two_is_the_event_twice():
    a, b = toy_jets(1), toy_jets(2)
    doubled = JetBatch(b.jets, b.events.copy())
    doubled.events["weight"] = np.where(np.arange(len(b)) % 4 == 0, 2.0, 1.0)
    twice = JetBatch.concatenate([b, *(b[k : k + 1] for k in range(0, len(b), 4))])
    one, other = named(compare(a, doubled)), named(compare(a, twice))
    for name in ("jets.per_event", "jets.pt.w1", "jets.mass.w1"):
        assert one[name].value == pytest.approx(other[name].value, rel=1e-6)


@pytest.mark.parametrize("cut", [11.0, 14.0])
def test_a_cut_tail_is_seen_where_it_begins(cut):
    """Without jets above the cut the ratio holds up to the share of jets below it.

    A cut below 10 GeV/c leaves so few jets that the ratio of those that stay is 1.1 itself.
    """
    a, b = toy_jets(1, 20_000), toy_jets(2, 20_000)
    b = without(b, b.jets["pt"] < cut)
    value = named(compare(a, b))["jets.pt.within_10"].value
    below = np.mean(a.jets["pt"] < cut)
    assert below - 0.03 < value <= below + 1e-3


def test_a_tail_that_is_off_by_a_third_is_seen():
    rng = np.random.default_rng(9)
    a, b = toy_jets(1, 20_000), toy_jets(2, 20_000)
    b = without(b, (b.jets["pt"] < 12) | (rng.random(len(b.jets)) > 0.33))
    value = named(compare(a, b))["jets.pt.within_10"].value
    assert value == pytest.approx(np.mean(a.jets["pt"] < 12), abs=0.02)


def test_a_steeper_spectrum_is_seen_by_every_number():
    numbers = named(compare(toy_jets(1, 10_000), toy_jets(2, 10_000, slope=6.0)))
    w1 = numbers["jets.pt.w1"]
    assert w1.value > w1.floor + 5 * w1.error
    assert numbers["jets.pt.within_10"].value < 0.9
    assert numbers["jets.pt.chi2_ndf"].value > 3


def test_slices_are_known_to_ten_percent_and_lose_nothing():
    rng = np.random.default_rng(5)
    values = rng.exponential(1, 50_000)
    cells = np.concatenate([[-np.inf], reach_cells(values), [np.inf]])
    group = rng.integers(0, 64, len(values))
    counts = np.stack([np.histogram(values[group == g], cells)[0] for g in range(64)]).astype(float)
    other = rng.permuted(counts, axis=0)
    joined = slices(counts, other)
    assert joined.reference.sum() == counts.sum()
    assert (joined.error <= 0.1).all()
    assert joined.reference.sum(0)[-1] < 600
    assert reach(joined) == 1.0


def test_too_few_jets_say_nothing_of_the_tail():
    numbers = named(compare(toy_jets(1, 110, rate=1.0), toy_jets(2, 110, rate=1.0)))
    assert np.isnan(numbers["jets.pt.within_10"].value)


def test_no_jets_to_compare_is_an_input_error():
    a = toy_jets(1, 200)
    nothing = without(a, np.zeros(len(a.jets), bool))
    with pytest.raises(InputError, match="sample"):
        compare(a, nothing)
    with pytest.raises(InputError, match="reference"):
        compare(nothing, a)


def test_observables_of_real_jets_and_those_without_values(oo):
    """All of the paper's observables; no jet is hard enough for substructure here."""
    definition = JetDefinition(areas=Areas(rho_definition="occupied"))
    jets = find_jets(oo, definition)
    soft = without(jets, jets.jets["pt"] < 10)
    numbers = named(compare(jets[:60], soft[60:], definition))
    assert np.isnan(numbers["jets.z_g.w1"].value)
    assert np.isnan(numbers["jets.angularity.chi2_ndf"].value)
    assert np.isfinite(numbers["jets.area.w1"].value)
    assert np.isfinite(numbers["jets.rho.w1"].value)
    assert numbers["jets.rho.w1"].unit == "GeV/c"
    alone = JetComparison(definition)
    alone.add_reference(jets)
    means = {quantity.name: quantity for quantity in alone.alone().quantities()}
    assert means["jets.n_jets"].value == len(jets.jets)
    assert means["jets.pt.mean"].value == pytest.approx(jets.jets["pt"].mean())
    hard = jets.jets["pt"] >= 10
    assert means["jets.rho_area.mean"].value == pytest.approx(jets.jets["rho_area"][hard].mean())
    assert means["jets.per_event"].value == pytest.approx(len(jets.jets) / len(jets))
