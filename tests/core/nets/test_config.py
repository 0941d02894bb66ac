import json

import pytest

from hitools.core.errors import InputError
from hitools.core.nets.config import NetConfig


def test_a_config_survives_json():
    config = NetConfig(width=64, n_neighbours=7, neighbour_columns=(5, 4))
    assert NetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_defaults_fill_what_an_older_config_does_not_name():
    assert NetConfig.from_dict({}) == NetConfig()


def test_an_unknown_setting_is_named():
    with pytest.raises(InputError, match="n_layers"):
        NetConfig.from_dict({"n_layers": 3})


def test_a_width_that_the_heads_do_not_share_is_refused():
    with pytest.raises(InputError, match="multiple of n_heads"):
        NetConfig(width=130)


def test_neighbour_columns_must_exist():
    with pytest.raises(InputError, match="neighbour_columns"):
        NetConfig(neighbour_columns=(0, 6))
