import fs_optimizer_cautious
import torch
from fs_kernel.testing.suites import OptimizerSuite

SETTINGS = {"lr": 0.1, "weight_decay": 0.0}


class TestConformance(OptimizerSuite):
    plugin = fs_optimizer_cautious
    settings = {"fused": True}


def step_against(name):
    """Return how far a weight moves whose gradient has just turned round."""
    weight = torch.nn.Parameter(torch.zeros(2))
    groups = [{"params": [(name, weight)]}]
    optimizer = fs_optimizer_cautious.Cautious(groups, ["bias"], **SETTINGS)
    for gradient in ([1.0, 1.0], [-0.1, 1.0]):
        before = weight.detach().clone()
        weight.grad = torch.tensor(gradient)
        optimizer.step()
    return (weight.detach() - before).tolist()


def test_only_careful_weights_refuse_a_step():
    assert step_against("encoder/conv/kernel")[0] == 0
    assert step_against("encoder/conv/bias")[0] < 0
