"""The chosen plugins of one run, behind typed calls.

One `Plugins` holds one `pluggy.PluginManager` with only the plugins the run named. Each is checked
when it is taken in (API version, kind of hooks, names and arguments of hooks, required ones), and
whatever it raises later is blamed on it by name. Nothing here imports torch or keras; plugins may.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from fs_kernel import backend
from fs_kernel.errors import ConfigError, FsError, PluginError
from fs_kernel.hookspecs import HOOKS_OF_KIND, PROJECT, CommonHooks
from fs_kernel.options.fields import nearest_name, options_of
from fs_kernel.options.sources import Config
from fs_kernel.plugins.kinds import kind_of
from fs_kernel.plugins.loading import Chosen, blame
from fs_kernel.types import Network, NetworkSpec, StepResult

if TYPE_CHECKING:
    import keras
    import numpy as np
    import torch

    from fs_kernel.types import (
        BadStep,
        Batch,
        BatchLoss,
        Face,
        FaceIterator,
        Feed,
        FeedSpec,
        Forward,
        Group,
        Metrics,
        Observer,
        Run,
        Sampler,
        Side,
        Tree,
    )


class Plugins:
    """The facade the engine calls instead of ``pm.hook``.

    Args:
        chosen: the run's plugins; at most one of each kind but add-ons.

    Raises:
        PluginError: one of them does not fit the hooks of its kind.
    """

    def __init__(self, chosen: Iterable[Chosen]) -> None:
        self.chosen = list(chosen)
        self._pm = pluggy.PluginManager(PROJECT)
        kernels = [specs for specs, _ in HOOKS_OF_KIND.values()]
        declared = {i.kind: kind_of(i.kind).hooks for i in self.chosen}
        specs: Any
        for specs in dict.fromkeys([CommonHooks, *kernels, *declared.values()]):
            self._pm.add_hookspecs(specs)
        for item in self.chosen:
            self._register(item)
        self.config = Config({})

    def _register(self, item: Chosen) -> None:
        kind = kind_of(item.kind)
        assert kind.hooks is not None
        allowed = _hook_names(kind.hooks) | _hook_names(CommonHooks)
        name = f"{item.kind}.{item.name}"
        if self._pm.has_plugin(name) or self._pm.is_registered(item.plugin):
            raise PluginError(f"{item} was chosen twice", item.name)
        if item.plugin.__hash__ is None:
            raise PluginError(f"{item} is not hashable; define its class with eq=False", item.name)
        try:
            self._pm.register(item.plugin, name=name)
        except pluggy.PluginValidationError as error:
            line = _misfit(str(error))
            raise PluginError(f"{item} does not fit the hooks: {line}", item.name) from error
        except Exception as error:
            raise blame(item, "the reading of its hooks", error) from error
        callers = self._pm.get_hookcallers(item.plugin) or []
        names = {caller.name for caller in callers}
        for name in sorted(names - allowed):
            near = nearest_name(name, allowed)
            word = kind.word
            article = "an" if word[0] in "aeiou" else "a"
            raise PluginError(f"{item}: '{name}' is no hook of {article} {word}{near}", item.name)
        missing = [name for name in kind.required if name not in names]
        if missing:
            raise PluginError(
                f"{item} lacks the hook{'s' if len(missing) > 1 else ''} {', '.join(missing)} "
                "(is each marked with @fs_kernel.hookimpl?)",
                item.name,
            )
        self._pm.check_pending()

    def hooks_of(self, item: Chosen) -> list[str]:
        """Names of the hooks that a plugin implements, in order of the alphabet."""
        return sorted(caller.name for caller in self._pm.get_hookcallers(item.plugin) or [])

    def of_kind(self, kind: str) -> Chosen:
        """The run's one plugin of this kind."""
        return next(item for item in self.chosen if item.kind == kind)

    def view(self, kind: str, name: str | None = None) -> Config:
        """The part of the configuration that a plugin declared."""
        item = next(i for i in self.chosen if i.kind == kind and name in (None, i.name))
        return self.config.view(item.sections)

    @contextlib.contextmanager
    def blaming(self, item: Chosen, what: str) -> Iterator[None]:
        """Blame ``item`` for whatever is raised inside, but for what is no fault of a plugin."""
        try:
            yield
        except (KeyboardInterrupt, GeneratorExit, FsError):
            raise
        except BaseException as error:
            if backend.is_out_of_memory(error):
                raise
            raise blame(item, what, error) from error

    def call(self, item: Chosen, hook: str, **arguments: Any) -> Any:
        """Return what a hook of a plugin returns, None where it lacks it; failures are blamed."""
        return self._call(item, hook, **arguments)

    def _call(self, item: Chosen, hook: str, **arguments: Any) -> Any:
        caller = self._pm.subset_hook_caller(
            hook, [other.plugin for other in self.chosen if other.plugin is not item.plugin]
        )
        with self.blaming(item, hook):
            result = caller(**arguments)
        if isinstance(result, list) and caller.spec and not caller.spec.opts.get("firstresult"):
            return result[0] if result else None
        return result

    def _demand(self, wanted: type | str, item: Chosen, hook: str, **arguments: Any) -> Any:
        """Call a hook whose result must be of a type, or have all the attributes named."""
        result = self._call(item, hook, **arguments)
        if isinstance(wanted, type):
            fits, word = isinstance(result, wanted), wanted.__name__
        else:
            fits, word = all(hasattr(result, n) for n in wanted.split()), f"what has: {wanted}"
        if not fits:
            got = type(result).__name__
            raise PluginError(f"{item} returned {got} from {hook}, not {word}", item.name)
        return result

    # --- every kind ---

    def config_defaults(self) -> dict[str, type]:
        """All option sections of the run.

        Raises:
            ConfigError: two plugins give different classes for one section.
        """
        sections: dict[str, type] = {}
        owner: dict[str, Chosen] = {}
        for item in self.chosen:
            given = self._call(item, "config_defaults") or {}
            with self.blaming(item, "config_defaults"):
                for section, cls in given.items():
                    options_of(cls)
                    cls()
                    section.strip()
            item.sections = tuple(given)
            for section, cls in given.items():
                if section in sections and sections[section] is not cls:
                    raise ConfigError(
                        f"{owner[section]} and {item} give different options for [{section}]"
                    )
                sections[section], owner[section] = cls, item
        return sections

    def migrate_options(
        self, item: Chosen, section: str, values: Mapping[str, Any], version: str
    ) -> dict[str, Any]:
        arguments = {"section": section, "values": dict(values), "version": version}
        result = self._call(item, "migrate_options", **arguments)
        if result is not None and not isinstance(result, dict):
            got = type(result).__name__
            raise PluginError(f"{item} returned {got} from migrate_options, not dict", item.name)
        return dict(values) if result is None else result

    # --- model ---

    def network_spec(self) -> NetworkSpec:
        item, config = self.of_kind("models"), self.view("models")
        spec: NetworkSpec = self._demand(NetworkSpec, item, "network_spec", config=config)
        return spec

    def build_model(self, inputs: dict[Side, keras.KerasTensor]) -> Network:
        item, config = self.of_kind("models"), self.view("models")
        built: Network = self._demand(Network, item, "build_model", inputs=inputs, config=config)
        return built

    def adapt_model(self, network: Network, before: Config) -> Network | None:
        item = self.of_kind("models")
        arguments = {"network": network, "before": before, "after": self.view("models")}
        adapted: Network | None = self._call(item, "adapt_model", **arguments)
        return adapted

    def freeze_layers(self, network: Network) -> list[str]:
        item, config = self.of_kind("models"), self.view("models")
        return list(self._call(item, "freeze_layers", network=network, config=config) or [])

    def load_layers(self, network: Network) -> list[str]:
        item, config = self.of_kind("models"), self.view("models")
        return list(self._call(item, "load_layers", network=network, config=config) or [])

    def build_inference(self, network: Network, source: Side, target: Side) -> keras.Model | None:
        return self._call(
            self.of_kind("models"),
            "build_inference",
            network=network,
            source=source,
            target=target,
            config=self.view("models"),
        )

    def custom_objects(self) -> dict[str, type]:
        return dict(self._call(self.of_kind("models"), "custom_objects") or {})

    # --- trainer ---

    def launch(self, argv: list[str], devices: int) -> int | None:
        code: int | None = self._call(
            self.of_kind("trainers"), "launch", argv=argv, devices=devices
        )
        return code

    def join_group(self, device: str) -> Group | None:
        item, config = self.of_kind("trainers"), self.view("trainers")
        group: Group | None = self._call(item, "join_group", device=device, config=config)
        return group

    def fit_batch_size(self, batch_size: int, device: torch.device) -> int:
        item, config = self.of_kind("trainers"), self.view("trainers")
        arguments = {"batch_size": batch_size, "device": device, "config": config}
        fitted = self._call(item, "fit_batch_size", **arguments)
        return batch_size if fitted is None else int(fitted)

    def batch_needs(self) -> frozenset[str]:
        item = self.of_kind("trainers")
        return frozenset(self._call(item, "batch_needs", config=self.view("trainers")) or ())

    def get_sampler(
        self,
        sizes: Mapping[Side, int],
        batch_size: int,
        seed: int,
        lag: int,
        facts: Mapping[Side, Mapping[str, np.ndarray]],
    ) -> Sampler:
        sampler: Sampler = self._demand(
            "draw update state_dict load_state_dict",
            self.of_kind("trainers"),
            "get_sampler",
            sizes=sizes,
            batch_size=batch_size,
            seed=seed,
            lag=lag,
            facts=facts,
            config=self.view("trainers"),
        )
        return sampler

    def start_trainer(self, run: Run) -> Any:
        return self._call(self.of_kind("trainers"), "start_trainer", run=run)

    def train_batch(self, state: Any, batch: Batch, sides: Sequence[Side]) -> StepResult:
        item = self.of_kind("trainers")
        result: StepResult = self._demand(StepResult, item, "train_batch", state=state, batch=batch)
        with self.blaming(item, "train_batch"):
            given = [getattr(loss, "side", None) for loss in result.losses]
        if given != list(sides):
            raise PluginError(
                f"{item} returned losses of {given} from train_batch, not of {list(sides)}",
                item.name,
            )
        scalars = [x for loss in result.losses for x in (loss.total, *_weighted(loss))]
        if not all(getattr(x, "shape", None) == () for x in scalars):
            raise PluginError(
                f"{item} returned a loss from train_batch that is no scalar tensor", item.name
            )
        return result

    def trainer_state(self, state: Any) -> Tree:
        return self._call(self.of_kind("trainers"), "trainer_state", state=state)

    def restore_trainer(self, state: Any, tree: Tree) -> None:
        self._call(self.of_kind("trainers"), "restore_trainer", state=state, tree=tree)

    def change_options(self, state: Any) -> None:
        item, config = self.of_kind("trainers"), self.view("trainers")
        self._call(item, "change_options", state=state, config=config)

    def averaged_weights(self, tree: Tree) -> dict[str, torch.Tensor] | None:
        item = self.of_kind("trainers")
        averages: dict[str, torch.Tensor] | None = self._call(item, "averaged_weights", tree=tree)
        return averages

    @contextlib.contextmanager
    def whole_weights(self, state: Any) -> Iterator[None]:
        item = self.of_kind("trainers")
        manager: AbstractContextManager[None] | None = self._call(
            item, "whole_weights", state=state
        )
        with contextlib.ExitStack() as stack:
            if manager is not None:
                with self.blaming(item, "whole_weights"):
                    stack.enter_context(manager)
            yield
            with self.blaming(item, "whole_weights"):
                stack.close()

    def stop_trainer(self, state: Any, failed: bool) -> None:
        self._call(self.of_kind("trainers"), "stop_trainer", state=state, failed=failed)

    # --- feed ---

    def open_feed(self, folders: Mapping[Side, Path], spec: FeedSpec) -> Feed:
        item, config = self.of_kind("feeds"), self.view("feeds")
        arguments = {"folders": folders, "spec": spec, "config": config}
        wanted = "sizes warnings fingerprint lag start next preview close"
        feed: Feed = self._demand(wanted, item, "open_feed", **arguments)
        return feed

    def read_faces(
        self, source: Path, shape: tuple[int, int, int], color_order: str
    ) -> FaceIterator:
        item = self.of_kind("feeds")
        iterator = self._call(
            item,
            "read_faces",
            source=source,
            shape=shape,
            color_order=color_order,
            config=self.view("feeds"),
        )
        if iterator is None:
            raise PluginError(f"{item} cannot read faces: it has no hook read_faces", item.name)
        with self.blaming(item, "read_faces"):
            yield from iterator

    def write_face(
        self,
        face: Face,
        swapped: np.ndarray,
        mask: np.ndarray | None,
        color_order: str,
        target: Path,
    ) -> Path:
        written: Path = self._call(
            self.of_kind("feeds"),
            "write_face",
            face=face,
            swapped=swapped,
            mask=mask,
            color_order=color_order,
            target=target,
            config=self.view("feeds"),
        )
        return written

    # --- executor ---

    def make_forward(self, network: Network, device: torch.device, precision: str) -> Forward:
        item = self.of_kind("executors")
        arguments = {"network": network, "device": device, "precision": precision}
        arguments["config"] = self.view("executors")
        forward: Forward = self._demand("__call__", item, "make_forward", **arguments)
        return forward

    # --- add-ons ---

    def check_options(self) -> None:
        for item in (item for item in self.chosen if item.kind == "addons"):
            config = self.view("addons", item.name)
            self._call(item, "check_options", config=config, everything=self.config)

    def make_observers(self, item: Chosen, run: Run) -> list[Observer]:
        observers = self._call(item, "make_observers", run=run)
        with self.blaming(item, "make_observers"):
            return list(observers or [])

    def before_training(self, item: Chosen, run: Run) -> None:
        self._call(item, "before_training", run=run)

    def judge_metrics(self, item: Chosen, run: Run, metrics: Metrics) -> str | None:
        line: str | None = self._call(item, "judge_metrics", run=run, metrics=metrics)
        return line

    def on_bad_step(self, item: Chosen, run: Run, report: BadStep) -> bool:
        return bool(self._call(item, "on_bad_step", run=run, report=report))


def _weighted(loss: BatchLoss) -> list[Any]:
    return [part.weighted for part in loss.parts]


def _misfit(text: str) -> str:
    """What is wrong with a hook's arguments, out of what pluggy says of it."""
    hook, given = re.search(r"for hook '(\w+)'", text), re.search(r"Argument\(s\) {(.+?)}", text)
    specs = (CommonHooks, *(specs for specs, _ in HOOKS_OF_KIND.values()))
    found = next((getattr(s, hook[1]) for s in specs if hook and hasattr(s, hook[1])), None)
    if found is None or given is None or hook is None:
        return text.strip().splitlines()[-1].strip()
    known = list(inspect.signature(found).parameters)[1:]
    wanted = f"it may take {', '.join(known)}" if known else "it takes none"
    return f"{hook[1]} has no argument {given[1]}; {wanted}"


def _hook_names(specs: type) -> set[str]:
    return {name for name in vars(specs) if not name.startswith("_")}
