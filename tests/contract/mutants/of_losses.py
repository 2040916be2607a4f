"""Losses with one fault each, run by ``test_suites_find_faults.py`` and not by themselves."""

from __future__ import annotations

from typing import ClassVar

import attrs
import torch
from faults import suite, tidy  # noqa: F401
from fs_kernel import hookimpl, option
from fs_kernel.testing.suites import LossSuite


def root(prediction, target):
    return (prediction - target).square().sum(dim=(1, 2, 3)).sqrt()


def mean(prediction, target):
    return (prediction - target).abs().mean()


def of_the_batch(prediction, target):
    return (prediction - target).abs() / (prediction - target).abs().amax()


def in_place(prediction, target):
    return prediction.sub_(target).abs()


def half_the_slope(prediction, target):
    difference = prediction - target
    return difference * difference.detach()


def read_back(prediction, target):
    return (prediction - target).abs() * max(1.0, prediction.max().item())


def noisy(prediction, target):
    return (prediction - target + torch.rand(1)).abs()


def negative(prediction, target):
    return -(prediction - target).abs()


def shifted(prediction, target):
    return (prediction - target).abs() + 1


def single(prediction, target):
    return (prediction.float() - target.float()).abs()


class Trained(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, prediction, target):
        return (prediction - target).abs() * self.scale


class Tinted:
    color_order: ClassVar[str] = "gbr"

    def __call__(self, prediction, target):
        return (prediction - target).abs()


def wants_points(prediction, target, context):
    return (prediction - target).abs() * context.landmarks.mean()


class Points:
    """It asks for landmarks, and breaks where faces have none."""

    required_fields: ClassVar = {"landmarks"}

    def __call__(self, prediction, target, context):
        return wants_points(prediction, target, context)


class Spoken:
    required_fields: ClassVar = {"the nose"}

    def __call__(self, prediction, target):
        return (prediction - target).abs()


class Lacking:
    """With hooks: an option that no help explains."""

    @hookimpl
    def config_defaults(self):
        return {"loss.lacking": Unhelpful}

    @hookimpl
    def create_loss(self, config):
        return shifted


@attrs.frozen
class Unhelpful:
    width: int = option(3, " ", minimum=1, maximum=4)


suite(LossSuite, "test_the_result_has_one_of_the_forms", wants_points)
suite(LossSuite, "test_fields_that_the_faces_lack_are_no_fault", Points)
suite(LossSuite, "test_what_it_asks_for_is_known", Spoken)
suite(LossSuite, "test_options_explain_themselves", Lacking)
suite(LossSuite, "test_equal_pictures_lose_what_they_should", root)
suite(LossSuite, "test_equal_pictures_lose_what_they_should", shifted)
suite(LossSuite, "test_the_result_has_one_of_the_forms", mean)
suite(LossSuite, "test_a_picture_does_not_depend_on_its_neighbors", of_the_batch)
suite(LossSuite, "test_making_and_calling_it_changes_nothing", in_place)
suite(LossSuite, "test_making_and_calling_it_changes_nothing", noisy)
suite(LossSuite, "test_gradients_agree_with_finite_differences", half_the_slope)
suite(LossSuite, "test_gradients_agree_with_finite_differences", single)
suite(LossSuite, "test_it_computes_where_the_pictures_are", read_back)
suite(LossSuite, "test_worse_pictures_lose_more", negative)
suite(LossSuite, "test_it_trains_no_weights", Trained)
suite(LossSuite, "test_what_it_asks_for_is_known", Tinted)
