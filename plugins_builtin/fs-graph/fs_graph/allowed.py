"""Decide what a graph may hold: plain Keras, and the classes that the caller names.

A file never chooses what code runs. Every object in a graph is checked before Keras sees any of it:
layers against a list of Keras classes, operations against those that `keras.ops` consists of, by
module and class, and anything else against the classes that ``custom_objects`` names.
Functions, lambdas, and classes of any other module are refused.
"""

from __future__ import annotations

import functools
import importlib
import inspect as signatures
from typing import Any

import keras

_LAYERS = """
    InputLayer Functional Sequential Dense Conv1D Conv2D DepthwiseConv2D SeparableConv2D
    Conv2DTranspose Activation LeakyReLU PReLU ReLU ELU Softmax Flatten Reshape Permute
    RepeatVector Concatenate Add Subtract Multiply Average Maximum Minimum Dot UpSampling2D
    ZeroPadding2D Cropping2D MaxPooling2D AveragePooling2D GlobalAveragePooling2D
    GlobalMaxPooling2D Dropout SpatialDropout2D GaussianNoise GaussianDropout AlphaDropout
    BatchNormalization LayerNormalization GroupNormalization UnitNormalization RMSNormalization
    SpectralNormalization Rescaling Normalization Resizing Embedding MultiHeadAttention Identity
"""
_INITIALIZERS = """
    Zeros Ones Constant RandomNormal RandomUniform TruncatedNormal VarianceScaling Orthogonal
    Identity IdentityInitializer GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal
    LecunUniform
"""
_OTHERS = "L1 L2 L1L2 OrthogonalRegularizer MaxNorm NonNeg UnitNorm MinMaxNorm DTypePolicy"
PLAIN = frozenset(f"{_LAYERS} {_INITIALIZERS} {_OTHERS}".split())
_PACKAGES = "layers models initializers regularizers constraints dtype_policies"
_HOMES = tuple(f"{root}.{name}" for root in ("keras", "keras.src") for name in _PACKAGES.split())
OPS = "keras.src.ops"
#: Most of `keras.ops.core` takes functions; these do not.
_SAFE_CORE = """
    Scatter ScatterUpdate Slice SliceUpdate StopGradient Unstack Cast SaturateCast ConvertToTensor
"""
_CORE = frozenset(_SAFE_CORE.split())
#: Names that Keras gives to parameters that are functions.
_PARAMETERS = "f fn fun func function body body_fun cond cond_fun branches true_fn false_fn"
_FUNCTIONS = frozenset(_PARAMETERS.split())
#: Layers whose configuration is code.
_CODE = ("Lambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer")


@functools.cache
def operations() -> frozenset[tuple[str, str]]:
    """Return module and class of every operation of `keras.ops` that a graph may hold.

    They are those that Keras itself defines in these modules and that are made from numbers and
    text alone: none takes a function, none reads its own configuration.
    """
    base = importlib.import_module(f"{OPS}.operation").Operation
    found = set()
    for name in ("numpy", "nn", "math", "image", "linalg", "core"):
        module = importlib.import_module(f"{OPS}.{name}")
        for key, cls in vars(module).items():
            if not (isinstance(cls, type) and issubclass(cls, base)):
                continue
            defined = (cls.__module__, cls.__name__) == (module.__name__, key)
            if defined and not _takes_code(cls, base) and (name != "core" or key in _CORE):
                found.add((module.__name__, key))
    return frozenset(found)


def _takes_code(cls: Any, base: Any) -> bool:
    names = {
        name
        for method in (cls.__init__, cls.call)
        for name in signatures.signature(method).parameters
    }
    return bool(names & _FUNCTIONS) or cls.from_config.__func__ is not base.from_config.__func__


def is_operation(name: str, module: Any) -> bool:
    """Return whether this is an operation of `keras.ops` that a graph may hold."""
    return isinstance(module, str) and (module, name) in operations()


def is_plain(name: str, module: Any) -> bool:
    """Return whether this is a layer, initializer or the like of Keras that a graph may hold."""
    homes = module in (None, "keras") or any(f"{module}.".startswith(f"{h}.") for h in _HOMES)
    return name in PLAIN and homes


def holds_code(name: str, module: Any, own: type | None) -> bool:
    """Return whether the configuration of such a layer is code.

    Args:
        name: of its class.
        module: of its class.
        own: what ``custom_objects`` names so, if it does.
    """
    bases = tuple(getattr(keras.layers, code) for code in _CODE if hasattr(keras.layers, code))
    if isinstance(own, type) and issubclass(own, bases):
        return True
    return name in _CODE and (own is None or str(module).startswith("keras."))


def is_named(own: type, name: str, module: Any, registered: Any) -> bool:
    """Return whether Keras will make an object of the class that ``custom_objects`` names.

    Keras takes the class from there by its registered name; the module it is kept in may have
    changed since the graph was written.
    """
    if not isinstance(module, str | None):
        return False
    if registered is None:
        public = module == "keras.layers" and getattr(keras.layers, name, None) is own
        return public or module in (None, own.__module__)
    if not isinstance(registered, str):
        return False
    found = keras.saving.get_registered_object(registered)
    return found is own or (registered == name and found is None)
