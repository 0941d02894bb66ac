"""hi-qclosure: its own options and remarks; what it shares is in test_validation_commands."""

import json

import numpy as np
import pytest


def test_qclosure_in_bins_and_with_the_reference_beside_it(run, pair):
    result = run("hi-qclosure", *pair, "--json", "--bins", "b:0,4,8")
    quantities = {q["name"]: q for q in json.loads(result.stdout)["quantities"]}
    turned = quantities["q.cos_2_delta_psi"]
    assert turned["value"] == pytest.approx(np.cos(0.4), abs=1e-3)
    assert turned["floor"] == pytest.approx(1)
    assert quantities["q.cos_2_delta_psi@b:0-4"]["value"] == pytest.approx(np.cos(0.4), abs=1e-3)


def test_qclosure_says_that_a_sample_closes_by_construction(run, oo_path):
    result = run("hi-qclosure", oo_path)
    assert result.returncode == 0
    assert "closes by construction" in result.stdout.decode()
