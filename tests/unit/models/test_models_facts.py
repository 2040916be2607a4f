"""Every configuration of the facts, layer by layer, at full size on a device without memory."""

from __future__ import annotations

import importlib
import inspect

import attrs
import keras
import pytest
from built_in import CONFIGURATIONS, NAMES, chosen, full_size
from facts import differences, load_facts
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
def test_the_function_alone_has_the_default_widths(name):
    facts = next(iter(load_facts(name).values()))
    module = importlib.import_module(f"fs_model_{name}.network")
    function = module.df if name == "dfl_sae" else getattr(module, name)
    keras.utils.clear_session()
    with keras.device("meta"):
        faces = {side: keras.Input(facts["input_shape"]) for side in "ab"}
        network = function(faces, Blocks())
    assert network.model.count_params() == facts["total"]
    keywords = [
        p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY
    ]
    assert all(p.default is not p.empty for p in keywords)


@pytest.mark.parametrize("name", NAMES)
def test_initialiser_options_change_initialisers_only(name):
    facts = next(iter(load_facts(name).values()))
    options = {"icnr_init": True, "conv_aware_init": True}
    lines = differences(full_size(chosen(name, {}, options)), facts)
    assert lines
    assert all(" i: " in line for line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_reflect_padding_changes_no_weight(name):
    facts = next(iter(load_facts(name).values()))
    network = full_size(chosen(name, {}, {"reflect_padding": True}))
    assert network.model.count_params() == facts["total"]
    assert [list(t.shape[1:]) for t in network.model.outputs] == facts["output_shapes"]
    names = [layer.name for layer in network.model._flatten_layers()]
    assert any("reflectionpadding2d" in n for n in names)
