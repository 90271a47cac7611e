"""Regularisers: what a loss adds to the mean -log p(x|z), λ times a measure of the code."""

from vaelab.losses.regularisers.base import Regulariser, Weighted
from vaelab.losses.regularisers.commitment import Commitment
from vaelab.losses.regularisers.controller import Controller
from vaelab.losses.regularisers.dip import DIPI, DIPII
from vaelab.losses.regularisers.kl import KL
from vaelab.losses.regularisers.mmd import MMD
from vaelab.losses.regularisers.schedules import SCHEDULES, ScheduleName
from vaelab.losses.regularisers.tc import TC

BUILDABLE = (KL, TC, DIPI, DIPII, MMD, Commitment)  # what a configuration may name as _target_

__all__ = [
    "BUILDABLE",
    "DIPI",
    "DIPII",
    "KL",
    "MMD",
    "SCHEDULES",
    "TC",
    "Commitment",
    "Controller",
    "Regulariser",
    "ScheduleName",
    "Weighted",
]
