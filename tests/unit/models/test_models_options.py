"""Options of the networks: their own and nobody else's, and what cannot be built is refused."""

from __future__ import annotations

import subprocess
import sys

import attrs
import pytest
from built_in import NAMES, chosen, full_size
from fs_kernel.errors import ConfigError
from fs_kernel.options import Config, options_of
from fs_kernel.plugins.discovery import find, published


@pytest.mark.parametrize("name", NAMES)
def test_options_shape_the_network_so_all_are_fixed(name):
    for cls in chosen(name, {}).config_defaults().values():
        for option, (_, info) in options_of(cls).items():
            assert info.fixed, option
            assert info.help.endswith("."), option


@pytest.mark.parametrize("name", NAMES)
def test_f31_a_network_has_no_options_but_its_own(name):
    plugins = chosen(name, {})
    own = {section for section in plugins.config_defaults() if section.startswith("model.")}
    assert own <= {f"model.{name}"}
    assert set(plugins.config) <= {f"model.{name}", "network"}


@pytest.mark.parametrize("name", NAMES)
def test_the_package_is_found_by_its_name(name):
    assert find("models", name).distribution == published("models", name)
    assert published("models", name) == f"fs-model-{name.replace('_', '-')}"


REFUSED = [
    ("dfaker", "output_size", 64, "below"),
    ("dfaker", "output_size", 192, "128 or 256"),
    ("dfaker", "output_size", 512, "above"),
    ("dfl_h128", "lowmem", 1, "true or false"),
    ("dfl_sae", "input_size", 72, "multiple of 16"),
    ("dfl_sae", "input_size", 32, "below"),
    ("dfl_sae", "architecture", "lea", "liae"),
    ("dfl_sae", "autoencoder_dims", 1025, "above"),
    ("dfl_sae", "encoder_dims", 20, "below"),
    ("dfl_sae", "decoder_dims", 86, "above"),
    ("dlight", "features", "good", "none of"),
    ("dlight", "details", "best", "none of"),
    ("dlight", "output_size", 192, "128, 256 or 384"),
    ("realface", "input_size", 72, "multiple of 16"),
    ("realface", "input_size", 144, "above"),
    ("realface", "output_size", 144, "multiple of 32"),
    ("realface", "dense_nodes", 767, "below"),
    ("realface", "complexity_encoder", 161, "above"),
    ("realface", "complexity_decoder", 500, "below"),
    ("unbalanced", "input_size", 100, "multiple of 16"),
    ("unbalanced", "nodes", 500, "below"),
    ("unbalanced", "complexity_encoder", 1025, "above"),
    ("unbalanced", "complexity_decoder_a", 63, "below"),
    ("unbalanced", "complexity_decoder_b", 1025, "above"),
]


@pytest.mark.parametrize(("name", "option", "value", "reason"), REFUSED)
def test_what_cannot_be_built_is_refused_by_the_name_of_its_option(name, option, value, reason):
    with pytest.raises(ConfigError) as caught:
        chosen(name, {option: value}).network_spec()
    assert f"model.{name}.{option}" in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("dfaker", "output_size", 512),
        ("dlight", "output_size", 512),
        ("realface", "input_size", 160),
        ("realface", "output_size", 288),
    ],
)
def test_values_that_never_passed_the_ranges_are_refused_too(name, option, value):
    plugins = chosen(name, {})
    section = f"model.{name}"
    own = attrs.evolve(plugins.config[section], **{option: value})
    plugins.store.replace(Config({**plugins.config, section: own}))
    with pytest.raises(ConfigError, match=f"{section}.{option} is {value}"):
        plugins.network_spec()


def test_every_problem_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        chosen("realface", {"input_size": 72, "output_size": 144}).network_spec()
    assert len(caught.value.problems) == 2


def sizes(name, **options):
    network = full_size(chosen(name, options))
    return [t.shape[1] for t in (*network.model.inputs, *network.model.outputs)]


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("dfaker", {"output_size": 256}, [128, 256]),
        ("dfl_sae", {"input_size": 80}, [80, 80]),
        ("dfl_sae", {"input_size": 256, "architecture": "liae"}, [256, 256]),
        ("dlight", {"output_size": 384, "details": "fast"}, [128, 384]),
        ("realface", {"input_size": 80, "output_size": 96}, [80, 96]),
        ("realface", {"input_size": 128, "output_size": 64}, [128, 64]),
        ("realface", {"input_size": 64, "output_size": 256}, [64, 256]),
        ("unbalanced", {"input_size": 64}, [64, 64]),
        ("unbalanced", {"input_size": 176, "lowmem": True}, [176, 176]),
    ],
)
def test_sizes_in_and_out(name, options, expected):
    seen, made = expected
    assert sizes(name, **options) == [seen, seen, made, made]


def test_multiscale_gives_smaller_faces_first():
    options = {"multiscale_decoder": True, "input_size": 96}
    assert sizes("dfl_sae", **options) == [96, 96, 24, 48, 96, 24, 48, 96]


@pytest.mark.parametrize(
    ("architecture", "dims", "width"),
    [("df", 0, 512), ("liae", 0, 256), ("df", 320, 320), ("liae", 320, 320)],
)
def test_the_default_code_of_dfl_sae_depends_on_its_architecture(architecture, dims, width):
    options = {"architecture": architecture, "autoencoder_dims": dims}
    plugins = chosen("dfl_sae", options)
    network = full_size(plugins)
    assert network.model.name == f"dfl_sae_{architecture}"
    where = "encoder_df" if architecture == "df" else "intermediate_both"
    assert network.model.get_layer(where).get_layer("dense").units == width
    assert plugins.freeze_layers(network) == [f"encoder_{architecture}"]


def test_realface_takes_the_nearer_plan():
    from fs_model_realface.network import plan

    assert plan(64, 128) == (4, 5)
    assert plan(128, 128) == (8, 4)
    assert plan(96, 128) == (8, 4)
    assert plan(128, 256) == (8, 5)
    assert plan(64, 64) == (4, 4)
    assert plan(128, 160) == (5, 5)


def test_importing_the_plugins_is_light():
    modules = ", ".join(f"fs_model_{name}" for name in NAMES)
    code = f"import sys, {modules}; print({{'torch', 'keras'}} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
