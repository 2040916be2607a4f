"""Optimizers, and what makes one of them the optimizer of a network.

An optimizer is a `torch.optim.Optimizer` class, a function that makes one, or a plugin with hooks
if it has options of its own (`fs_kernel.hookspecs.OptimizerHooks`). It is called with parameter
groups of named weights and with those of ``lr``, ``betas``, ``eps``, ``weight_decay``, ``amsgrad``
and ``fused`` that its signature names (`fs_nn.optimizers.build`). Torch's own are offered as they
are; on a GPU those without a fused form update all weights of a group at once, as ours do
everywhere.
"""

import torch

from fs_nn.optimizers.adabelief import AdaBelief
from fs_nn.optimizers.build import build_optimizer, change_optimizer, optimizer_settings
from fs_nn.optimizers.lion import Lion
from fs_nn.optimizers.managed import ManagedOptimizer

#: Kingma and Ba 2014, with weight decay added to the gradient (L2).
adam = torch.optim.Adam
#: Loshchilov and Hutter 2017: `adam` with decay apart from the gradient.
adamw = torch.optim.AdamW
#: Kingma and Ba 2014: `adam` with the largest recent gradient in place of the mean square.
adamax = torch.optim.Adamax
#: Dozat 2016: `adam` with Nesterov momentum.
nadam = torch.optim.NAdam
#: Hinton's RMSprop with torch's decay of 0.99 and no momentum.
rms_prop = torch.optim.RMSprop

__all__ = [
    "AdaBelief",
    "Lion",
    "ManagedOptimizer",
    "adam",
    "adamax",
    "adamw",
    "build_optimizer",
    "change_optimizer",
    "nadam",
    "optimizer_settings",
    "rms_prop",
]
