"""Map faceswap's options to ours, by their section and name in faceswap.

Options of a network are not in the table, as they have kept their section and name.
"""

from __future__ import annotations

import attrs


def _kept(section: str, names: str) -> dict[str, str]:
    return {name: f"{section}.{name}" for name in names.split()}


#: Our name ("section.option") by section and name in faceswap.
HERE: dict[str, dict[str, str]] = {
    "global": {
        **_kept("face", "centering coverage vertical_offset"),
        **_kept("network", "icnr_init conv_aware_init reflect_padding"),
        "lr_finder_iterations": "addon.lr_finder.iterations",
        "lr_finder_mode": "addon.lr_finder.mode",
        "lr_finder_strength": "addon.lr_finder.strength",
        "mixed_precision": "training.precision",
    },
    "global.loss": {
        **_kept("loss", "loss_function loss_function_2 loss_weight_2 loss_function_3"),
        **_kept("loss", "loss_weight_3 loss_function_4 loss_weight_4 mask_loss_function"),
        **_kept("loss", "eye_multiplier mouth_multiplier penalized_mask_loss"),
        **_kept("face", "mask_type mask_dilation mask_blur_kernel mask_threshold"),
        **_kept("network", "learn_mask"),
    },
    "global.optimizer": {
        **_kept("optimizer", "optimizer learning_rate epsilon_exponent gradient_clipping"),
        **_kept("optimizer", "clipping_value autoclip_history weight_decay gradient_accumulation"),
        **_kept("optimizer", "ada_beta_1 ada_beta_2 ada_amsgrad"),
        "save_optimizer": "save.optimizer",
    },
    "trainer.augmentation": {
        "preview_images": "preview.images",
        **_kept("preview", "mask_opacity mask_color"),
        **_kept("augmentation", "zoom_amount rotation_range shift_range flip_chance"),
        **_kept("augmentation", "color_lightness color_ab color_clahe_chance"),
        **_kept("augmentation", "color_clahe_max_size"),
    },
    "trainer.loader": {"num_processes": "loader.workers", "pre_fetch": "loader.pre_fetch"},
}

#: Why an option has no equivalent here.
GONE: dict[str, dict[str, str]] = {
    "global": {
        "nan_protection": "a loss that is not a number always stops the run, and is never saved",
        "convert_batchsize": "it belongs to the swap: fs swap --batch-size",
    },
}


@attrs.frozen
class Translation:
    """Our value for one of faceswap's, and a line for the user if it does not mean the same."""

    value: str
    note: str = ""


#: By section, name and value in faceswap, as it reads them: "true" also stands for 1, yes and on.
VALUES: dict[tuple[str, str], dict[str, Translation]] = {
    ("global", "mixed_precision"): {"true": Translation("fp16"), "false": Translation("fp32")},
    ("global.optimizer", "save_optimizer"): {
        "exit": Translation(
            "always", "saved at exit only, it would be lost in a crash, and no resume were exact"
        ),
    },
}
