"""Real events for the tests of generators."""

from typing import Any

from hitools.core.batch import EventBatch
from hitools.core.format.meta import Selection
from hitools.core.sources.generation import GeneratorOptions
from hitools.core.sources.nuclei import parse_system
from hitools.core.sources.pool import Production


def options(
    *,
    generator: str = "angantyr",
    system: str = "O-O",
    sqrt_s_nn_gev: float = 5360.0,
    charged: bool = True,
    eta_max: float = 2.5,
    pt_min: float = 0.0,
    **others: Any,
) -> GeneratorOptions:
    """Options by plain values."""
    return GeneratorOptions(
        "urqmd" if generator == "urqmd" else "angantyr",
        parse_system(system),
        sqrt_s_nn_gev,
        Selection(charged, eta_max, pt_min),
        **others,
    )


def made(n_events: int, workers: int = 2, **values: Any) -> EventBatch:
    """That many events in one batch."""
    with Production(options(**values), n_events, workers) as production:
        return EventBatch.concatenate(list(production))
