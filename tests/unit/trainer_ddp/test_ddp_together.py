"""Two and four processes train as one does, and come to the same end."""

from __future__ import annotations

import numpy as np
import pytest
import scenes
import together
from compilers import compiles

LIKE_ONE = ["fifty", "uneven", "accumulation", "clipping", "like_losses", "spoken"]
IN_SINGLE = ["single", "half", "compressed"]
OTHERS = ["accumulation_resumed", "noisy", "noisy_resumed", "adopted", "few", "critic"]
OTHERS += ["critic_resumed"]
ENDS = ["unlike", "broken", "poisoned"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same runs in this process, with the standard trainer where it can do them."""
    folder = tmp_path_factory.mktemp("alone")

    def options(name):
        return {"trainer": "standard"} if name != "like_losses" else {}

    seen = {}
    for name in LIKE_ONE:
        given = {"uneven": {"training__batch_size": 7}, "accumulation": scenes.ACCUMULATION}
        given["clipping"] = {
            "optimizer__gradient_clipping": "global_norm",
            "optimizer__clipping_value": 0.01,
        }
        given["like_losses"] = {"trainer__ddp__sampler": "loss"}
        given["spoken"] = {"addons": [scenes.Speaker()]}
        steps = {"fifty": 50, "accumulation": 12, "like_losses": 12, "spoken": 6}.get(name, 10)
        seen[name] = scenes.train(folder / name, steps, **options(name), **given.get(name, {}))
    for name in IN_SINGLE:
        precision = {"training__precision": "bf16"} if name == "half" else {}
        steps = {"single": 50, "half": 5}.get(name, 10)
        seen[name] = scenes.train(
            folder / name, steps, trainer="standard", **scenes.F32, **precision
        )
    return folder, seen


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    scenes.train(folder / "adopted", 5, trainer="standard")
    return folder, together.play(folder, 2, [*LIKE_ONE, *IN_SINGLE, *OTHERS, *ENDS])


@pytest.mark.parametrize("name", LIKE_ONE)
def test_two_processes_train_as_one_does(alone, pair, name):
    """Fifty steps; a batch that does not divide; accumulation; clipping; a sampler that listens."""
    assert together.distance(alone[0] / name / "model", pair[0] / name / "model") < 1e-9
    for metrics, other in zip(alone[1][name]["losses"], pair[1][name][0]["losses"], strict=True):
        assert metrics == pytest.approx(other, rel=1e-9)


def test_all_processes_see_the_same(pair):
    for name in [*LIKE_ONE, *IN_SINGLE, *OTHERS]:
        first, second = pair[1][name]
        assert first["losses"] == second["losses"], name
        assert first["folder_left"]
        assert not second["folder_left"], "process 1 writes into a folder that goes with it"


def test_single_precision_stays_close(alone, pair):
    for metrics, other in zip(
        alone[1]["single"]["losses"], pair[1]["single"][0]["losses"], strict=True
    ):
        assert metrics == pytest.approx(other, abs=1e-3)


@pytest.mark.parametrize(("name", "close"), [("half", 0.02), ("compressed", 2e-3)])
def test_fewer_bits_train_too(alone, pair, name, close):
    """Layers in bfloat16, and gradients that travel in it."""
    last, other = alone[1][name]["losses"][-1], pair[1][name][0]["losses"][-1]
    assert last == pytest.approx(other, abs=close)
    assert np.isfinite(list(other.values())).all()
    if name == "compressed":
        options = together.read(pair[0] / name / "model/logs/run.json")["options"]["trainer.ddp"]
        assert options["compression"] == "bf16"
        assert together.distance(alone[0] / name / "model", pair[0] / name / "model") > 0


@pytest.mark.skipif(not compiles(), reason="torch.compile needs a C++ compiler with OpenMP")
def test_a_compiled_step_is_shared_like_any_other(alone, tmp_path):
    seen = together.play(tmp_path, 2, ["compiled"])["compiled"]
    assert seen[0]["losses"] == seen[1]["losses"]
    assert not [line for line in seen[0]["warnings"] if "compile" in line]
    for metrics, other in zip(seen[0]["losses"], alone[1]["single"]["losses"][:5], strict=True):
        assert metrics == pytest.approx(other, abs=1e-3)


def test_an_objective_trains_its_critic_as_one_process_does(pair, tmp_path):
    """The parts of the batch are unequal; the critic computes in float32."""
    first, second = pair[1]["critic"]
    assert first["critic"]
    assert first["critic"] == second["critic"]
    one = scenes.train(tmp_path, 6, trainer="standard", **scenes.CRITIC)
    assert first["critic"] == pytest.approx(one["critic"], rel=1e-4)
    for values, same in zip(first["values"], one["values"], strict=True):
        assert values["critic"] == pytest.approx(same["critic"], rel=1e-4)
    for losses, same in zip(first["losses"], one["losses"], strict=True):
        assert losses == pytest.approx(same, rel=1e-5)


@pytest.mark.parametrize("name", ["accumulation", "noisy", "critic"])
def test_a_resumed_pair_goes_on_to_the_bit(pair, name):
    """With gradients that wait, and with dropout and batch normalisation."""
    whole, parts = pair[0] / name / "model", pair[0] / f"{name}_resumed" / "model"
    assert together.same(whole, parts)
    assert together.same(whole, parts, "training")


def test_dropout_differs_between_processes(pair):
    held = together.tensors(pair[0] / "noisy/model", "training")
    (first,) = (
        held[name] for name in held if name.endswith("random/torch") and "/others" not in name
    )
    (second,) = (held[name] for name in held if name.endswith("random/torch") and "/others" in name)
    assert (first != second).any()


def test_checkpoints_are_each_others(alone, pair):
    """Five steps alone, five in two processes, and alone again, with the standard trainer."""
    folder = pair[0] / "adopted"
    scenes.train(folder, 50, trainer="standard")
    assert together.distance(folder / "model", alone[0] / "fifty/model") < 1e-9


def test_a_batch_smaller_than_the_group_grows_everywhere(pair):
    """The feed must use the raised batch size too, not the one that was asked for."""
    folder, seen = pair
    assert [of_rank["batch_size"] for of_rank in seen["few"]] == [2, 2]
    line = "batch size 1 is 2 now: the trainer 'ddp' needs that"
    assert line in seen["few"][0]["warnings"]
    facts = together.read(folder / "few/model/logs/run.json")
    assert facts["batch_size"] == facts["options"]["training"]["batch_size"] == 2
    assert facts["processes"] == 2


def test_a_batch_that_does_not_divide_is_named(pair):
    warnings = pair[1]["uneven"][0]["warnings"]
    assert any("batch size 7 does not divide by 2" in w and "6 and 8 do" in w for w in warnings)


def test_what_others_say_is_told_once_with_their_rank(pair):
    notes = together.events(pair[0] / "spoken", "note")
    told = [(note["message"], note.get("rank")) for note in notes]
    assert told == [("here is 0", 0), ("the same everywhere", 0), ("here is 1", 1)]
    assert all(e["rank"] == 0 for e in together.events(pair[0] / "spoken", "metrics", "saved"))


def test_options_come_from_process_0(pair):
    """Process 1 asked for a rate of 0.9, and nobody listened; trials leave no trace."""
    options = together.events(pair[0] / "spoken", "option")
    assert [(o["step"], o["name"], o["value"]) for o in options] == [(2, scenes.RATE, 2e-4)]


def test_unlike_options_are_refused(pair):
    first, second = pair[1]["unlike"]
    assert "optimizer.learning_rate is 6e-05 in process 0" in first["line"]
    assert "7e-05 in process 1" in first["line"]
    assert first["kind"] == second["kind"] == "UsageError"
    assert (first["quiet"], second["quiet"]) == (False, True)


def test_a_face_that_one_cannot_use_stops_all(pair):
    first, second = pair[1]["broken"]
    assert first["kind"] == second["kind"] == "FacesError"
    assert first["line"] == "process 1 of 2: face 1 of side A cannot be used"
    assert (first["quiet"], second["quiet"]) == (False, True)
    assert together.events(pair[0] / "broken", "finished")[0]["reason"] == "failed"


def test_a_loss_that_is_no_number_is_seen_by_all(pair):
    first, second = pair[1]["poisoned"]
    assert first["kind"] == second["kind"] == "BadStepError"
    assert "step 5: the loss is not finite" in first["line"]


def test_four_processes_train_as_one_does(alone, tmp_path):
    together.play(tmp_path, 4, ["fifty"])
    assert together.distance(alone[0] / "fifty/model", tmp_path / "fifty/model") < 1e-9
