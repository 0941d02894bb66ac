"""hi-closure: its own options and remarks; what it shares is in test_validation_commands."""

import json


def test_closure_prints_its_bins_and_takes_more_pairs(run, pair):
    result = run("hi-closure", *pair, "--n-bins", 20, "--pair", "b:n_coll", "--pair", "eta:pt")
    text = result.stdout.decode()
    assert "closure.b:n_coll.mean_95" in text
    assert "pt: 20 bins from" in text
    binning = json.loads(run("hi-closure", *pair, "--n-bins", 20, "--json").stdout)["binning"]
    assert len(binning["pt"]) == 21
    assert len(binning) == 17
