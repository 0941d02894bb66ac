"""Files are whole or not there; folders that a failure left empty are not there either."""

import os
import stat

import pytest

from hitools.core.errors import InputError
from hitools.core.files import filling, replacing, write_text


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "notes.txt"
    write_text(path, "old")

    def write_half():
        with replacing(path) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("notes.txt", "old")]


def test_a_file_has_the_permissions_that_the_user_wants(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "notes.txt", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "notes.txt").stat().st_mode) == 0o640


def test_a_missing_folder_is_told_by_the_name_that_was_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError) as error, replacing(tmp_path / "no" / "x.pdf"):
        raise AssertionError("nothing can be written there")
    assert error.value.filename == str(tmp_path / "no" / "x.pdf")


def fail_in(folder, leave=None):
    with pytest.raises(ValueError, match="wrong"), filling(folder):
        _fail(folder, leave)


def _fail(folder, leave):
    assert folder.is_dir()
    if leave:
        (folder / leave).touch()
    raise ValueError("wrong")


def test_a_folder_that_stays_empty_goes_and_with_it_what_was_made_above(tmp_path):
    (tmp_path / "mine").mkdir()
    fail_in(tmp_path / "mine" / "new" / "report")
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


def test_a_folder_that_was_there_or_holds_something_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    fail_in(tmp_path / "mine")
    fail_in(tmp_path / "new", leave="figure.pdf")
    assert {path.name for path in tmp_path.rglob("*")} == {"mine", "new", "figure.pdf"}


def test_a_folder_that_cannot_be_made_is_bad_input(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot make this folder"), filling(tmp_path / "file"):
        pass
