"""Turn losses of single pictures into the loss of a side.

Per face output of a side and per loss function:

* A *spatial* loss gives a map ``L``. With the penalized mask, ``L`` is multiplied by the face mask;
  then for each multiplied area in turn (eyes, mouth) ``L`` becomes ``L + k * area * L``. The mean
  over channels and pixels of the whole picture is taken, so a face that fills half of it counts
  half; with ``normalize`` each picture's mean is divided by the share that its face mask covers.
* A *non-spatial* loss, or one whose map has no pixels of the picture (``masks_input``), sees masked
  pictures instead: its value inside the face mask, plus ``k`` times its value inside each area.
  It is never normalized: most such losses do not grow with the area.

So a multiplier ``k`` makes an area count ``k + 1`` times. That is what the number means in
faceswap, and the same settings should train the same; it also makes 1, the smallest value, stand
for "off" (`fs_nn.options.LossOptions.multipliers` leaves it out).

A mask that the batch does not hold is not applied. A learned mask is compared without masks and
with weight 1. Outputs of several sizes count the same.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence

import attrs
import torch
from fs_kernel.types import Batch, BatchLoss, LossContext, LossPart, Network, Output, Run, Side
from torch import Tensor, nn

from fs_nn.named_losses import WeightedLoss, find_face_loss, find_loss
from fs_nn.options import LossOptions


class MaskedLoss:
    """Compare each side's outputs with their targets.

    Args:
        network: whose outputs are compared.
        face_losses: the losses of faces; one may appear twice.
        mask_loss: the loss of learned masks.
        penalized: apply the face mask.
        multipliers: by mask name, how much more an area counts.
        normalize: divide maps by the share of the picture that the face mask covers.
    """

    def __init__(
        self,
        network: Network,
        face_losses: Sequence[WeightedLoss],
        mask_loss: WeightedLoss,
        *,
        penalized: bool,
        multipliers: Mapping[str, int],
        normalize: bool,
    ) -> None:
        self._network = network
        self._face_losses = tuple(face_losses)
        self._mask_loss = mask_loss
        self._penalized = penalized
        self._multipliers = dict(multipliers)
        self._normalize = normalize
        self._takes_context = any(loss.takes_context for loss in (*face_losses, mask_loss))

    def on(self, device: torch.device) -> MaskedLoss:
        """Return the same with copies on ``device`` of those losses that hold tensors."""

        def copied(loss: WeightedLoss) -> WeightedLoss:
            if not isinstance(loss.function, nn.Module):
                return loss
            return attrs.evolve(loss, function=copy.deepcopy(loss.function).to(device))

        return MaskedLoss(
            self._network,
            [copied(loss) for loss in self._face_losses],
            copied(self._mask_loss),
            penalized=self._penalized,
            multipliers=self._multipliers,
            normalize=self._normalize,
        )

    def __call__(
        self, side: Side, predictions: Sequence[Tensor], batch: Batch
    ) -> tuple[Tensor, BatchLoss]:
        """Compare one side's outputs with their targets.

        Args:
            side: which side.
            predictions: all outputs of the network, ``(n, size, size, c)``.
            batch: targets and masks.

        Returns:
            The side's total, a scalar with its graph, and the same in detail, detached.
        """
        totals, report = self.per_picture(side, predictions, batch)
        return totals.mean(), report

    def per_picture(
        self, side: Side, predictions: Sequence[Tensor], batch: Batch
    ) -> tuple[Tensor, BatchLoss]:
        """Compare as a call does; return a total per picture, ``(n,)`` with its graph."""
        held = batch.meta.masks.get(side, {})
        values: list[tuple[str, str, float, Tensor]] = []
        outputs = self._network.outputs_of(side)
        for (index, output), target in zip(outputs, batch.targets[side], strict=True):
            if output.kind == "aux" or target is None:
                continue
            pair = _channels_first(predictions[index]), _channels_first(target)
            masks = _of_size(held, output.size)
            context = self._context(side, output, masks, batch)
            if output.kind == "mask":
                each = _per_picture(self._mask_loss(*pair, context))
                values.append((self._mask_loss.name, f"mask_{output.size}", 1.0, each))
            else:
                of_face = self._of_face(*pair, masks, context)
                values += [
                    (loss.name, f"face_{output.size}", loss.weight, each) for loss, each in of_face
                ]
        totals = torch.stack([each * weight for _, _, weight, each in values]).sum(dim=0)
        parts = []
        for name, where, weight, each in values:
            mean = each.detach().mean()
            parts.append(LossPart(name, where, mean * weight, mean))
        return totals, BatchLoss(side, totals.detach().mean(), tuple(parts))

    def _context(
        self, side: Side, output: Output, masks: Mapping[str, Tensor], batch: Batch
    ) -> LossContext | None:
        if not self._takes_context:
            return None
        landmarks = batch.meta.landmarks.get(side)
        return LossContext(side, output, batch.step, masks, landmarks, batch)

    def _of_face(
        self,
        prediction: Tensor,
        target: Tensor,
        masks: Mapping[str, Tensor],
        context: LossContext | None,
    ) -> Iterator[tuple[WeightedLoss, Tensor]]:
        """Yield each loss of one output, per picture ``(n,)``, without its weight."""
        areas = [(masks[name], k) for name, k in self._multipliers.items() if name in masks]
        face = masks.get("face") if self._penalized else None
        for loss in self._face_losses:
            pair = (prediction, target)
            if loss.flip_colors:
                pair = (prediction.flip(1), target.flip(1))
            if loss.masks_input:
                yield loss, _on_masked_pictures(loss, pair, context, face, areas)
            else:
                yield loss, _on_masked_map(loss, pair, context, face, areas, self._normalize)


def build_masked_loss(run: Run, options: LossOptions) -> MaskedLoss:
    """Return the loss that the options ask for, each loss function tried once.

    Raises:
        ConfigError: a loss cannot handle pictures of the network's smallest face output, or lacks
            what its options should name.
        PluginError: a loss is not installed, fails, or gives neither a map nor one number per
            picture.
    """
    return MaskedLoss(
        run.network,
        [find_face_loss(run, name, weight) for name, weight in options.functions],
        find_loss(run, options.mask_loss_function),
        penalized=options.penalized_mask_loss,
        multipliers=options.multipliers,
        normalize=options.normalize_masks,
    )


def _on_masked_map(
    loss: WeightedLoss,
    pair: tuple[Tensor, Tensor],
    context: LossContext | None,
    face: Tensor | None,
    areas: Sequence[tuple[Tensor, int]],
    normalize: bool,
) -> Tensor:
    values = loss(*pair, context)
    if face is not None:
        values = values * face
    for area, factor in areas:
        values = values + values * area * factor
    if face is None or not normalize:
        return _per_picture(values)
    # An empty mask would divide by 0: the share counted is at least that of one pixel.
    return _per_picture(values) / _per_picture(face).clamp(min=1 / face[0].numel())


def _on_masked_pictures(
    loss: WeightedLoss,
    pair: tuple[Tensor, Tensor],
    context: LossContext | None,
    face: Tensor | None,
    areas: Sequence[tuple[Tensor, int]],
) -> Tensor:
    prediction, target = pair
    whole = pair if face is None else (prediction * face, target * face)
    value = _per_picture(loss(*whole, context))
    for area, factor in areas:
        value = value + _per_picture(loss(prediction * area, target * area, context)) * factor
    return value


def _per_picture(values: Tensor) -> Tensor:
    return values.flatten(1).mean(dim=1) if values.ndim > 1 else values


def _channels_first(pictures: Tensor) -> Tensor:
    return pictures.permute(0, 3, 1, 2)


def _of_size(masks: Mapping[str, Mapping[int, Tensor]], size: int) -> dict[str, Tensor]:
    return {name: _channels_first(sizes[size]) for name, sizes in masks.items() if size in sizes}
