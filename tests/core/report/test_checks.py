"""All checks in one pass give what each of them gives alone."""

import pytest

from hitools.core.compare.classify.two_sample import ClassifyAccumulator, ClassifyOptions
from hitools.core.compare.closure import ClosureAccumulator
from hitools.core.compare.flow import FlowAccumulator
from hitools.core.compare.flow_sums import FlowOptions
from hitools.core.compare.qclosure import QClosureAccumulator
from hitools.core.compare.w1 import W1Accumulator
from hitools.core.errors import InputError
from hitools.core.observables.jets.comparison import JetComparison
from hitools.core.observables.jets.definition import JetDefinition
from hitools.core.observables.jets.finder import find_jets
from hitools.core.report.checks import Checks, ReportOptions
from hitools.core.report.names import KEY_NUMBERS, TITLES
from tests.core.toys import toy_events


@pytest.fixture(scope="module")
def samples():
    return toy_events(300, 1, mean_particles=40), toy_events(250, 2, mean_particles=40)


@pytest.fixture(scope="module")
def sections(samples):
    reads = [0, 0]

    def once(which):
        reads[which] += 1
        yield from samples[which].split(3000)

    checks = Checks(ReportOptions(n_seeds=1, classifiers=("event",)), eta_max=2.5)
    checks.add_reference(once(0))
    checks.add_sample(once(1))
    assert reads == [1, 1]
    checks.require(("a", "b"))
    done = []
    found = {section.name: section for section in checks.sections(done.append)}
    assert sum(done) == pytest.approx(checks.n_trainings())
    return found


def alone(name, samples):
    reference, sample = samples
    if name == "jets":
        definition = JetDefinition(seed=1)
        comparison = JetComparison(definition, 1)
        comparison.add_reference(find_jets(reference, definition))
        comparison.add_sample(find_jets(sample, definition))
        return comparison.result()
    accumulator = {
        "w1": lambda: W1Accumulator(seed=1),
        "qclosure": lambda: QClosureAccumulator(None, 1),
        "flow": lambda: FlowAccumulator(FlowOptions(), 1),
        "closure": lambda: ClosureAccumulator(seed=1),
        "classify": lambda: ClassifyAccumulator(ClassifyOptions(classifiers=("event",), n_seeds=1)),
    }[name]()
    accumulator.add_reference(reference)
    accumulator.add_sample(sample)
    return accumulator.result()


@pytest.mark.parametrize("name", TITLES)
def test_a_section_holds_the_numbers_of_its_command(name, sections, samples):
    expected = {q.name: q for q in alone(name, samples).quantities()}
    found = {q.name: q for q in sections[name].quantities}
    assert set(found) == set(expected)
    for key, quantity in found.items():
        other = expected[key]
        for field in ("value", "error", "floor"):
            assert getattr(quantity, field) == pytest.approx(
                getattr(other, field), rel=1e-6, abs=1e-9, nan_ok=True
            ), (key, field)
    assert sections[name].figures


def test_the_key_numbers_are_found_by_their_names(sections):
    names = {quantity.name for section in sections.values() for quantity in section.quantities}
    not_run = {"auc.deepsets", "auc.transformer"}
    assert {key.quantity for key in KEY_NUMBERS} - not_run <= names


def test_what_is_left_out_is_not_done(samples):
    checks = Checks(ReportOptions(checks=("w1",)), eta_max=2.5)
    checks.add_reference([samples[0]])
    checks.add_sample([samples[1]])
    checks.require(("a", "b"))
    assert [section.name for section in checks.sections()] == ["w1"]
    assert checks.n_trainings() == 0


def test_the_same_events_on_both_sides_are_refused(samples):
    checks = Checks(ReportOptions(checks=("classify",)), eta_max=2.5)
    checks.add_reference([samples[0]])
    checks.add_sample([samples[0]])
    with pytest.raises(InputError, match=r"b\.h5: 300 of 300 events are also in a\.h5"):
        checks.require(("a.h5", "b.h5"))
