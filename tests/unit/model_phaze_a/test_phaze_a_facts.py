"""phaze_a at full size on a device without memory: the facts, the presets, the encoders."""

from __future__ import annotations

import json
import subprocess
import sys

import attrs
import fs_graph
import keras
import pytest
from facts import differences, load_facts
from fs_kernel import networks
from fs_kernel.networks import count, sub_models
from fs_kernel.options import ModelFolderSource, resolve
from fs_model_phaze_a import SECTION, custom_objects, presets
from fs_model_phaze_a.encoder_table import ENCODERS
from fs_model_phaze_a.encoders import library_networks
from fs_model_phaze_a.options import PhazeAOptions
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer
from phaze_a_small import chosen, full_size, small

FACTS = load_facts("phaze_a")
#: Library networks that are quick to build, and their parameters without the classifier. The preset
#: sym384 builds an EfficientNetV2 and stojo an EfficientNet; others consist of the same layers.
FAMILIES = {
    "convnext_tiny": 27_820_128,
    "mobilenet": 3_228_864,
    "mobilenet_v2": 2_257_984,
    "vgg16": 14_714_688,
    "xception": 20_861_480,
}
#: As OpenAI published them, with 224 or 336 pixels.
VITS = {
    "clipv_vit-b-16": 86_192_640,
    "clipv_vit-b-32": 87_849_216,
    "clipv_vit-l-14-336px": 304_293_888,
}


def without_momentum(facts):
    """`AdaInstanceNormalization` has no use for the attribute, so it has none."""
    for sub_model in facts["sub_models"].values():
        for layer in sub_model["layers"]:
            if layer["c"] == "AdaInstanceNormalization":
                del layer["a"]["momentum"]
    return facts


@pytest.mark.parametrize("name", list(FACTS))
def test_facts(name):
    facts = without_momentum(load_facts("phaze_a")[name])
    plugins = chosen(facts["model_options"], facts["global_overrides"])
    network = full_size(plugins)
    assert differences(network, facts) == []
    assert plugins.freeze_layers(network) == facts["freeze_layers"]
    assert plugins.load_layers(network) == facts["load_layers"]
    assert {variable.value.device.type for variable in network.model.weights} == {"meta"}


def test_options_are_those_of_the_facts_and_the_preset():
    own = attrs.asdict(PhazeAOptions())
    assert (own.pop("preset"), own.pop("enc_weights")) == ("none", "")
    assert own == FACTS["phaze-a"]["model_options"]


#: Presets that make other networks of the facts, weight for weight.
SAME_AS = {
    "dfaker": 113_330_822,
    "dfl-h128": 107_716_102,
    "iae": 117_816_003,
    "lightweight": 51_066_374,
    "original": 82_062_470,
}


@pytest.mark.parametrize("name", presets.names())
def test_presets_build(name):
    plugins = chosen({"preset": name, "enc_load_weights": False})
    network = full_size(plugins)
    options = plugins.config[SECTION]
    assert options.enc_load_weights is False
    assert {o.size for o in network.outputs} == {options.output_size}
    assert count(network) == SAME_AS.get(name, count(network))
    kept, library = plugins.freeze_layers(network), sub_models(network.model)
    assert kept
    assert all(name in library for name in kept)


def test_a_preset_fills_what_the_user_leaves_alone():
    default, stojo = PhazeAOptions(), presets.values("stojo")
    options = chosen({"preset": "stojo", "enc_scaling": 7, "dec_res_blocks": 2}).config[SECTION]
    assert stojo["enc_scaling"] == 60
    assert options.enc_scaling == 7
    assert options.dec_res_blocks == 2
    assert options.fc_dimensions == stojo["fc_dimensions"] != default.fc_dimensions
    assert options.bottleneck_type == default.bottleneck_type


def test_a_model_folder_keeps_what_its_preset_gave():
    first = chosen({"preset": "dfaker", "split_decoders": False}).config
    assert first[SECTION].freeze_layers == ["encoder"]
    again, _ = resolve(
        {name: type(values) for name, values in first.items()},
        [ModelFolderSource("folder", first.as_dict())],
    )
    assert again[SECTION] == first[SECTION]


def test_there_are_seventeen_presets_of_known_options():
    names = {field.name for field in attrs.fields(PhazeAOptions)}
    assert len(presets.names()) == 17
    for name in presets.names():
        assert presets.values(name).keys() <= names - {"preset"}
        plugins = chosen(presets.values(name))
        assert plugins.config[SECTION] == attrs.evolve(PhazeAOptions(preset=name), preset="none")


def test_every_library_encoder_is_there():
    nets = [encoder.net for encoder in ENCODERS.values() if encoder.family == "keras"]
    assert len(nets) == 40
    assert all(callable(getattr(keras.applications, net)) for net in nets)


def test_scaling_layers_of_inception_resnet_pass_the_check_of_graphs():
    """The whole network takes seconds to build, for this one class of layer."""
    keras.utils.clear_session()
    picture = keras.Input((4, 4, 2))
    branches = [picture, keras.layers.ReLU()(picture)]
    model = keras.Model(picture, CustomScaleLayer(0.2)(branches))
    data = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    fs_graph.inspect(data, custom_objects())
    again = keras.saving.deserialize_keras_object(data, custom_objects=custom_objects())
    assert again.layers[-1].scale == 0.2


@pytest.mark.parametrize("name", FAMILIES)
def test_library_encoders_pass_the_check_of_graphs(name):
    options = {
        "enc_architecture": name,
        "enc_load_weights": False,
        "bottleneck_type": "max_pooling",
    }
    scaling = -(-8000 // ENCODERS[name].size)
    network = small({**options, "enc_scaling": scaling}, device="meta")
    (inside,) = library_networks(network.model)
    encoder = sub_models(network.model)["encoder"]
    assert encoder.input_shape[1:] == (80, 80, 3)
    assert encoder.count_params() == FAMILIES[name]
    assert network.color_order == ENCODERS[name].color_order
    data = networks.parse(json.dumps(networks.to_json(network)).encode(), "the graph")
    fs_graph.inspect(data["model"], custom_objects())
    assert inside in json.dumps(data)


@pytest.mark.parametrize("name", VITS)
def test_clip_encoders_have_the_published_size(name):
    options = {"enc_architecture": name, "enc_load_weights": False, "bottleneck_type": "flatten"}
    network = small({**options, "enc_scaling": 100}, device="meta")
    assert sub_models(network.model)["visual"].count_params() == VITS[name]
    assert network.color_order == "rgb"


@pytest.mark.parametrize(
    ("encoder", "options", "library", "arguments"),
    [
        (
            "mobilenet_v3_small",
            {"mobilenet_minimalistic": True, "mobilenet_width": 0.5},
            keras.applications.MobileNetV3Small,
            {"minimalistic": True, "alpha": 0.5},
        ),
        (
            "mobilenet_v2",
            {"mobilenet_width": 0.5},
            keras.applications.MobileNetV2,
            {"alpha": 0.5},
        ),
        (
            "mobilenet",
            {"mobilenet_width": 0.5, "mobilenet_depth": 2},
            keras.applications.MobileNet,
            {"alpha": 0.5, "depth_multiplier": 2},
        ),
    ],
)
def test_mobilenet_options_reach_the_encoder(encoder, options, library, arguments):
    common = {"enc_architecture": encoder, "enc_load_weights": False, "bottleneck_type": "flatten"}
    built = sub_models(small({**options, **common}, device="meta").model)["encoder"]
    common = {"include_top": False, "weights": None, "input_shape": (32, 32, 3)}
    with keras.device("meta"):
        expected = library(**common, **arguments)
    assert [w.shape for w in built.weights] == [w.shape for w in expected.weights]


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        ("fs_original", []),
        ("clipv_vit-b-32", ["visual"]),
        ("mobilenet_v3_small", ["MobileNetV3Small"]),
    ],
)
def test_the_word_keras_encoder_becomes_the_name_of_the_library_network(encoder, expected):
    options = {"enc_architecture": encoder, "enc_load_weights": False}
    plugins = chosen({**options, "freeze_layers": ["keras_encoder", "fc_a"], "enc_scaling": 0})
    network = full_size(plugins)
    assert plugins.freeze_layers(network) == [*expected, "fc_a"]
    assert plugins.freeze_layers(network) is not plugins.freeze_layers(network)
    assert all(name in sub_models(network.model) for name in expected)


def test_importing_the_plugin_is_light():
    code = "import sys, fs_model_phaze_a; print({'torch', 'keras'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
