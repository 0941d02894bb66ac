"""hi-w1: its own options and remarks; what it shares is in test_validation_commands."""

import json


def test_w1_in_fixed_memory_says_so_and_agrees(run, pair):
    exact = json.loads(run("hi-w1", *pair, "--json").stdout)
    estimate = json.loads(run("hi-w1", *pair, "--json", "--memory", "0K").stdout)
    assert exact["exact"]
    assert not estimate["exact"]
    assert exact["remarks"] == []
    assert "bounds" in " ".join(estimate["remarks"])
    values = {q["name"]: q["value"] for q in exact["quantities"]}
    for quantity in estimate["quantities"]:
        name = quantity["name"]
        if name.startswith("w1."):
            bound = estimate["bounds"][name] + 1e-6 * values[name]
            assert abs(quantity["value"] - values[name]) <= bound, name


def test_w1_of_phi_along_the_circle(run, pair):
    result = json.loads(run("hi-w1", *pair, "--json", "--phi", "circle").stdout)
    values = {q["name"]: q for q in result["quantities"]}
    assert "w1.sin_phi" not in values
    assert values["w1.phi"]["unit"] == "rad"
