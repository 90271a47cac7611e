"""What is measured and drawn of a trained model: one small class per evaluation."""

from vaelab.evaluations.adversarial_curves import AdversarialCurves
from vaelab.evaluations.atlas import Atlas
from vaelab.evaluations.base import Begun, Context, Result, evaluated, measure, without_lost
from vaelab.evaluations.class_pairs import ClassPairs
from vaelab.evaluations.codebook import Codebook
from vaelab.evaluations.diversity import Diversity
from vaelab.evaluations.fid import FID
from vaelab.evaluations.gan_test import GANTest
from vaelab.evaluations.information import Information
from vaelab.evaluations.interpolations import Interpolations
from vaelab.evaluations.kl_per_dimension import KLPerDimension
from vaelab.evaluations.kl_per_layer import KLPerLayer
from vaelab.evaluations.latent_edit import LatentEdit
from vaelab.evaluations.latent_space import LatentSpace
from vaelab.evaluations.layer_samples import LayerSamples
from vaelab.evaluations.learning_curve import LearningCurve
from vaelab.evaluations.nearest_neighbours import NearestNeighbours
from vaelab.evaluations.nll import NLL
from vaelab.evaluations.noise_perturbation import NoisePerturbation
from vaelab.evaluations.prior_samples import PriorSamples
from vaelab.evaluations.probe import Probe
from vaelab.evaluations.rate_distortion import RateDistortion
from vaelab.evaluations.reconstructions import Reconstructions
from vaelab.evaluations.samples import Samples
from vaelab.evaluations.sharpness import Sharpness
from vaelab.evaluations.test_metrics import TestMetrics
from vaelab.evaluations.traversals import Traversals
from vaelab.evaluations.z_interpolations import ZInterpolations

# What a configuration may name as _target_.
BUILDABLE = (
    FID,
    NLL,
    AdversarialCurves,
    Atlas,
    ClassPairs,
    Codebook,
    Diversity,
    GANTest,
    Information,
    Interpolations,
    KLPerDimension,
    KLPerLayer,
    LatentEdit,
    LatentSpace,
    LayerSamples,
    LearningCurve,
    NearestNeighbours,
    NoisePerturbation,
    PriorSamples,
    Probe,
    RateDistortion,
    Reconstructions,
    Samples,
    Sharpness,
    TestMetrics,
    Traversals,
    ZInterpolations,
)

__all__ = [
    "BUILDABLE",
    "FID",
    "NLL",
    "AdversarialCurves",
    "Atlas",
    "Begun",
    "ClassPairs",
    "Codebook",
    "Context",
    "Diversity",
    "GANTest",
    "Information",
    "Interpolations",
    "KLPerDimension",
    "KLPerLayer",
    "LatentEdit",
    "LatentSpace",
    "LayerSamples",
    "LearningCurve",
    "NearestNeighbours",
    "NoisePerturbation",
    "PriorSamples",
    "Probe",
    "RateDistortion",
    "Reconstructions",
    "Result",
    "Samples",
    "Sharpness",
    "TestMetrics",
    "Traversals",
    "ZInterpolations",
    "evaluated",
    "measure",
    "without_lost",
]
