"""Plugins that cannot even begin: one line with their name, exit 4, and no trace on the disk."""

from __future__ import annotations

import pytest

BASE = {
    "models": "TinyModel",
    "trainers": "PlainTrainer",
    "feeds": "ArrayFeed",
    "executors": "PlainExecutor",
}
OPTION = {"models": "model", "trainers": "trainer", "feeds": "feed", "executors": "executor"}
WORD = {"models": "model", "trainers": "trainer", "feeds": "feed", "executors": "executor"}
EVERY_KIND = pytest.mark.parametrize("kind", BASE)


def source(kind, body):
    """A plugin class that inherits a whole one and breaks something."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return (
        "from fs_kernel import hookimpl\n"
        f"from fs_kernel.testing import {BASE[kind]} as Base\n"
        f"class Plugin(Base):\n    name = 'bad'\n{lines or '    pass'}\n"
    )


def install(site, kind, code, **facts):
    name = f"bad_{kind}"
    site.install("fs-bad", {kind: {"bad": f"{name}:Plugin"}}, {name: code}, **facts)


@pytest.fixture
def refused(fs, site, tmp_path):
    """Installs a broken plugin and expects one line, exit 4 and an untouched folder."""

    def check(kind, code, *says, **facts):
        install(site, kind, code, **facts)
        exit_code, err = fs(3, **{OPTION[kind]: "bad"})
        assert exit_code == 4
        assert err.startswith("fs: ")
        assert err.count("\n") == 1
        assert f"{WORD[kind]} 'bad'" in err
        for text in says:
            assert text in err
        assert not (tmp_path / "model").exists()
        return err

    return check


def test_the_whole_ones_work(fs, steps_held):
    """Otherwise the tests below would prove nothing."""
    assert fs(3)[0] == 0
    assert steps_held() == 3


@EVERY_KIND
def test_a_broken_inheritance_is_not_why(kind, fs, site, steps_held):
    install(site, kind, source(kind, ""))
    assert fs(3, **{OPTION[kind]: "bad"})[0] == 0
    assert steps_held() == 3


@EVERY_KIND
def test_import_error(kind, refused):
    err = refused(kind, "import no_such_library", "(fs-bad 1.0)", "its import", "no_such_library")
    assert "ModuleNotFoundError" in err


@EVERY_KIND
def test_syntax_error(kind, refused):
    refused(kind, "def (:", "failed in its import: SyntaxError")


@EVERY_KIND
def test_sys_exit_at_import(kind, refused):
    refused(kind, "import sys; sys.exit(0)", "its import", "it called sys.exit(0)")


@EVERY_KIND
def test_the_entry_point_names_nothing(kind, refused):
    refused(kind, "x = 1", "failed in its import: AttributeError")


@EVERY_KIND
def test_too_new_api(kind, refused):
    refused(kind, "raise RuntimeError('imported')", "plugin API 2", "upgrade fs-kernel", api=2)


@EVERY_KIND
def test_missing_required_hooks(kind, refused):
    refused(kind, "class Plugin: pass", "lacks the hook", "@fs_kernel.hookimpl")


@EVERY_KIND
def test_typo_in_a_hook_name(kind, refused):
    typo, right = {
        "models": ("build_modl", "build_model"),
        "trainers": ("create_trainr", "create_trainer"),
        "feeds": ("opne_feed", "open_feed"),
        "executors": ("make_forwards", "make_forward"),
    }[kind]
    body = f"@hookimpl\ndef {typo}(self): pass"
    refused(kind, source(kind, body), f"'{typo}' is not a hook", f"did you mean '{right}'?")


@EVERY_KIND
def test_typo_in_an_argument(kind, refused):
    hook = {"models": "build_model", "trainers": "create_trainer", "feeds": "open_feed"}
    hook = hook.get(kind, "make_forward")
    body = f"@hookimpl\ndef {hook}(self, nonsense): pass"
    refused(kind, source(kind, body), "does not fit the hooks", "nonsense")


@EVERY_KIND
def test_two_distributions_claim_one_name(kind, fs, site, tmp_path):
    for name in ("fs-one", "fs-two"):
        site.install(name, {kind: {"bad": "anything"}})
    code, err = fs(3, **{OPTION[kind]: "bad"})
    assert code == 4
    assert "comes from fs-one 1.0 and fs-two 1.0; uninstall one of them" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("kind", "hook"),
    [
        ("models", "config_defaults"),
        ("models", "network_spec"),
        ("models", "build_model"),
        ("trainers", "required_fields"),
        ("trainers", "config_defaults"),
        ("trainers", "connect"),
        ("trainers", "fit_batch_size"),
        ("trainers", "build_networks"),
        ("feeds", "open_feed"),
        ("executors", "make_forward"),
    ],
)
@pytest.mark.parametrize(
    ("statement", "says"),
    [("raise KeyError('gone')", "KeyError: 'gone'"), ("raise SystemExit(0)", "sys.exit(0)")],
)
def test_a_hook_raises_before_training(refused, kind, hook, statement, says):
    body = f"@hookimpl\ndef {hook}(self): {statement}"
    refused(kind, source(kind, body), f"failed in {hook}", says)


@pytest.mark.parametrize(
    ("kind", "hook"),
    [
        ("models", "network_spec"),
        ("models", "build_model"),
        ("feeds", "open_feed"),
        ("executors", "make_forward"),
    ],
)
@pytest.mark.parametrize("nonsense", ["None", "5", "'text'", "{}"])
def test_a_hook_returns_nonsense(refused, kind, hook, nonsense):
    body = f"@hookimpl\ndef {hook}(self): return {nonsense}"
    refused(kind, source(kind, body), f"from {hook}")


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        ("[]", "describes 0 outputs, has 2"),
        ("net.outputs * 2", "describes 4 outputs, has 2"),
        ("[Output('a', 'face', 16), Output('c', 'face', 16)]", "names side 'c'"),
        ("[Output('a', 'face', 16), Output('b', 'face', 32)]", "has shape"),
        ("[Output('a', 'face', 16), Output('b', 'aux', 0)]", "gives no face for side 'b'"),
        ("5", "failed in build_model"),
        ("['a', 'b']", "failed in build_model"),
    ],
)
def test_a_network_that_is_not_what_it_says(refused, outputs, says):
    body = (
        "@hookimpl\n"
        "def build_model(self, inputs, config):\n"
        "    from fs_kernel import Network, Output\n"
        "    net = super().build_model(inputs, {'model.tiny': config['model.tiny']})\n"
        f"    return Network(net.model, {outputs})"
    )
    refused("models", source("models", body), says)


@pytest.mark.parametrize("model", ["None", "'model'", "net.model.layers[0]"])
def test_a_network_without_a_model(refused, model):
    body = (
        "@hookimpl\n"
        "def build_model(self, inputs, config):\n"
        "    from fs_kernel import Network, Output\n"
        "    net = super().build_model(inputs, config)\n"
        f"    return Network({model}, net.outputs)"
    )
    refused("models", source("models", body), "build_model")


@pytest.mark.parametrize("hook", ["create_trainer", "get_sampler"])
@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("raise KeyError('gone')", "failed in {hook}: KeyError: 'gone'"),
        ("raise SystemExit(0)", "failed in {hook}: it called sys.exit(0)"),
        ("return None", "returned NoneType from {hook}"),
        ("return 'text'", "returned str from {hook}"),
    ],
)
def test_a_trainer_that_cannot_be_created(fs, site, steps_held, hook, statement, says):
    """The folder is made and locked by now, but nothing is left that looks like a model."""
    install(site, "trainers", source("trainers", f"@hookimpl\ndef {hook}(self): {statement}"))
    code, err = fs(3, trainer="bad")
    assert code == 4
    assert says.format(hook=hook) in err
    assert err.count("\n") == 1
    assert steps_held() == 0
    assert fs(3)[0] == 0


def test_an_addon_that_cannot_be_loaded_and_was_asked_for(fs, site, tmp_path):
    site.install("fs-bad", {"addons": {"bad": "bad_addon"}}, {"bad_addon": "import no_such_lib"})
    code, err = fs(3, addons="'bad'")
    assert code == 4
    assert "add-on 'bad' (fs-bad 1.0) failed in its import" in err
    assert not (tmp_path / "model").exists()


def test_an_addon_with_a_models_hook(fs, site):
    code = "from fs_kernel import hookimpl\n@hookimpl\ndef build_model(): pass\n"
    site.install("fs-bad", {"addons": {"bad": "bad_addon"}}, {"bad_addon": code})
    code, err = fs(3, addons="'bad'")
    assert code == 4
    assert "'build_model' is not a hook of an add-on" in err


def test_broken_plugins_that_were_not_chosen_do_not_matter(fs, site, steps_held):
    for kind in BASE:
        name = f"unchosen_{kind}"
        site.install(f"fs-{name}", {kind: {"unchosen": name}}, {name: "raise SystemExit(1)"}, api=9)
    assert fs(3)[0] == 0
    assert steps_held() == 3
