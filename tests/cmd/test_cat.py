"""hi-cat: what comes out is exactly the events that were asked for."""

import numpy as np
import pytest

from tests.conftest import assert_one_line_error, read_all


def rows_of(oo, result) -> list[int]:
    """Which of the real events these are, by their (unique) impact parameters."""
    index = {float(b): k for k, b in enumerate(oo.event("b"))}
    assert len(index) == len(oo)
    return [index[float(b)] for b in result.event("b")]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--head 5", range(5)),
        ("--head 0", []),
        ("--events 10:15", range(10, 15)),
        ("--events 115:", range(115, 120)),
        ("--events :3", range(3)),
        ("--every 50", [0, 50, 100]),
        ("--events 7:100 --every 40", [7, 47, 87]),
        ("--events 7:100 --every 40 --head 2", [7, 47]),
        ("--events 500:600", []),
        ("--every 99999999999999999999", [0]),
        ("--every 99999999999999999999 --events 3:", [3]),
    ],
)
def test_events_are_picked_by_place(run, tmp_path, oo, oo_path, options, expected):
    result = run("hi-cat", oo_path, "-o", "out.h5", *options.split())
    assert result.returncode == 0, result.stderr
    assert rows_of(oo, read_all(tmp_path / "out.h5")) == list(expected)


def test_places_count_over_all_inputs_together(run, tmp_path, oo, oo_path):
    run("hi-cat", oo_path, oo_path, "--events", "118:124", "-o", "out.h5")
    assert rows_of(oo, read_all(tmp_path / "out.h5")) == [118, 119, 0, 1, 2, 3]


def test_a_selection_before_head_counts_selected_events(run, tmp_path, oo, oo_path):
    run("hi-cat", oo_path, "--select", "b<5 and n_particles>200", "--head", 4, "-o", "out.h5")
    chosen = np.flatnonzero((oo.event("b") < 5) & (oo.event("n_particles") > 200))
    assert rows_of(oo, read_all(tmp_path / "out.h5")) == list(chosen[:4])


def test_shuffling_keeps_every_event_once_and_follows_the_seed(run, tmp_path, oo, oo_path):
    orders = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("hi-cat", oo_path, "--shuffle", "--seed", seed, "-o", f"{name}.h5")
        shuffled = read_all(tmp_path / f"{name}.h5")
        orders[name] = rows_of(oo, shuffled)
        np.testing.assert_array_equal(shuffled.particles, oo.take(np.array(orders[name])).particles)
    assert sorted(orders["a"]) == list(range(120))
    assert orders["a"] == orders["b"] != orders["c"]
    # No event stays near its place more often than chance has it.
    moved = np.abs(np.array(orders["a"]) - np.arange(120))
    assert 30 < moved.mean() < 50  # 40 for a random permutation of 120


def test_shuffling_does_not_depend_on_how_the_events_arrive(pipe, tmp_path, oo, oo_path):
    pipe(f"hi-cat {oo_path} --shuffle -o a.h5")
    pipe(
        f"cat <(hi-cat {oo_path} --head 50) <(hi-cat {oo_path} --events 50:) "
        "| hi-cat --shuffle -o b.h5"
    )
    a, b = read_all(tmp_path / "a.h5"), read_all(tmp_path / "b.h5")
    assert rows_of(oo, a) == rows_of(oo, b)


def test_without_provenance_the_bytes_are_the_same_each_time(run, tmp_path, oo_path):
    for name in ("a.h5", "b.h5"):
        run("hi-cat", oo_path, "--shuffle", "--no-provenance", "-o", name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_storage_options_change_size_not_content(run, tmp_path, oo, oo_path):
    sizes = {}
    for options in ("--gzip 0", "--gzip 9", "--gzip 1 --slots 4096"):
        run("hi-cat", oo_path, *options.split(), "-o", "out.h5")
        sizes[options] = (tmp_path / "out.h5").stat().st_size
        np.testing.assert_array_equal(read_all(tmp_path / "out.h5").particles, oo.particles)
    assert sizes["--gzip 9"] < sizes["--gzip 0"]


def test_events_of_different_systems_are_joined_with_a_warning(run, tmp_path, oo_path):
    import h5py

    other = tmp_path / "other.h5"
    other.write_bytes(oo_path.read_bytes())
    with h5py.File(other, "a") as file:
        file.attrs["system"] = "Pb-Pb"
    result = run("hi-cat", oo_path, other, "-o", "out.h5")
    assert result.returncode == 0
    assert b"system O-O and Pb-Pb" in result.stderr
    with h5py.File(tmp_path / "out.h5") as file:
        assert "system" not in file.attrs


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--events", "3"], "A:B"),
        (["--events", "\N{SUPERSCRIPT TWO}:3"], "A:B"),
        (["--events", f"{'9' * 5000}:"], "A:B"),
        (["--select", ""], "--select ''"),
        (["--select", "1/0<b"], "no finite number"),
        (["--select", "pt>1"], "no event column"),
        (["--head", "-1"], "--head"),
        (["-o", "nowhere/out.h5"], "nowhere/out.h5"),
        (["-o", "."], "is a folder"),
        (["missing.h5"], "missing.h5"),
    ],
)
def test_bad_options_are_one_line(run, oo_path, options, words):
    assert_one_line_error(run("hi-cat", oo_path, "-o", "out.h5", *options), words)
