"""Options, values, sections and plugins with new names; options that belong to a machine."""

from __future__ import annotations

import attrs
import pytest
from fs_kernel.errors import ConfigError, PluginError
from fs_kernel.options import (
    CommandLineSource,
    Config,
    FileSource,
    ModelFolderSource,
    OptionStore,
    Renames,
    Resolution,
    check_option,
    find_option,
    option,
    resolve,
)
from fs_kernel.plugins import discovery
from fs_kernel.training.option_sources import installed_renames
from fs_kernel.training.resolve import Request, resolve_run

SOURCES = [CommandLineSource, FileSource, ModelFolderSource]


@attrs.frozen
class Loader:
    workers: int = option(4, "Threads.", maximum=32, live=True, formerly=["num_processes", "jobs"])
    port: int = option(0, "Port.", minimum=0, machine_local=True)
    order: list[str] = option(["new"], "Order.", choices=["new"], formerly_values={"old": "new"})
    width: int = option(8, "Width.", fixed=True)
    engine: str = option("torch", "Engine.", plugin="executors")


CLASSES = {"loader": Loader}
RENAMES = Renames({"feed": "loader"}, {"executors": {"fast": "torch"}})


def one(kind, **values):
    config, notes = resolve(CLASSES, [kind("it", {"loader": values})], (), RENAMES)
    return config["loader"], notes


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("old", ["num_processes", "jobs"])
def test_an_option_is_taken_under_its_old_name_with_a_line(kind, old):
    loader, notes = one(kind, **{old: 7})
    assert loader.workers == 7
    assert notes == [f"it: loader.{old} is now loader.workers"]


def test_of_an_old_and_a_new_name_the_new_one_counts():
    for values in ({"jobs": 7, "workers": 3}, {"workers": 3, "jobs": 7}):
        loader, notes = one(CommandLineSource, **values)
        assert loader.workers == 3
        assert notes == ["it: loader.jobs is now loader.workers, which is given too"]


def test_an_old_name_is_checked_like_the_new_one():
    with pytest.raises(ConfigError, match=r"loader\.workers: 33 is above the largest"):
        one(CommandLineSource, jobs=33)


def test_an_old_name_says_what_it_is_now_where_only_a_full_name_is_asked():
    config = Config({"loader": Loader()})
    with pytest.raises(ConfigError, match=r"^loader\.jobs is now loader\.workers$"):
        find_option(config, "loader.jobs")
    assert check_option(config, "loader.workers", 3) == 3


@pytest.mark.parametrize("kind", SOURCES)
def test_a_value_is_taken_in_its_old_spelling_with_a_line(kind):
    loader, notes = one(kind, order="old, new")
    assert loader.order == ["new", "new"]
    assert notes == ["it: loader.order: 'old' is now 'new'"]


@pytest.mark.parametrize("kind", SOURCES)
def test_a_plugin_is_taken_under_its_old_name_with_a_line(kind):
    loader, notes = one(kind, engine="fast")
    assert loader.engine == "torch"
    assert notes == ["it: loader.engine: 'fast' is now 'torch'"]


@pytest.mark.parametrize("kind", SOURCES)
def test_a_section_is_taken_under_its_old_name_with_a_line(kind):
    source = kind("it", {"feed": {"workers": 2, "width": 9}, "loader": {"workers": 3}})
    config, notes = resolve(CLASSES, [source], (), RENAMES)
    assert config["loader"] == Loader(workers=3, width=9)
    assert notes == ["it: [feed] is now [loader]"]


def test_a_machine_local_value_is_not_taken_from_a_model_folder():
    loader, notes = one(ModelFolderSource, port=80)
    assert loader.port == 0
    assert notes == [
        "it: loader.port is not taken from a model folder; set it in a file or with --set"
    ]
    assert one(FileSource, port=80) == (Loader(port=80), [])
    assert one(CommandLineSource, port=80) == (Loader(port=80), [])


def test_a_model_folder_is_not_given_machine_local_values():
    config = Config({"loader": Loader(port=80)})
    assert config.as_dict()["loader"]["port"] == 80
    assert "port" not in config.as_dict(machine_local=False)["loader"]


def test_an_option_of_the_model_cannot_belong_to_the_machine():
    with pytest.raises(ValueError, match="both fixed and machine_local"):
        option(1, "Odd.", fixed=True, machine_local=True)


def test_what_the_sources_have_so_far_can_be_read_before_the_next_one():
    resolution = Resolution(CLASSES)
    resolution.add(ModelFolderSource("folder", {"loader": {"workers": 2}}))
    before = resolution.config()
    resolution.add(CommandLineSource("--set", {"loader": {"workers": 3}}))
    assert (before["loader"].workers, resolution.config()["loader"].workers) == (2, 3)


@pytest.mark.parametrize(
    ("values", "expected", "origin"),
    [
        ([{}, {}], 8, None),
        ([{"width": 1}, {}], 1, "0"),
        ([{"width": 1}, {"width": 2}], 1, "0"),
        ([{}, {"width": 2}], 2, "1"),
        ([{"width": "x"}, {"width": 2}], 2, "1"),
        ([{"width": 1}, {"width": "x", "nonsense": 1}], 1, "0"),
    ],
)
def test_a_resolution_has_each_value_and_its_source_before_it_is_complete(values, expected, origin):
    folder, given = values
    sources = [
        ModelFolderSource("0", {"loader": folder}),
        CommandLineSource("1", {"loader": given}),
    ]
    resolution = Resolution(CLASSES)
    for each in sources:
        resolution.add(each)
    source = resolution.given.get("loader.width")
    assert resolution.value("loader", "width") == expected
    assert (source and source.name) == origin


def test_a_resolution_knows_old_names():
    resolution = Resolution(CLASSES, (), RENAMES)
    resolution.add(FileSource("it", {"feed": {"jobs": 9}}))
    assert resolution.value("loader", "workers") == 9


def test_a_store_holds_the_options_of_now_and_those_read_before_stay():
    store = OptionStore(Config({"loader": Loader()}))
    before = store.config
    store.set("loader", "workers", 9, "changed at step 7")
    assert (before["loader"].workers, store.config["loader"].workers) == (4, 9)
    assert store.config.origins == {"loader.workers": "changed at step 7"}
    store.replace(before)
    assert store.config is before
    assert dict(OptionStore().config) == {}


# --- names of installed plugins ---


@pytest.mark.parametrize(
    ("names", "active"),
    [(["standard"], True), (["original"], False), (["original", "standard"], False), ([], False)],
)
def test_a_published_rename_counts_where_only_the_new_plugin_is_installed(
    monkeypatch, names, active
):
    about = ("m", "some-trainers", "1.0", "", 1, {}, None)
    found = [discovery.InstalledPlugin("trainers", name, *about) for name in names]
    monkeypatch.setattr(discovery, "_scan", lambda: tuple(found))
    renames = installed_renames()
    assert renames.plugins["trainers"] == ({"original": "standard"} if active else {})
    assert renames.sections == ({"trainer.original": "trainer.standard"} if active else {})


def test_a_section_is_named_after_its_plugin():
    assert discovery.section_of("losses", "ssim") == "loss.ssim"
    assert discovery.section_of("optimizers", "adam") == "optimizer.adam"
    assert discovery.section_of("addons", "guard") == "addon.guard"


# --- plugins that other plugins name ---

TRAINER = """
import attrs
from fs_kernel import hookimpl
from fs_kernel.options import option
from fs_kernel.testing.plugins import PlainTrainer

@attrs.frozen
class Options:
    loss: str = option("sharp", "Which.", plugin="losses")
    other: str = option("none", "A second one, or none.", plugin="losses")

class Trainer(PlainTrainer):
    @hookimpl
    def config_defaults(self):
        return {"loss": Options}
"""
LOSSES = """
import attrs
from fs_kernel import hookimpl
from fs_kernel.options import option

@attrs.frozen
class Options:
    radius: int = option(3, "Radius.", maximum=9)
    inner: str = option("none", "Inside.", plugin="losses")

class sharp:
    pass

class soft:
    @hookimpl
    def config_defaults(self):
        return {"loss.soft": Options}

    @hookimpl
    def create_loss(self, config):
        return max

class bad(soft):
    @hookimpl
    def config_defaults(self):
        raise RuntimeError("out of order")

class rounder:
    @hookimpl
    def config_defaults(self):
        return {"objective.rounder": Options}

    @hookimpl
    def create_objective(self, run):
        return self
"""


@pytest.fixture
def named(site, tmp_path):
    """Resolves a run whose trainer names losses."""
    site.install(
        "named",
        {
            "trainers": {"naming": "naming_code:Trainer"},
            "losses": {name: f"losses_code:{name}" for name in ("sharp", "soft", "bad")},
            "objectives": {"rounder": "losses_code:rounder"},
            "models": {"t": "fs_kernel.testing:TinyModel"},
            "feeds": {"arrays": "fs_kernel.testing.plugins:ArrayFeed"},
            "executors": {"straight": "fs_kernel.testing.plugins:PlainExecutor"},
        },
        {"naming_code": TRAINER, "losses_code": LOSSES},
    )

    def run(**values):
        training = {"trainer": "naming", "feed": "arrays", "executor": "straight", "addons": []}
        values = {k.replace("_", "."): v for k, v in values.items()}
        values["training"] = training | values.get("training", {})
        request = Request(tmp_path / "model", "t", values=values)
        return resolve_run(request)

    return run


def test_a_plugin_that_an_option_names_brings_its_options(named):
    resolved = named(loss={"other": "soft"}, loss_soft={"radius": 5})
    assert resolved.config["loss.soft"].radius == 5
    assert list(resolved.named) == [("losses", "sharp"), ("losses", "soft")]
    assert "loss.soft" not in named().config


def test_options_of_a_named_plugin_are_checked_with_all_others(named):
    with pytest.raises(ConfigError) as caught:
        named(loss={"other": "soft"}, loss_soft={"radius": 10}, save={"keep": 0})
    assert len(caught.value.problems) == 2


def test_a_named_plugin_may_name_another(named):
    resolved = named(loss={"loss": "soft"}, loss_soft={"inner": "sharp"})
    assert list(resolved.named) == [("losses", "soft"), ("losses", "sharp")]


def test_a_named_plugin_that_fails_is_blamed(named):
    with pytest.raises(PluginError, match=r"loss 'bad' .* failed in config_defaults: RuntimeError"):
        named(loss={"loss": "bad"})
    with pytest.raises(PluginError, match="there is no loss 'sharq'"):
        named(loss={"loss": "sharq"})


def test_objectives_are_plugins_of_the_run(named):
    training = {"objectives": "rounder, sharper"}
    with pytest.raises(PluginError, match="there is no objective 'sharper'"):
        named(training=training)
    resolved = named(training={"objectives": "rounder"}, objective_rounder={"radius": 5})
    assert [objective.name for objective in resolved.plugins.objectives] == ["rounder"]
    assert resolved.config["objective.rounder"].radius == 5
    assert named().plugins.objectives == []
