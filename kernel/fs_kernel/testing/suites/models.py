"""What a network owes the kernel."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np
import pytest

from fs_kernel import backend, networks, randomness
from fs_kernel.networks import inference
from fs_kernel.plugins.roles import Model
from fs_kernel.testing.parts import build_network
from fs_kernel.testing.plugins import PlainExecutor
from fs_kernel.testing.runs import tiny_run
from fs_kernel.testing.suites.base import HookSuite
from fs_kernel.testing.world import nobody_leaves, unchanged
from fs_kernel.types import Network, NetworkSpec

if TYPE_CHECKING:
    import torch


@attrs.frozen
class _Built:
    """A network, the plugin that made it, and its faces to try it on."""

    plugin: Model
    network: Network

    def faces(self, seed: int, count: int = 2) -> dict[str, torch.Tensor]:
        """Return noise per side, ``(count, h, w, c)`` float32, 0..1."""
        import torch

        return {
            side: torch.from_numpy(
                randomness.generator(seed, side).random((count, *tensor.shape[1:]), np.float32)
            )
            for side, tensor in zip(self.network.sides, self.network.model.inputs, strict=True)
        }


def _run(network: Network, faces: dict[str, torch.Tensor], training: bool = False) -> list[Any]:
    import torch

    forward = PlainExecutor().make_forward(network, torch.device("cpu"))
    with torch.set_grad_enabled(training):
        return list(forward(faces, training=training))


def _reached(network: Network, faces: dict[str, torch.Tensor], steps: int) -> set[str]:
    """Return names of the weights that get a gradient within a few steps; all must be finite."""
    import torch

    parameters = networks.parameters(network)
    reached: set[str] = set()
    for _ in range(steps):
        for parameter in parameters.values():
            parameter.grad = None
        outputs = _run(network, faces, training=True)
        torch.stack([(x.float() - 0.3).square().mean() for x in outputs]).sum().backward()
        for name, parameter in parameters.items():
            gradient = parameter.grad
            if gradient is None:
                continue
            assert gradient.isfinite().all(), f"the gradient of {name} is not finite"
            largest = gradient.abs().max().item()
            if largest > 0:
                reached.add(name)
                parameter.data.sub_(gradient * (0.01 / largest))
            parameter.grad = None
    return reached


class ModelSuite(HookSuite):
    """The tests of a network.

    Attributes:
        steps: of training after which every weight must have had a gradient; more than one where
            some begin at zero and so shut others off.
        tolerance: of float32 sums done in another order.
        older: model folders that earlier versions of the plugin saved in a `tiny_run`, kept with
            the tests. They are opened as users open theirs, so the plugin has to be installed.
    """

    kind = "models"
    steps: ClassVar[int] = 3
    tolerance: ClassVar[float] = 1e-5
    older: ClassVar[Sequence[Path]] = ()

    @pytest.fixture(scope="class")
    @classmethod
    def built(cls) -> _Built:
        """Return the network with its weights, built once for all tests."""
        plugin = cls.role()
        backend.keras()
        with nobody_leaves("building"), unchanged("building", draws=True):
            network = build_network(cls.given(), cls.options)
        return _Built(plugin, network)

    def test_the_specification_is_whole(self) -> None:
        """Sides, shapes and color order are known before anything is built."""
        plugin = self.role()
        with nobody_leaves("network_spec"), unchanged("network_spec"):
            spec = plugin.network_spec()
        assert isinstance(spec, NetworkSpec)
        assert spec.color_order in ("bgr", "rgb")
        assert len(spec.input_shapes) >= 2, "a swap needs two sides"
        for side, shape in spec.input_shapes.items():
            assert len(shape) == 3, f"side {side}: {shape} is not (height, width, channels)"
            assert all(isinstance(n, int) and n > 0 for n in shape), f"side {side}: {shape}"
            assert shape[2] == 3, f"side {side}: faces have 3 channels, not {shape[2]}"

    def test_building_changes_nothing_around_it(self, built: _Built) -> None:
        """No global setting is touched; what the fixture watched raised nothing."""
        plugin, network = built.plugin, built.network
        with nobody_leaves("a hook"), unchanged("a hook"):
            plugin.custom_objects()
            plugin.freeze_layers(network)
            plugin.load_layers(network)
            for source in network.sides:
                for target in network.sides:
                    inference.swapper_network(plugin, network, source, target)

    def test_outputs_are_what_they_are_said_to_be(self, built: _Built) -> None:
        """Shape, float32 and finite numbers for every output described, in that order."""
        outputs = _run(built.network, built.faces(1))
        assert len(outputs) == len(built.network.outputs)
        for found, output in zip(outputs, built.network.outputs, strict=True):
            if output.kind != "aux":
                channels = 3 if output.kind == "face" else 1
                assert tuple(found.shape) == (2, output.size, output.size, channels), output
            assert str(found.dtype) == "torch.float32", f"{output} is {found.dtype}"
            assert found.isfinite().all(), f"{output} is not finite"

    def test_swapping_draws_no_chance(self, built: _Built) -> None:
        """Outside training the same faces give the same pictures, alone or in a batch."""
        faces = built.faces(2)
        with unchanged("a forward pass"):
            first = _run(built.network, faces)
            again = _run(built.network, faces)
        alone = _run(built.network, {side: x[:1] for side, x in faces.items()})
        for one, two, single in zip(first, again, alone, strict=True):
            assert one.equal(two), "two passes differ"
            difference = (one[:1] - single).abs().max().item()
            assert difference <= self.tolerance, "a face's neighbours in the batch change it"

    def test_every_weight_gets_a_gradient(self, built: _Built) -> None:
        """Nothing in the network is left out of the training."""
        wanted = set(networks.parameters(built.network))
        assert wanted, "the network has no weights that train"
        missing = sorted(wanted - _reached(built.network, built.faces(3), self.steps))
        assert not missing, f"{len(missing)} weights get no gradient, the first: {missing[0]}"

    def test_freeze_and_load_names_exist(self, built: _Built) -> None:
        """They are names of sub-models."""
        known = networks.sub_models(built.network.model)
        for hook in (built.plugin.freeze_layers, built.plugin.load_layers):
            unknown = [name for name in hook(built.network) if name not in known]
            assert not unknown, f"{hook.__name__} names {unknown}, which are not sub-models"

    def test_freezing_leaves_something_to_train(self, built: _Built) -> None:
        """Frozen and thawed again, the network has the weights it had."""
        network, before = built.network, list(networks.parameters(built.network))
        names = built.plugin.freeze_layers(network)
        networks.freeze(network, names, True)
        frozen = list(networks.parameters(network))
        networks.freeze(network, names, False)
        assert frozen, "nothing is left to train"
        assert not names or len(frozen) < len(before), "nothing was frozen"
        assert list(networks.parameters(network)) == before

    def test_it_is_read_back_from_its_own_graph(self, built: _Built) -> None:
        """The saved graph, by the kernel's rules, gives the same network and the same pictures."""
        network, faces = built.network, built.faces(4)
        text = json.dumps(networks.to_json(network)).encode()
        with networks.building(2, "cpu"):
            data = networks.parse(text, "the graph")
            again = networks.from_json(data, built.plugin.custom_objects(), "the graph")
        held = {n: v.detach().clone() for n, v in networks.weights(network).items()}
        networks.assign(again, held, "the weights")
        assert networks.fingerprint(again) == networks.fingerprint(network)
        assert list(again.outputs) == list(network.outputs)
        assert (again.sides, again.color_order) == (network.sides, network.color_order)
        for one, other in zip(_run(network, faces), _run(again, faces), strict=True):
            assert one.equal(other), "the network read back gives other pictures"

    def test_a_swap_is_the_targets_own_path(self, built: _Built) -> None:
        """Every direction gives what the network in training gives for the target's side."""
        network = built.network
        before = json.dumps(networks.to_json(network))
        owned = {id(v) for v in networks.weights(network).values()}
        faces = built.faces(5)
        for source in network.sides:
            for target in network.sides:
                swap = inference.swapper_network(built.plugin, network, source, target)
                expected = _run(network, {**faces, target: faces[source]})
                found = _run(swap, {source: faces[source]})
                own = network.outputs_of(target)
                assert len(found) == len(own), f"{source} to {target}: {len(found)} outputs"
                for picture, (position, output) in zip(found, own, strict=True):
                    difference = (picture - expected[position]).abs().max().item()
                    assert difference <= self.tolerance, f"{source} to {target}: {output} differs"
                strange = {id(v) for v in networks.weights(swap).values()} - owned
                assert not strange, f"{source} to {target}: its weights are copies"
        assert json.dumps(networks.to_json(network)) == before, "the cut changed the network"

    def test_it_runs_in_half_precision(self, built: _Built) -> None:
        """With bfloat16 layers: weights still float32, nearly the same pictures, gradients."""
        network, faces = built.network, built.faces(6)
        exact = _run(network, faces)
        networks.apply_precision(network, "bf16", "cpu")
        try:
            rough = _run(network, faces)
            reached = _reached(network, faces, 1)
        finally:
            networks.apply_precision(network, "fp32", "cpu")
        assert network.mixed_layers, "no layer follows training.precision"
        assert reached, "no weight gets a gradient"
        for one, other in zip(rough, exact, strict=True):
            assert one.isfinite().all()
            scale = max(1.0, other.abs().mean().item())
            assert (one.float() - other).abs().mean().item() < 0.05 * scale
        dtypes = {str(v.dtype) for v in networks.parameters(network).values()}
        assert dtypes == {"torch.float32"}

    def test_the_seed_decides_the_weights(self, built: _Built) -> None:
        """One seed, one network; another seed, another."""
        del built
        one, same, other = (
            {
                name: variable.detach()
                for name, variable in networks.weights(
                    build_network(self.given(), self.options, seed=seed)
                ).items()
            }
            for seed in (7, 7, 8)
        )
        assert list(one) == list(same)
        differing = [name for name in one if not one[name].equal(same[name])]
        assert not differing, f"two builds with one seed differ, first in {differing[0]}"
        assert any(not one[name].equal(other[name]) for name in one), "the seed changes nothing"

    def test_unchanged_options_keep_the_weights(self, built: _Built) -> None:
        """`adapt_model`, where there is one, gives a network that the checkpoint's weights fit."""
        plugin, network = built.plugin, built.network
        with networks.building(1, "cpu"):
            adapted = plugin.adapt_model(network, plugin.config)
        if adapted is not None:
            assert networks.fingerprint(adapted) == networks.fingerprint(network)

    def test_it_trains_resumes_and_swaps_in_a_run(self, tmp_path: Path) -> None:
        """The whole way: a new folder, two steps, a save, a third step, a swap each way."""
        arguments: dict[str, Any] = {"model": self.given()}
        options = {**self.options, "training.batch_size": 2}
        with tiny_run(tmp_path, set={**options, "training.iterations": 2}, **arguments) as run:
            losses = [metrics.losses for metrics in run]
        with tiny_run(tmp_path, set={**options, "training.iterations": 3}, **arguments) as run:
            losses += [metrics.losses for metrics in run]
            assert run.step == 3
            faces = run.session.feed.preview(2).inputs
            sides = run.network.sides
            for source, target in ((sides[0], sides[1]), (sides[1], sides[0])):
                face, mask = run.swapper(source, target)(faces[source])
                assert face.shape[0] == 2
                assert np.isfinite(face).all()
                assert mask is None or mask.shape == face.shape[:3]
        assert np.isfinite([value for of_step in losses for value in of_step.values()]).all()

    def test_stored_older_folders_go_on(self, tmp_path: Path) -> None:
        """What earlier versions saved is trained for a step and swaps, in a copy."""
        if not self.older:
            pytest.skip("no folder of an earlier version is kept yet")
        for number, kept in enumerate(self.older):
            place = tmp_path / str(number)
            shutil.copytree(kept, place / "model")
            more = {"training.iterations": 10**6}
            with tiny_run(place, model=None, set=more) as run:
                before = run.step
                assert before > 0, f"{kept} is not a trained model"
                run.advance()
                assert run.step == before + 1
                side, other, *_ = run.network.sides
                face, _ = run.swapper(side, other)(run.session.feed.preview(2).inputs[side])
                assert np.isfinite(face).all()
