"""Selection expressions mean what Python means by them, and nothing else gets through."""

import numpy as np
import pytest

from hitools.core.errors import InputError
from hitools.core.features import EVENT_INDEX
from hitools.core.selection import Selection


@pytest.mark.parametrize(
    "expression",
    [
        "b < 5",
        "b<5 and n_particles>200",
        "not (b < 5 or n_coll >= 20)",
        "2 < b <= 6",
        "abs(mean_eta) < 0.1 and q_x**2 + q_y**2 > 100",
        "-b + 3 > n_part / 10 - n_coll % 3",
        "n_particles == 35",
        "1 < 2",
    ],
)
def test_an_expression_selects_what_python_selects_event_by_event(oo, expression):
    chosen = Selection(expression)(oo.events)
    for k, row in enumerate(oo.events):
        names = {name: float(row[i]) for name, i in EVENT_INDEX.items()}
        # The reference for trusted text of this very test.
        assert chosen[k] == eval(expression, {"abs": abs}, names)
    assert chosen.dtype == np.bool_


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "b.real < 5",
        "b",
        "b < 'x'",
        "(b < 5) + 1 > 0",
        "pt > 1",
        "b <",
        "[b < 5]",
        "lambda: 1",
        "b < 5 if b else b",
        "abs(b, b) < 1",
        "True",
        "",
    ],
)
def test_anything_but_a_condition_on_columns_is_refused_with_one_line(expression):
    with pytest.raises(InputError) as error:
        Selection(expression)
    assert "\n" not in str(error.value)
    assert "--select" in str(error.value)
