"""hi-flow: its own options and remarks; what it shares is in test_validation_commands."""

import json


def test_flow_options_reach_the_measurement(run, pair):
    options = ["--harmonics", "2", "--pt-bins", "0,1,3", "--gap", "0.5", "--trigger-pt", "2"]
    options += ["--cumulant-gap", "0.5", "--particle-weight", "pt", "--reference-pt", "0.2:5"]
    options += ["--associated-pt", ":2", "--pair-gap", "0.3", "--estimator", "product"]
    changed = json.loads(run("hi-flow", pair[0], "--json", *options).stdout)
    plain = json.loads(run("hi-flow", pair[0], "--json").stdout)
    assert changed["pt_edges"] == [0, 1, 3]
    assert len(changed["curves"]["v2_sp"]["value"]) == 2
    a, b = ({q["name"]: q["value"] for q in x["quantities"]} for x in (changed, plain))
    assert not any("v3" in name for name in a)
    for name in ("flow.v2_sp", "flow.c2_2", "flow.c2_4", "flow.pairs.associated"):
        assert a[name] != b[name], name
