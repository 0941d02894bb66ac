"""What an input is shows in its content; several inputs are read as one."""

import gzip
import os
import threading

import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.format.meta import Selection
from hitools.core.sources.detect import Inputs, open_source
from tests.conftest import DATA

HEPMC = DATA / "angantyr_oo.hepmc.gz"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"pt,eta,phi\n1,2,3\n", "not understood"),
        (gzip.compress(b"pt,eta,phi\n1,2,3\n", mtime=0), "not understood"),
        (b"\x1f\x8bnothing packed", "cannot be read on"),
        (b"roots and other plants", "cannot be read"),
        (b"\x89HDF\r\n\x1a\n but no more", "HDF5"),
    ],
)
def test_anything_else_is_refused_in_a_sentence(tmp_path, content, words):
    path = tmp_path / "events.h5"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        open_source(str(path))
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["missing.h5", "."])
def test_what_is_no_file_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=name):
        open_source(name)


@pytest.mark.parametrize("what", ["hepmc", "event file"])
def test_named_pipes_are_read_like_files(tmp_path, oo_path, what):
    whole = HEPMC if what == "hepmc" else oo_path
    expected = 5 if what == "hepmc" else 120
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    thread = threading.Thread(target=lambda: pipe.write_bytes(whole.read_bytes()))
    thread.start()
    source = open_source(str(pipe), on_fault=lambda *_: None)
    assert sum(len(batch) for batch in source) == expected
    source.close()
    thread.join()


def test_inputs_of_different_formats_are_joined_and_keep_what_they_agree_on(oo, oo_path, caplog):
    with Inputs([str(oo_path), str(HEPMC)], on_fault=lambda *_: None) as inputs:
        batch = EventBatch.concatenate(list(inputs))
    assert len(batch) == len(oo) + 5
    np.testing.assert_array_equal(batch.events[: len(oo)], oo.events)
    assert inputs.meta.selection == Selection()
    assert inputs.meta.system is None
    assert "system O-O and unknown" in caplog.text


def test_a_missing_second_input_is_told_before_the_first_is_read(oo_path):
    with pytest.raises(InputError, match=r"nowhere\.h5"):
        Inputs([str(oo_path), "nowhere.h5"])


def test_standard_input_cannot_be_read_twice():
    with pytest.raises(InputError, match="only once"):
        Inputs(["-", "-"])
