"""Files that the tests of the validation commands share."""

import pytest

from benchmarks.defects import phi_shifted
from tests.cmd.validation_files import toy_pair, write


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    """A toy reference, and a toy sample whose particles are turned against their vectors."""
    folder = tmp_path_factory.mktemp("pair")
    reference, sample = toy_pair(250)
    return (
        write(folder / "reference.h5", reference),
        write(folder / "sample.h5", phi_shifted(sample), generated=True),
    )
