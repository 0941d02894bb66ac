"""FastJet's clustering for many events in one call: arrays in, jets and who is in them out.

It goes through FastJet's own array interface, which makes its pseudojets in C++; a Python object
per particle would cost as much as the clustering. Everything here is per "object": the particles
of an event, and behind them its ghosts.
"""

from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from hitools.core.features import BoolArray, Float64Array, IntArray
from hitools.core.observables.jets.ragged import offsets_of

WHOLE_JET: Final = 6.2
"""Radius for re-clustering a jet: wider than any jet, and below the 2 pi that NlnN demands."""


@dataclass(frozen=True, eq=False)
class Clustering:
    """The inclusive jets of some events.

    Attributes:
        momenta: (4, n_jets) four-momenta, jets of an event next to each other.
        event: (n_jets,) int64 event of each jet.
        members: (n_objects,) int64 index within its event of each object, jet by jet.
        offsets: (n_jets + 1,) int64; jet j is made of members[offsets[j]:offsets[j+1]]. The first
            of them has the lowest index.
    """

    momenta: Float64Array
    event: IntArray
    members: IntArray
    offsets: IntArray

    @property
    def jet_of_member(self) -> IntArray:
        """(n_objects,) the jet that each member is in."""
        return np.repeat(np.arange(len(self.event)), np.diff(self.offsets))


@cache
def _fastjet() -> ModuleType:
    """The library, its banner and warnings kept off the C++ standard output."""
    import fastjet

    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    fastjet._swig.LimitedWarning.set_default_stream(None)
    return fastjet


def cluster(
    momenta: Float64Array,
    offsets: IntArray,
    algorithm: str,
    radius: float,
    *,
    with_ghosts: bool = False,
    dense: bool = False,
) -> Clustering:
    """All inclusive jets of each event, in the E-scheme.

    Args:
        momenta: (4, n_objects) px, py, pz, E in GeV, events one after another.
        offsets: (n_events + 1,) event k holds the objects offsets[k]:offsets[k+1].
        algorithm: "antikt", "kt" or "cambridge".
        radius: R.
        with_ghosts: many of the objects are ghosts.
        dense: hundreds of objects may lie in one place, where the strategies with tiles need a
            time that rises with the third power of their number.
    """
    strategy = "NlnN" if dense else _strategy(algorithm, with_ghosts=with_ghosts)
    sequences = _sequences(momenta, offsets, algorithm, radius, "E_scheme", strategy)
    return _inclusive(sequences, offsets)


def _strategy(algorithm: str, *, with_ghosts: bool) -> str:
    """What was fastest for events of heavy ions; the jets are the same with every strategy."""
    if not with_ghosts:
        return "Best"
    # Anti-kT never needs the distances between ghosts. For the others FastJet's own choice takes
    # finer tiles, which costs a quarter more.
    return "N2MHTLazy9AntiKtSeparateGhosts" if algorithm == "antikt" else "N2MHTLazy9"


def winner_take_all(
    momenta: Float64Array, offsets: IntArray, *, dense: bool = False
) -> Float64Array:
    """The axis of each jet after re-clustering with C/A in the Winner-Take-All scheme.

    It is the direction of the constituent that wins every recombination by its pT
    (D. Bertolini, T. Chan, J. Thaler, JHEP 04 (2014) 013).

    Args:
        momenta: (4, n_constituents) jet by jet, at least one for each jet.
        offsets: (n_jets + 1,).
        dense: see cluster.

    Returns:
        (4, n_jets) four-momenta in this scheme; their rapidity and azimuth are the axis.
    """
    strategy = "NlnN" if dense else "Best"
    sequences = _sequences(momenta, offsets, "cambridge", WHOLE_JET, "WTA_pt_scheme", strategy)
    return _momenta(sequences.inclusive_jets())


@dataclass(frozen=True, eq=False)
class Trees:
    """Binary trees of C/A clusterings, one a jet, their nodes in post-order.

    Attributes:
        momenta: (4, n_nodes) four-momenta; nodes without children are the constituents.
        first: (n_nodes,) int64 one child of each node, -1 for a constituent.
        second: (n_nodes,) int64 the other child.
        roots: (n_jets,) int64 the node that is the whole jet.
    """

    momenta: Float64Array
    first: IntArray
    second: IntArray
    roots: IntArray


def cambridge_trees(momenta: Float64Array, offsets: IntArray, *, dense: bool = False) -> Trees:
    """Re-cluster each jet with Cambridge/Aachen and keep the history.

    Args:
        momenta: (4, n_constituents) jet by jet, at least one for each jet.
        offsets: (n_jets + 1,).
        dense: see cluster.
    """
    strategy = "NlnN" if dense else "Best"
    sequences = _sequences(momenta, offsets, "cambridge", WHOLE_JET, "E_scheme", strategy)
    n_constituents = np.diff(offsets)
    history = _flat(sequences.unique_history_order()).astype(np.int64)
    # A jet of n has 2n - 1 nodes, and its recombination with the beam comes last in the order.
    roots = np.cumsum(2 * n_constituents) - 2
    is_node = np.ones(len(history), dtype=np.bool_)
    is_node[roots + 1] = False
    history, roots = history[is_node], roots - np.arange(len(roots))
    nodes = _momenta(sequences.jets())
    first_node = np.repeat(roots - (2 * n_constituents - 2), 2 * n_constituents - 1)
    is_leaf = history < np.repeat(n_constituents, 2 * n_constituents - 1)
    first, second = _children_in_post_order(is_leaf)
    return Trees(nodes[:, first_node + history], first, second, roots)


def _children_in_post_order(is_leaf: BoolArray) -> tuple[IntArray, IntArray]:
    """The two children of each node of full binary trees written one after another.

    The second child of a node is the node before it. With the number of open subtrees after each
    node as height, the first child is the last node before it of the same height.
    """
    height = np.cumsum(np.where(is_leaf, 1, -1))
    by_height = np.argsort(height, kind="stable")
    previous = np.zeros(len(height), dtype=np.int64)
    previous[by_height[1:]] = by_height[:-1]
    position = np.arange(len(height))
    return np.where(is_leaf, -1, previous), np.where(is_leaf, -1, position - 1)


def _sequences(
    momenta: Float64Array,
    offsets: IntArray,
    algorithm: str,
    radius: float,
    scheme: str,
    strategy: str,
) -> Any:
    import awkward as ak

    fastjet = _fastjet()
    # With four arguments the fourth would be taken for the number of parameters.
    definition = fastjet.JetDefinition(
        getattr(fastjet, f"{algorithm}_algorithm"),
        radius,
        getattr(fastjet, scheme),
        getattr(fastjet, strategy),
        1,
    )
    columns = [ak.contents.NumpyArray(np.ascontiguousarray(component)) for component in momenta]
    record = ak.contents.RecordArray(columns, ["px", "py", "pz", "E"])
    events = ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), record))
    return fastjet.ClusterSequence(events, definition)


def _inclusive(sequences: Any, offsets: IntArray) -> Clustering:
    """Jets and members, from the order of the history.

    FastJet lists the steps of a clustering so that each tree is written in post-order: its
    objects, where they recombine, and last its recombination with the beam. Counting objects up
    and recombinations down, a tree ends where the count returns to where it began. Trees follow
    each other by their lowest object, so that ghosts which the anti-kT strategy left
    without any recombination stand at the end of an event.
    """
    order = sequences.unique_history_order()
    history = _flat(order)
    steps = np.diff(np.asarray(order.layout.offsets))
    n_objects = np.diff(offsets)
    n_loose = 2 * n_objects - steps
    is_object = history < np.repeat(n_objects.astype(np.int32), steps)
    height = np.cumsum(2 * is_object.view(np.int8) - 1, dtype=np.int32)
    before = np.cumsum(n_loose) - n_loose
    if n_loose.any():
        height -= np.repeat(before.astype(np.int32), steps)
        is_loose = np.arange(len(history)) >= np.repeat(np.cumsum(steps) - n_loose, steps)
        is_object &= ~is_loose
    ends = np.flatnonzero(height == 0)
    event = np.searchsorted(np.cumsum(steps), ends, side="right")
    # A tree has as many recombinations, with the beam's, as objects.
    counts = np.diff(ends - before[event], prepend=-1) // 2
    # FastJet returns the jets of an event from the last one that met the beam to the first.
    latest_first = np.lexsort((-history[ends], event))
    momenta = np.empty((4, len(ends)))
    momenta[:, latest_first] = _momenta(sequences.inclusive_jets())
    return Clustering(momenta, event, history[is_object].astype(np.int64), offsets_of(counts))


def _momenta(jagged: Any) -> Float64Array:
    record = jagged.layout.content
    return np.stack([record[name].data for name in ("px", "py", "pz", "E")])


def _flat(jagged: Any) -> npt.NDArray[np.int32]:
    return cast("npt.NDArray[np.int32]", jagged.layout.content.data)
