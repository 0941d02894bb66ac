"""The training objective, computed once here for training and for validation.

Every term is a weighted mean, handed out as its numerator and denominator: a batch cut into parts
(two processes, or two accumulated steps) gives the loss of the whole as the sum of the numerators
over the sum of the denominators.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from hitools.core.diffusion.schedule import alpha_sigma, denoised, diffuse, velocity
from hitools.core.errors import InputError
from hitools.core.nets.layout import Layout
from hitools.core.nets.networks import Network
from hitools.core.nets.rotary_net import RotaryNet
from hitools.core.representation.aligned import is_hard
from hitools.core.representation.event_scores import turn_of

PSI_LATEST_TIME: Final = 0.5
"""Above this time a denoised particle says too little for L_psi (paper, section V C)."""

Shown = Literal["all", "before particles", "vectors", "whole"]
"""What a step shows of events: all; event vectors and what else is drawn before particles are
(slices and hard ones, of networks that do so); event vectors alone; or all particles of those
events that are drawn as a whole."""

SUMS_SHARE: Final = 0.1
"""Of the error of a whole sum in the loss on sums, beside the errors of single particles."""


@dataclass(frozen=True)
class WeightedMean:
    """A mean as a fraction, so that parts of a batch can be put together.

    Attributes:
        numerator: () sum of weight times value; carries the gradient.
        denominator: () sum of weights; 0 where nothing entered.
    """

    numerator: Tensor
    denominator: Tensor

    @property
    def value(self) -> Tensor:
        """() the mean; 0 where nothing entered."""
        return self.numerator / torch.where(self.denominator > 0, self.denominator, 1)


@dataclass(frozen=True)
class Losses:
    """What a batch costs.

    Attributes:
        event: mean over events of the squared velocity error, averaged over the event features,
            where these are denoised; for networks with coarse features, plus the same of these.
            None where event vectors alone are shown and none are denoised.
        particle: mean over particles of the same, averaged over the particle features; a particle
            weighs as much as its event. None where it was not asked for.
        psi: mean of L_psi over the events with t < 0.5; None where it was not asked for.
        hard: mean over events of minus the log-likelihood of their hard particles, for networks
            that draw these first; None for others.
        vectors: minus the mean log-likelihood of event vectors, for networks that draw them by it;
            None for others.
        whole: mean over events that are drawn as a whole of minus the log-likelihood of all their
            particles, for networks that do so; None for others.
        sums: of networks that estimate what particles add to the sums of their event: mean over
            particles of the squared error of the estimates, and of their event's error as a whole.
    """

    event: WeightedMean | None = None
    particle: WeightedMean | None = None
    psi: WeightedMean | None = None
    sums: WeightedMean | None = None
    hard: WeightedMean | None = None
    vectors: WeightedMean | None = None
    whole: WeightedMean | None = None


@dataclass(frozen=True)
class PsiLoss:
    """L_psi = 1 - cos 2(psi_reco - psi_true): particles must bend the way their event says.

    psi_reco is the event plane of the denoised particles, from their absolute pT and phi in
    physical units (paper, section V C).

    Attributes:
        momenta: (n_total, n_particle_features) of model space to pT in GeV/c and phi in radians,
            each (n_total,), differentiable.
        event_plane: (n_events, n_event_features) of model space to psi_2 in radians, (n_events,).
    """

    momenta: Callable[[Tensor], tuple[Tensor, Tensor]]
    event_plane: Callable[[Tensor], Tensor]

    def __call__(self, particles: Tensor, events: Tensor, layout: Layout) -> Tensor:
        """L_psi per event.

        Args:
            particles: (n_total, n_particle_features) denoised, in model space.
            events: (n_events, n_event_features) in model space.
            layout: which particles form an event.

        Returns:
            (n_events,) between 0 and 2; 1 for an event without particles.
        """
        pt, phi = self.momenta(particles)
        psi_true = self.event_plane(events)
        q_x, q_y = layout.mean(pt * torch.cos(2 * phi)), layout.mean(pt * torch.sin(2 * phi))
        # cos 2(psi_reco - psi_true) without an angle: the projection of Q on the true axis.
        projection = q_x * torch.cos(2 * psi_true) + q_y * torch.sin(2 * psi_true)
        length = torch.sqrt(q_x**2 + q_y**2 + torch.finfo(torch.float32).tiny)
        return 1 - projection / length


def losses(
    model: Network,
    events: Tensor,
    particles: Tensor,
    offsets: Tensor,
    weights: Tensor,
    t: Tensor,
    event_noise: Tensor,
    particle_noise: Tensor,
    particle_t: Tensor | None = None,
    *,
    shown: Shown = "all",
    psi: Callable[[Tensor, Tensor, Layout], Tensor] | None = None,
    with_sums: bool = False,
    hardness: float = 0.0,
    evenness: float = 0.0,
) -> Losses:
    """Velocity errors of both branches on a batch, at given times and noise.

    Args:
        model: both branches.
        events: (n_events, n_event_features) standardised.
        particles: (n_total, n_particle_features) standardised, packed; one column more where some
            are hard (Aligned.hard_from): these are shown as they are.
        offsets: (n_events + 1,) int64; event k holds rows offsets[k]:offsets[k+1].
        weights: (n_events,) event weights.
        t: (n_events,) diffusion times in [0, 1], of event vectors.
        event_noise: (n_times, n_events, n_event_features) standard normal; event vectors are shown
            at n_times times, evenly apart from t on.
        particle_noise: (n_total, n_particle_features) standard normal.
        particle_t: (n_events,) diffusion times of particles; None: those of event vectors.
        shown: of the events; where it is their vectors, events hold no coarse features, and
            particles need none at all.
        psi: adds L_psi of the denoised particles, usually a PsiLoss.
        with_sums: adds the loss on the sums; the model is one that estimates them.
        hardness: how much more hard particles weigh (Aligned.emphasis); of no use to others.
        evenness: how much more particles of small events weigh (Aligned.evening), likewise.
    """
    layout = Layout.from_offsets(offsets, particles.device)
    if shown == "whole":
        return Losses(whole=_whole_loss(model, events, particles, weights, layout))
    vectors_loss = _vectors_loss(model, events, weights)
    if shown == "vectors":
        if vectors_loss is None:
            return Losses(event=_event_loss(model, events, None, weights, t, event_noise))
        return Losses(vectors=vectors_loss)
    sliced = None
    if isinstance(model, RotaryNet):
        of_hard = model.representation.hard_sums(particles, events, layout.event_of_particle)
        known = model.known_of_slices(events, layout.n_particles, of_hard)
        sliced = known, ~model.representation.is_whole(layout.n_particles)
    event_loss = _event_loss(model, events, sliced, weights, t, event_noise)
    hard_loss = _hard_loss(model, events, particles, weights, layout)
    whole_loss = _whole_loss(model, events, particles, weights, layout)
    if shown != "all":
        return Losses(event_loss, hard=hard_loss, vectors=vectors_loss, whole=whole_loss)
    t = t if particle_t is None else particle_t
    alpha, sigma = (layout.spread(one) for one in alpha_sigma(t[:, None]))
    n = particle_noise.shape[1]
    noised = diffuse(particles[:, :n], particle_noise, alpha, sigma)
    target = velocity(particles[:, :n], particle_noise, alpha, sigma)
    particle_weights = layout.spread(weights)
    event_emphasis = weights
    if evenness and isinstance(model, RotaryNet):
        evening = model.representation.evening(layout.n_particles, evenness)
        event_emphasis = weights * evening
    emphasis = layout.spread(event_emphasis)
    if particles.shape[1] > n:
        hard = is_hard(particles)
        noised = torch.where(hard[:, None], particles, torch.cat([noised, particles[:, n:]], dim=1))
        emphasis = emphasis * ~hard
    if hardness and isinstance(model, RotaryNet):
        emphasis = emphasis * model.representation.emphasis(noised, alpha, hardness)
    sums_loss = None
    if with_sums:
        if not isinstance(model, RotaryNet):
            raise InputError(f"training: networks of kind {model.config.kind!r} estimate no sums")
        predicted, estimates = model.particle_outputs(noised, t, events, offsets)
        turn = layout.spread(turn_of(events))
        true = model.representation.contributions(particles, turn)
        sums_loss = _sums_loss(estimates, true, event_emphasis, layout, particle_weights.sum())
    else:
        predicted = model.particle_velocity(noised, t, events, offsets).float()
    error = (predicted - target).square().mean(1)
    particle_loss = WeightedMean((emphasis * error).sum(), particle_weights.sum())

    psi_loss = None
    if psi is not None:
        clean = denoised(noised[:, :n], predicted, alpha, sigma)
        if particles.shape[1] > n:
            clean = torch.where(hard[:, None], particles, torch.cat([clean, particles[:, n:]], 1))
        late_weights = weights * ((t < PSI_LATEST_TIME) & (layout.n_particles > 0))
        psi_loss = WeightedMean(
            (late_weights * psi(clean, events, layout)).sum(), late_weights.sum()
        )
    return Losses(
        event_loss, particle_loss, psi_loss, sums_loss, hard_loss, vectors_loss, whole_loss
    )


def _event_loss(
    model: Network,
    events: Tensor,
    sliced: tuple[Tensor, Tensor] | None,
    weights: Tensor,
    t: Tensor,
    noise: Tensor,
) -> WeightedMean:
    """Of event vectors and, with what is known of them, coarse features, at len(noise) times.

    With these comes which events have any.
    """
    n_times = len(noise)
    times = ((torch.arange(n_times, device=t.device)[:, None] / n_times + t) % 1).flatten()
    alpha, sigma = alpha_sigma(times[:, None])
    clean, noise = events.repeat(n_times, 1), noise.flatten(0, 1)
    noised = diffuse(clean, noise, alpha, sigma)
    target = velocity(clean, noise, alpha, sigma)
    n = model.n_event_features
    errors = []
    if not isinstance(model, RotaryNet) or model.vector_law is None:
        errors.append(model.event_velocity(noised[:, :n], times).float() - target[:, :n])
    if isinstance(model, RotaryNet) and sliced is not None:
        known, has_slices = (one.repeat(n_times, 1) for one in (sliced[0], sliced[1][:, None]))
        coarse = model.coarse_velocity(noised[:, n:], times, known).float()
        errors.append((coarse - target[:, n:]) * has_slices)
    square = torch.stack([error.square().mean(1) for error in errors]).sum(0)
    of_event = square.view(n_times, -1).mean(0)
    return WeightedMean((weights * of_event).sum(), weights.sum())


def _hard_loss(
    model: Network, events: Tensor, particles: Tensor, weights: Tensor, layout: Layout
) -> WeightedMean | None:
    if not isinstance(model, RotaryNet) or model.hard is None:
        return None
    # A likelihood of narrow laws, in float32 whatever the velocities are in.
    with torch.autocast(particles.device.type, enabled=False):
        log_likelihood = model.hard_log_likelihood(particles, events, layout)
    return WeightedMean(-(weights * log_likelihood).sum(), weights.sum())


def _whole_loss(
    model: Network, events: Tensor, particles: Tensor, weights: Tensor, layout: Layout
) -> WeightedMean | None:
    if not isinstance(model, RotaryNet) or model.whole is None:
        return None
    with torch.autocast(particles.device.type, enabled=False):
        log_likelihood = model.whole_log_likelihood(particles, events, layout)
    of_whole = weights * model.representation.is_whole(layout.n_particles)
    return WeightedMean(-(weights * log_likelihood).sum(), of_whole.sum())


def _vectors_loss(model: Network, events: Tensor, weights: Tensor) -> WeightedMean | None:
    law = model.vector_law if isinstance(model, RotaryNet) else None
    if law is None:
        return None
    with torch.autocast(events.device.type, enabled=False):
        log_likelihood = law.log_likelihood(events[:, : model.n_event_features].float())
    return WeightedMean(-(weights * log_likelihood).sum(), weights.sum())


def _sums_loss(
    estimates: list[Tensor], true: Tensor, weights: Tensor, layout: Layout, whole: Tensor
) -> WeightedMean:
    """Squared error of the estimated contributions and a tenth of that of their sums.

    Both are least where an estimate is the expectation value. Single errors average out in the
    sum, on which all depends: hence the second term, of the size of the first where errors of
    particles are independent.

    Args:
        estimates: of the contributions, each (n_total, n_sums).
        true: (n_total, n_sums) contributions.
        weights: (n_events,).
        layout: which particles form an event.
        whole: () weight of all particles, of which this is the mean.
    """
    particle_weights = layout.spread(weights)
    total = weights.new_zeros(())
    for estimate in estimates:
        error = estimate - true
        sums = error.new_zeros(len(weights), error.shape[1])
        sums = sums.index_add(0, layout.event_of_particle, error)
        total = total + (particle_weights * error.square().mean(1)).sum()
        total = total + SUMS_SHARE * (weights * sums.square().mean(1)).sum()
    return WeightedMean(total / len(estimates), whole)
