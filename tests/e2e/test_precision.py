"""Number formats: training under them, and switching an existing model either way."""

from __future__ import annotations

import fs_kernel
import numpy as np
import pytest
from small_runs import losses, open_small, weights


def test_bf16_trains_like_fp32_with_float32_weights_and_outputs(tmp_path, people):
    plain = losses(open_small(tmp_path / "plain", people))
    run = open_small(tmp_path / "half", people, **{"training.precision": "bf16"})
    half = losses(run)
    assert half != plain
    np.testing.assert_allclose(half, plain, rtol=0.03)
    assert {w.dtype for w in weights(tmp_path / "half").values()} == {np.dtype("float32")}
    following = set(run.network.mixed_layers)
    assert "encoder/conv_8_0_conv2d/" in following
    assert "decoder_a/face_out_a_0_conv2d/" in following
    assert "decoder_a/face_out_a_0/" not in following, "the output's activation stays float32"
    assert not any("input" in path or "face_in" in path for path in following)


def test_switching_precision_keeps_the_weights_to_the_bit(tmp_path, people):
    model = tmp_path / "m"
    losses(open_small(model, people, **{"training.iterations": 2}))
    before = weights(model)
    for precision in ("bf16", "fp32"):
        run = open_small(model, people, **{"training.precision": precision})
        encoder = run.network.model.get_layer("encoder")
        policies = {layer.dtype_policy.name for layer in encoder.layers}
        assert ("mixed_bfloat16" in policies) == (precision == "bf16")
        run.save()
        run.close()
        now = weights(model)
        assert now.keys() == before.keys()
        assert all(np.array_equal(now[name], before[name]) for name in before)


def test_fp16_on_a_cpu_is_refused_before_anything_is_written(tmp_path, people):
    with pytest.raises(fs_kernel.ConfigError, match="fp16 needs a GPU"):
        open_small(tmp_path / "m", people, **{"training.precision": "fp16"})
    assert not (tmp_path / "m").exists()
