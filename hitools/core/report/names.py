"""What a report shows first: the checks, the key numbers, and what the paper says of them.

The paper's values are for its final O-O model (sections IV B to E, Figs. 4, 5, 8, 11, 12) and its
fine-tuned Pb-Pb model (section V); other systems have none.
"""

from dataclasses import dataclass
from typing import Final, Literal

TITLES: Final = {
    "w1": "Wasserstein distances",
    "qclosure": "Q-vector closure",
    "flow": "Flow and trigger correlations",
    "closure": "Distributions",
    "classify": "Classifiers",
    "jets": "Jets",
}
"""The checks, by the name of their command without "hi-", in the order of the page."""

Aim = Literal["low", "high", "one", "half"]
"""Where a number should go: down, up, to 1, or down to 1/2."""


@dataclass(frozen=True)
class KeyNumber:
    """A row of the first table.

    Attributes:
        quantity: its name.
        label: for people.
        aim: where it should go.
        paper: value by system, where the paper gives one.
    """

    quantity: str
    label: str
    aim: Aim
    paper: tuple[tuple[str, float], ...] = ()

    def paper_value(self, system: str | None) -> float | None:
        """What the paper has for this system."""
        return dict(self.paper).get(system or "")


def _map(pair: str, label: str, mean: float, median: float) -> tuple[KeyNumber, KeyNumber]:
    name = f"closure.{pair}"
    return (
        KeyNumber(f"{name}.mean", f"{label}: mean ratio of bins", "one", (("O-O", mean),)),
        KeyNumber(f"{name}.median", f"{label}: median ratio", "one", (("O-O", median),)),
    )


KEY_NUMBERS: Final = (
    KeyNumber("w1.evt", "W1, mean of event variables", "low"),
    KeyNumber("w1_sd.evt", "W1, the same in standard deviations", "low"),
    KeyNumber("w1.part", "W1, mean of pT, eta, phi", "low", (("O-O", 2.18e-3),)),
    KeyNumber("q.correlation", "Q correlation", "high", (("O-O", 0.99), ("Pb-Pb", 0.78))),
    KeyNumber("q.rms.x", "RMS of Qx difference", "low", (("O-O", 1.14),)),
    KeyNumber("q.rms.y", "RMS of Qy difference", "low", (("O-O", 0.99),)),
    KeyNumber("q.cos_2_delta_psi", "<cos 2 delta psi_2>", "high", (("Pb-Pb", 0.87),)),
    *_map("mean_eta:mean_pt", "<eta> and <pT>", 1.02, 1.00),
    *_map("n_particles:sum_pt", "N and sum pT", 0.97, 0.99),
    *_map("eta:pt", "eta and pT", 1.01, 1.00),
    *_map("phi:pt", "phi and pT", 1.01, 1.00),
    KeyNumber("flow.pairs.chi2_ndf", "delta phi of triggers, chi2/ndf", "low"),
    KeyNumber("flow.v2_sp.chi2_ndf", "v2{SP}(pT), chi2/ndf", "low"),
    KeyNumber("flow.v2_sp.resolution.pull", "Event-plane resolution, pull", "low"),
    KeyNumber("flow.c2_2.pull", "c2{2}, pull", "low"),
    KeyNumber("auc.event", "AUC, event features", "half", (("O-O", 0.5),)),
    KeyNumber("auc.deepsets", "AUC, particles (Deep Sets)", "half", (("O-O", 0.5),)),
    KeyNumber("auc.transformer", "AUC, particles (transformer)", "half"),
    KeyNumber("jets.per_event.ratio", "Jets per event, ratio", "one"),
    KeyNumber(
        "jets.pt.within_10",
        "Jet pT, share within 10%",
        "high",
        (("O-O", 0.998), ("Pb-Pb", 0.998)),
    ),
    KeyNumber("jets.n_constituents.chi2_ndf", "Jet constituents, chi2/ndf", "low"),
    KeyNumber("jets.angularity.chi2_ndf", "Jet angularity, chi2/ndf", "low"),
    KeyNumber("jets.rho_area.chi2_ndf", "rho times area, chi2/ndf", "low"),
)
