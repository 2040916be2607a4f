"""Every configuration of the facts, layer by layer, at full size on a device without memory."""

from __future__ import annotations

import importlib
import inspect

import attrs
import keras
import pytest
from built_in import CONFIGURATIONS, NAMES, chosen, full_size
from facts import differences, load_facts
from fs_kernel.errors import PluginError
from fs_nn.blocks import Blocks


@pytest.mark.parametrize(("name", "configuration"), CONFIGURATIONS, ids=lambda v: v)
def test_facts(name, configuration):
    facts = load_facts(name)[configuration]
    plugins = chosen(name, facts["model_options"], facts["global_overrides"])
    network = full_size(plugins)
    assert differences(network, facts) == []
    assert plugins.freeze_layers(network) == facts["freeze_layers"]
    assert plugins.load_layers(network) == facts["load_layers"]
    assert {variable.value.device.type for variable in network.model.weights} == {"meta"}


@pytest.mark.parametrize("name", NAMES)
def test_options_are_those_of_the_facts(name):
    facts = next(iter(load_facts(name).values()))
    plugins = chosen(name, {})
    section = f"model.{name}"
    own = attrs.asdict(plugins.config[section]) if section in plugins.config else {}
    assert own == facts["model_options"]
    assert set(plugins.config) == {"network", *([section] if own else [])}


@pytest.mark.parametrize("name", NAMES)
def test_the_function_alone_has_the_default_widths_and_obeys_the_initialiser_options(name):
    facts = next(iter(load_facts(name).values()))
    module = importlib.import_module(f"fs_model_{name}.network")
    function = module.df if name == "dfl_sae" else getattr(module, name)
    keras.utils.clear_session()
    with keras.device("meta"):
        faces = {side: keras.Input(facts["input_shape"], name=f"face_in_{side}") for side in "ab"}
        network = function(faces, Blocks(icnr_init=True, conv_aware_init=True))
    lines = differences(attrs.evolve(network, color_order=facts["color_order"]), facts)
    assert lines
    assert all(" i: " in line for line in lines)
    keywords = [
        p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY
    ]
    assert all(p.default is not p.empty for p in keywords)


class FirstBlockError(Exception):
    """Says which blocks a network is drawn with, at the first of them."""


@pytest.mark.parametrize("name", NAMES)
def test_network_options_reach_the_blocks(name, monkeypatch):
    def stop(blocks, *_, **__):
        raise FirstBlockError(blocks)

    monkeypatch.setattr(Blocks, "conv_block", stop)
    wanted = {"reflect_padding": True, "icnr_init": True, "conv_aware_init": True}
    with pytest.raises(PluginError) as error:
        full_size(chosen(name, {}, wanted))
    assert error.value.__cause__.args == (Blocks(**wanted),)
