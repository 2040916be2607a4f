"""Layers, blocks, losses, optimizers and training parts that fs-kernel plugins are made of.

Each module is a room of its own; import what you need from there. Importing the package itself
imports neither torch nor keras, but settles that Keras, whenever it comes, runs on torch (unless
``KERAS_BACKEND`` already says otherwise).

* `fs_nn.options`: the option classes of the sections ``network``, ``loss`` and ``optimizer``.
* `fs_nn.blocks`, `fs_nn.upscalers`: the vocabulary networks are written in.
* `fs_nn.networks`: how sub-models become a network.
* `fs_nn.layers`, `fs_nn.initializers`: what plain Keras lacks; `fs_nn.layers.custom_objects` names
  every class a saved graph may contain.
* `fs_nn.losses`, `fs_nn.masked_loss`: losses of one picture, and how they become a side's loss.
* `fs_nn.training`, `fs_nn.process_trainer`, `fs_nn.objectives`: whole trainers, and what authors of
  objectives need.
* `fs_nn.optimizers`: optimizers whose state belongs to named weights, and what a step does.
* `fs_nn.clipping`, `fs_nn.schedule`, `fs_nn.ema`: the other parts of a step.
* `fs_nn.sampling`: which faces a step sees.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
