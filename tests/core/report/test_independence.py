"""A reference that a model's training saw is refused, by its events or by how they were made."""

import numpy as np
import pytest

from hitools.core.errors import InputError
from hitools.core.format.meta import EventMeta, Selection
from hitools.core.format.provenance import make_step
from hitools.core.format.writer import open_writer
from hitools.core.report.independence import (
    Kinship,
    are_the_training_events,
    check,
    files_of_the_training,
    kinship,
    refuse_shared_events,
)
from hitools.core.training.data import split


def chain(*commands, seed=1, time="2026-01-01T00:00:00Z"):
    steps = ()
    for command in commands:
        program = command.split()[0]
        steps += (make_step(steps, program, "0.1.0", command, seed, time),)
    return steps


TRAINED = chain("hi-mc -n 60000 -j 14 -o train.h5", "hi-train train.h5 -o model")


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (chain("hi-mc -n 60000 -j 14 -o train.h5"), Kinship.SHARED),
        # The same events under another name, or some of them, however the defaults are spelled.
        (chain("hi-mc --number=20 -o held.h5 -q", time="later"), Kinship.SHARED),
        (chain("hi-mc --system O-O --sqrt-s-nn 5360.0 -n20 -o h.h5"), Kinship.SHARED),
        (chain("hi-mc -n 60000 -j 14 -o train.h5", seed=2), Kinship.APART),
        (chain("hi-mc -n 60000 --system Pb-Pb -o train.h5"), Kinship.APART),
        (chain("hi-mc -n 60000 --set 'Tune:pp = 18' -o train.h5"), Kinship.APART),
        (chain("hi-mc -n 99 -o a.h5", "hi-prep a.h5 --split train=.5,val=.5"), Kinship.UNCLEAR),
        (chain("hi-mc -n 99 -o a.h5", "hi-cat a.h5 --head 9"), Kinship.UNCLEAR),
        ((), Kinship.APART),
    ],
)
def test_event_k_of_a_generator_is_the_same_however_it_was_called(reference, expected):
    assert kinship(TRAINED, reference) is expected


@pytest.fixture
def files(tmp_path, oo):
    """Training, validation and held-out events, and the first of these with one of training."""
    paths = {}
    for name, rows in (
        ("train", range(60)),
        ("validation", range(60, 80)),
        ("held", range(80, 120)),
        ("mixed", (7, *range(90, 120))),
    ):
        paths[name] = tmp_path / f"{name}.h5"
        with open_writer(paths[name], EventMeta("O-O", 5360.0, Selection())) as out:
            out.write(oo.take(np.array(rows)))
    return paths


def test_one_common_event_is_found(files):
    refuse_shared_events(files["held"], [files["train"], files["validation"]])
    with pytest.raises(InputError, match=r"1 of 60 events are also in .*mixed\.h5"):
        refuse_shared_events(files["mixed"], [files["validation"], files["train"]])


def test_the_fingerprint_of_the_training_is_that_of_its_files_in_order(files, oo):
    data = split(oo.take(np.arange(80)), 20, 0.1, 100, 1).describe()
    assert are_the_training_events([files["train"], files["validation"]], data)
    assert not are_the_training_events([files["validation"], files["train"]], data)
    assert not are_the_training_events([files["train"]], data)
    assert not are_the_training_events([], data)


def test_a_check_refuses_or_says_what_is_known(files, oo):
    data = split(oo.take(np.arange(80)), 20, 0.1, 100, 1).describe()
    training = [files["train"], files["validation"]]

    def checked(reference, given=(), theirs=(), facts=data):
        return check("m", TRAINED, facts, files[reference], theirs, given)

    assert "none of the events that m was trained" in checked("held", training)
    assert "no run of a generator is behind both" in checked("held", training[:1])
    cut = chain("hi-mc -n 60000 -o a.h5", "hi-cat a.h5 --head 9")
    assert "--training" in checked("held", (), cut)
    assert "none of the events" in checked("held", training, cut)
    with pytest.raises(InputError, match="also in"):
        checked("mixed", training)
    with pytest.raises(InputError, match="another --seed"):
        checked("held", (), chain("hi-mc -n 5 -o b.h5"))
    the_same = split(oo.take(np.arange(80, 120)), 0, 0.1, 100, 1).describe()
    with pytest.raises(InputError, match="was trained on"):
        checked("held", (), (), the_same)


def test_files_that_the_training_named_are_looked_into(files, monkeypatch):
    monkeypatch.chdir(files["held"].parent)
    (files["held"].parent / "notes").write_text("no events")
    steps = chain("hi-train train.h5 gone.h5 --validation validation.h5 --log notes -o model")
    names = [path.name for path in files_of_the_training(steps)]
    assert names == ["train.h5", "validation.h5"]
    with pytest.raises(InputError, match="also in"):
        check("m", steps, {}, files["mixed"], ())
