"""What is measured and drawn of a trained model: one small class per evaluation."""

from vaelab.evaluations.atlas import Atlas
from vaelab.evaluations.base import Context, Result, measure
from vaelab.evaluations.interpolations import Interpolations
from vaelab.evaluations.kl_per_dimension import KLPerDimension
from vaelab.evaluations.latent_space import LatentSpace
from vaelab.evaluations.learning_curve import LearningCurve
from vaelab.evaluations.prior_samples import PriorSamples
from vaelab.evaluations.reconstructions import Reconstructions
from vaelab.evaluations.test_metrics import TestMetrics
from vaelab.evaluations.traversals import Traversals

__all__ = [
    "Atlas",
    "Context",
    "Interpolations",
    "KLPerDimension",
    "LatentSpace",
    "LearningCurve",
    "PriorSamples",
    "Reconstructions",
    "Result",
    "TestMetrics",
    "Traversals",
    "measure",
]
