"""What a model folder knows of its plugins, local files, and what an upgrade may change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fs_kernel.errors import ConfigError, ModelFolderError, PluginError
from fs_kernel.plugins import discovery
from fs_kernel.plugins.loading import load
from fs_kernel.storage import files
from fs_kernel.testing import ArrayFeed, PlainExecutor, PlainTrainer
from fs_kernel.trained_model import TrainedModel
from runs import everything_below, open_tiny, state_of, train

OLDER = Path(__file__).parents[2] / "data" / "older_folder"
SMALL = {"model.tiny.width": 1}

NET = """
from fs_kernel.testing import PlainTrainer, TinyModel
class Net(TinyModel):
    name = "net"
class Trainer(PlainTrainer):
    pass
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_net.py").write_text(NET)
    return tmp_path


def refused(error, says, folder, **arguments):
    before = everything_below(folder)
    with pytest.raises(error, match=says) as caught:
        open_tiny(folder, 9, **arguments)
    assert everything_below(folder) == before
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# --- local files ---


def test_the_source_and_its_hash_are_kept(here):
    train(here, 1, model="./my_net.py:Net", set=SMALL)
    facts = state_of(here)["plugins"]["models"]
    assert facts["name"] == "my_net:Net"
    assert facts["reference"] == f"{here / 'my_net.py'}:Net"
    copy = here / "model" / facts["copy"]
    assert copy.name == f"my_net-{facts['sha256'][:8]}.py"
    assert copy.read_text() == NET
    run = json.loads((here / "model/logs/run.json").read_text())
    assert run["plugins"][0]["sha256"] == facts["sha256"]


def test_a_folder_alone_runs_no_local_model(here):
    train(here, 1, model="./my_net.py:Net", set=SMALL)
    says = refused(PluginError, "only run when you name it", here, model=None)
    assert f"-t {here / 'my_net.py'}:Net" in says
    assert str(next((here / "model/plugins").iterdir())) in says
    with pytest.raises(PluginError, match="only run when you name it: -t"):
        TrainedModel(here / "model", objects={"feeds": ArrayFeed(), "executors": PlainExecutor()})


def test_it_goes_on_from_anywhere_with_the_path_that_was_named(here, tmp_path_factory, monkeypatch):
    train(here, 1, model="./my_net.py:Net", set=SMALL)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    reference = state_of(here)["plugins"]["models"]["reference"]
    with open_tiny(here, 2, model=reference) as run:
        assert run.warnings == []
        run.train()
    assert state_of(here)["iterations"] == 2


def test_a_changed_file_is_one_line_and_both_sources_are_kept(here):
    train(here, 1, model="my_net.py:Net", trainer="my_net.py:Trainer", set=SMALL)
    first = next((here / "model/plugins").iterdir())
    (here / "my_net.py").write_text(f"{NET}# better\n")
    with open_tiny(here, 2, model="my_net.py:Net", trainer="my_net.py:Trainer") as run:
        changed = f"{here / 'my_net.py'} has changed since; until now it was {first}"
        assert run.warnings == [f"{changed}; this folder keeps the network it has"]
        run.train()
    assert len(list((here / "model/plugins").iterdir())) == 2


def test_the_copy_can_be_named_too(here):
    train(here, 1, model="my_net.py:Net", set=SMALL)
    copy = next((here / "model/plugins").iterdir())
    (here / "my_net.py").unlink()
    with open_tiny(here, 2, model=f"{copy}:Net") as run:
        assert run.warnings == []
        assert run.state.model == "my_net:Net"
        run.train()
    assert list((here / "model/plugins").iterdir()) == [copy]


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        ("trainer", "my_net.py:Trainer", "--trainer "),
        ("feed", "fs_kernel.testing:ArrayFeed", "--set training.feed="),
        ("executor", "fs_kernel.testing.plugins:PlainExecutor", "--set training.executor="),
    ],
)
def test_a_folder_alone_runs_no_other_local_code(here, kind, given, says):
    train(here, 1, set=SMALL, **{kind: given})
    full = str(here / given) if ".py:" in given else given
    assert f"{says}{full}" in refused(PluginError, "only run when", here, **{kind: None})


def test_a_folder_alone_runs_no_local_addon_but_trains(here):
    (here / "watch.py").write_text("import fs_kernel\nprint('watching')\n")
    addons = {"training.addons": ["./watch.py"]}
    with open_tiny(here, 1, addons=None, set={**addons, **SMALL}) as run:
        assert [addon.name for addon in run.session.plugins.addons] == ["watch"]
        run.train()
    with open_tiny(here, 2, addons=None) as run:
        assert run.session.plugins.addons == []
        assert "running without it" in run.warnings[0]
        assert str(here / "watch.py") in run.warnings[0]


def rewrite(folder, name, change):
    """Change a file of the checkpoint as somebody would who wants it to be believed."""
    (path,) = folder.glob(f"model/checkpoints/*/{name}")
    path.write_text(change(path.read_text()))
    manifest = path.with_name("manifest.json")
    facts = json.loads(manifest.read_text())
    facts["files"][name] = {"bytes": path.stat().st_size, "sha256": files.sha256(path)}
    manifest.write_text(json.dumps(facts))


@pytest.fixture
def trap(here):
    """A file of code that must not run."""
    (here / "trap.py").write_text("open('sprung', 'w').close()")
    yield here / "trap.py"
    assert not (here / "sprung").exists()


@pytest.mark.parametrize("distribution", ["fs-model-original", None])
def test_a_hand_made_state_runs_nothing(here, trap, distribution):
    """A folder from somebody else says that its network is a file."""
    train(here, 1, set=SMALL)

    def forge(text):
        state = json.loads(text)
        state["model"] = str(trap)
        state["plugins"]["models"]["distribution"] = distribution
        return json.dumps(state)

    rewrite(here, "state.json", forge)
    assert f"-t {trap}" in refused(PluginError, "only run when you name it", here, model=None)


def test_hand_made_options_run_nothing(here, trap):
    train(here, 1, set=SMALL)
    named = f'trainer = "{trap}"'
    rewrite(here, "config.toml", lambda text: text.replace('trainer = "standard"', named))
    says = refused(PluginError, "only run when you name it", here, trainer=None)
    assert f"--trainer {trap}" in says


def test_a_reference_may_lie_in_the_working_directory(here):
    (here / "my_references.py").write_text(NET)
    train(here, 1, model="my_references:Net", set=SMALL)
    facts = state_of(here)["plugins"]["models"]
    assert facts["reference"] == "my_references:Net"
    assert (here / "model" / facts["copy"]).read_text() == NET


def test_one_file_gives_the_same_classes_until_it_changes(here):
    one, two = load("models", "my_net.py:Net"), load("trainers", "./my_net.py:Trainer")
    assert type(one.plugin).__module__ == type(two.plugin).__module__
    assert type(one.plugin) is type(load("models", here / "my_net.py:Net").plugin)
    (here / "my_net.py").write_text(f"{NET}# more\n")
    assert type(one.plugin) is not type(load("models", "my_net.py:Net").plugin)


def test_a_loss_needs_a_name_in_its_file(here):
    with pytest.raises(PluginError, match=r"my_net\.py is a whole module; say what in it"):
        load("losses", "my_net.py")


class Finding(PlainTrainer):
    """Looks for the loss that an option names, as trainers do."""

    def __init__(self, name):
        self.name_of_loss = name

    from fs_kernel import hookimpl as _hookimpl

    @_hookimpl
    def config_defaults(self):
        import attrs
        from fs_kernel import option

        @attrs.frozen
        class Options:
            loss: str = option("none", "The loss.")

        return {"loss": Options}

    @_hookimpl
    def create_trainer(self, run):
        self.found = run.find("losses", run.config["loss"].loss).create()
        return super().create_trainer(run)


def test_a_local_loss_is_remembered_and_has_to_be_named_again(here):
    (here / "soft.py").write_text("def soft(x, y):\n    return x - y\n")
    trainer = Finding("soft")
    named = {"loss.loss": "./soft.py:soft"}
    train(here, 1, trainer=trainer, set={**SMALL, **named})
    assert trainer.found(3, 1) == 2
    facts = state_of(here)["plugins"]["losses.soft:soft"]
    assert (here / "model" / facts["copy"]).is_file()
    with pytest.raises(PluginError, match=f"--set loss.loss={here / 'soft.py'}:soft"):
        open_tiny(here, 2, trainer=Finding("soft"))
    train(here, 2, trainer=Finding("soft"), set={"loss.loss": f"{here / 'soft.py'}:soft"})


# --- new versions ---

VERSIONS = {
    "0.9": """
from fs_kernel import hookimpl
from fs_kernel.testing import ArrayFeed, PlainExecutor, PlainTrainer, TinyModel
Model = TinyModel
""",
}


def install(site, version, model="Model = TinyModel\n", **more):
    """One distribution with the tiny plugins, in place of an older version of it."""
    for old in site.folder.glob("fs_tiny-*"):
        shutil.rmtree(old)
    head = VERSIONS["0.9"].replace("Model = TinyModel\n", "")
    module = f"tiny_{version.replace('.', '_')}"
    kinds = {
        "models": {"tiny": f"{module}:Model"},
        "trainers": {"plain": f"{module}:PlainTrainer"},
        "feeds": {"arrays": f"{module}:ArrayFeed"},
        "executors": {"plain": f"{module}:PlainExecutor"},
    }
    site.install("fs-tiny", kinds, {module: head + model}, version=version, **more)
    discovery.refresh()


def older(folder):
    """A copy of the stored folder, which fs-tiny 0.9 made."""
    shutil.copytree(OLDER, folder / "model")
    return folder


def reopen(folder, steps, **arguments):
    names = {"model": None, "trainer": None, "feed": None, "executor": None}
    return open_tiny(folder, steps, **(names | arguments))


def test_a_stored_older_folder_goes_on(tmp_path, site):
    """Made once and committed: what was saved with the first release keeps opening."""
    install(site, "1.0")
    with reopen(older(tmp_path), 5) as run:
        assert run.state.iterations == 3
        assert run.config["model.tiny"].width == 1
        assert run.warnings == ["changed since the last session: fs-tiny 0.9 -> 1.0"]
        assert run.train().step == 5
    plugins = state_of(tmp_path)["plugins"]
    assert {f["version"] for f in plugins.values()} == {"1.0"}
    with reopen(tmp_path, 6) as run:
        assert run.warnings == []


def test_a_stored_older_folder_swaps(tmp_path, site):
    install(site, "1.0")
    import torch

    trained = TrainedModel(older(tmp_path) / "model")
    face, _ = trained.swapper("a", "b")(torch.zeros(2, 16, 16, 3))
    assert face.shape == (2, 16, 16, 3)


def test_the_same_version_is_no_news(tmp_path, site):
    install(site, "0.9")
    with reopen(older(tmp_path), 4) as run:
        assert run.warnings == []


RENAMED = """
import attrs
from fs_kernel import option
@attrs.frozen
class Options:
    filters: int = option(4, "Filters.", minimum=1, maximum=9, fixed=True)
    dropout: float = option(0.1, "Dropout.", minimum=0.0, maximum=0.9)
class Model(TinyModel):
    @hookimpl
    def config_defaults(self):
        return {"model.tiny": Options}
"""
MIGRATING = (
    RENAMED
    + """
    @hookimpl
    def migrate_options(self, section, values, version):
        assert (section, version) == ("model.tiny", "0.9")
        values["filters"] = values.pop("width")
        return values
"""
)


def test_a_plugin_may_migrate_its_options(tmp_path, site):
    install(site, "1.0", MIGRATING)
    with reopen(older(tmp_path), 4) as run:
        assert run.config["model.tiny"].filters == 1
        assert len(run.warnings) == 1
        run.train()
    with reopen(tmp_path, 5) as run:
        assert run.config["model.tiny"].filters == 1, "and only once"


def test_an_option_that_no_longer_exists_is_dropped_with_a_warning(tmp_path, site):
    install(site, "1.0", RENAMED)
    with reopen(older(tmp_path), 4) as run:
        assert run.config["model.tiny"].filters == 4
        assert "model.tiny.width = 1: this option no longer exists" in run.warnings[0]


def test_a_migration_that_gives_no_options_is_blamed(tmp_path, site):
    broken = MIGRATING.replace("return values", "return 7")
    install(site, "1.0", broken)
    with pytest.raises(PluginError, match=r"fs-tiny 1\.0.*returned int from migrate_options"):
        reopen(older(tmp_path), 4)


CHOICES = """
import attrs
from fs_kernel import option
@attrs.frozen
class Options:
    width: str = option("wide", "Width.", choices=("wide", "slim"), fixed=True)
    dropout: str = option("some", "Dropout.", choices=("some", "none"))
class Model(TinyModel):
    @hookimpl
    def config_defaults(self):
        return {"model.tiny": Options}
"""


def test_stored_values_that_do_not_fit_are_told_and_can_be_mended(tmp_path, site):
    install(site, "1.0", CHOICES)
    older(tmp_path)
    with pytest.raises(ConfigError, match=r"model\.tiny\.width.*set it again with --set"):
        reopen(tmp_path, 4)
    with reopen(tmp_path, 4, set={"model.tiny.width": "slim"}) as run:
        assert run.config["model.tiny"].width == "slim"
        assert run.config["model.tiny"].dropout == "some"
        assert any("model.tiny.dropout" in w and "default" in w for w in run.warnings)
        run.train()
    with reopen(tmp_path, 5) as run:
        assert run.config["model.tiny"].width == "slim"


CUSTOM = """
import keras
from keras import layers
from fs_kernel import Network, Output
class Paint(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=({size},), name="{name}")
        super().build(shape)
    def call(self, x):
        return x * keras.ops.mean(self.scale)
class Model(TinyModel):
    @hookimpl
    def build_model(self, inputs, config):
        tiny = super().build_model(inputs, config)
        paint = Paint(name="paint")
        faces = [paint(x) for x in tiny.model.outputs]
        return Network(keras.Model(list(inputs.values()), faces, name="tiny"), tiny.outputs)
    @hookimpl
    def custom_objects(self):
        return {{"Paint": Paint}}
"""


def made_with_custom_layer(tmp_path, site):
    install(site, "1.0", CUSTOM.format(size=3, name="scale"))
    with reopen(
        tmp_path,
        1,
        model="tiny",
        trainer="plain",
        feed="arrays",
        executor="plain",
        set={**SMALL, "training.trainer": "plain"},
    ) as run:
        run.train()


def test_a_layer_of_other_shape_stops_and_names_what_fitted(tmp_path, site):
    made_with_custom_layer(tmp_path, site)
    install(site, "2.0", CUSTOM.format(size=4, name="scale"))
    says = refused(ModelFolderError, "does not fit", tmp_path, **NAMELESS)
    assert "paint/scale is (4,) float32, was (3,) float32" in says
    assert "pip install fs-tiny==1.0" in says
    assert "fs-tiny 2.0" in says


NAMELESS = {"model": None, "trainer": None, "feed": None, "executor": None}


def test_a_renamed_weight_is_named(tmp_path, site):
    made_with_custom_layer(tmp_path, site)
    install(site, "2.0", CUSTOM.format(size=3, name="gain"))
    says = refused(ModelFolderError, "does not fit", tmp_path, **NAMELESS)
    assert "paint/gain is (3,) float32, was not there" in says
    assert "paint/scale is gone, was (3,) float32" in says


def test_a_layer_that_is_gone_names_what_fitted_too(tmp_path, site):
    made_with_custom_layer(tmp_path, site)
    install(site, "2.0")
    says = refused(ModelFolderError, "custom_objects", tmp_path, **NAMELESS)
    assert "pip install fs-tiny==1.0" in says


def test_a_layer_that_moved_to_another_module_still_fits(tmp_path, site):
    made_with_custom_layer(tmp_path, site)
    install(site, "2.0", CUSTOM.format(size=3, name="scale"))
    with reopen(tmp_path, 2) as run:
        assert run.warnings == ["changed since the last session: fs-tiny 1.0 -> 2.0"]


def test_another_version_of_a_library_is_named(tmp_path, site):
    site.install("fs-helper", {}, version="1.1", api=None)
    install(site, "1.0", metadata="Requires-Dist: fs-helper>=1\n")
    names = {"model": "tiny", "trainer": "plain", "feed": "arrays", "executor": "plain"}
    with reopen(tmp_path, 1, **names, set=SMALL) as run:
        run.train()
    libraries = state_of(tmp_path)["plugins"]["models"]["libraries"]
    assert libraries == {"fs-helper": "1.1"}


def test_a_package_takes_over_the_folder_of_its_file(here, site):
    source = CUSTOM.format(size=3, name="scale")
    (here / "mine.py").write_text(VERSIONS["0.9"] + source)
    train(here, 1, model="./mine.py:Model", set=SMALL)
    site.install(
        "fs-model-mine",
        {"models": {"mine": "fs_model_mine:Model"}},
        {"fs_model_mine": VERSIONS["0.9"] + source},
    )
    with open_tiny(here, 2, model="mine") as run:
        run.train()
    assert state_of(here)["model"] == "mine"
    with open_tiny(here, 3, model=None) as run:
        assert run.train().step == 3


def test_f5_a_package_of_another_name_does_not_take_over_the_folder_of_a_file(here, site):
    source = CUSTOM.format(size=3, name="scale")
    (here / "mine.py").write_text(VERSIONS["0.9"] + source)
    train(here, 1, model="./mine.py:Model", set=SMALL)
    site.install(
        "fs-model-mine2",
        {"models": {"mine2": "fs_model_mine2:Model"}},
        {"fs_model_mine2": VERSIONS["0.9"] + source},
    )
    with pytest.raises(ModelFolderError, match="is a model of 'mine:Model', not of 'mine2'"):
        open_tiny(here, 2, model="mine2")


def test_checking_a_file_of_options_runs_no_code_of_the_folder(here):
    train(here, 1, model="my_net.py:Net", trainer="my_net.py:Trainer", set=SMALL)
    (here / "my_net.py").write_text("open('sprung', 'w').close()")
    (here / "options.toml").write_text("[training]\nbatch_size = 2\n")
    from fs_config.files import check_file
    from fs_kernel.testing import TinyModel

    model = TinyModel()
    model.name = "my_net:Net"
    problems, _ = check_file(here / "options.toml", model, here / "model")
    assert any("my_net.py:Trainer is local code, only run when" in line for line in problems)
    assert not (here / "sprung").exists()
