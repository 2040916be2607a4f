"""Read and write Keras graphs as JSON that cannot choose code, and name their parts stably.

Importing it imports Keras, which then reads ``KERAS_BACKEND``.
"""

from __future__ import annotations

from fs_graph.errors import GraphError
from fs_graph.inspection import MAX_DEPTH, MAX_LAYERS, inspect
from fs_graph.names import changes, descriptions, layers, seed_generators, sub_models, variables
from fs_graph.reading import MAX_BYTES, parse, read, reason_of, write
from fs_graph.reopening import require_reopenable
from fs_graph.weights import freeze, tensors, trained, unbuilt

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_LAYERS",
    "GraphError",
    "changes",
    "descriptions",
    "freeze",
    "inspect",
    "layers",
    "parse",
    "read",
    "reason_of",
    "require_reopenable",
    "seed_generators",
    "sub_models",
    "tensors",
    "trained",
    "unbuilt",
    "variables",
    "write",
]
