"""Numbers on their way to JSON, which knows no infinity."""

import json
import math

import numpy as np

from hitools.core.compare.quantity import Quantity, known_to_json


def test_what_is_not_finite_becomes_null_at_any_depth():
    values = {"curve": [1.5, math.inf, np.float64(-np.inf)], "n": 3, "parts": ({"x": math.nan},)}
    plain = known_to_json(values)
    assert plain == {"curve": [1.5, None, None], "n": 3, "parts": [{"x": None}]}
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_a_quantity_without_floor_says_so():
    assert Quantity("w1.pt", 0.5).as_dict() == {
        "name": "w1.pt",
        "value": 0.5,
        "error": None,
        "floor": None,
        "unit": "1",
    }
