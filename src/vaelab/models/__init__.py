"""The networks: each offers encode and decode, or generate and discriminate, and names its players."""

from vaelab.codes import Code, Gaussian, Layered, Point, Quantised
from vaelab.models.autoencoder import Autoencoder, conv_ae, fc_ae, spatial_ae
from vaelab.models.blocks import EncoderDecoder, ImageShape
from vaelab.models.conditional import ConditionalVAE, conditional_vae
from vaelab.models.conditioned import ConditionedVAE
from vaelab.models.foreign import autoencoder_kl, pythae_vae, pytorch_vae
from vaelab.models.gan import ACGAN, GAN, acgan, dcgan
from vaelab.models.ladder import LadderVAE, ladder_vae
from vaelab.models.linear import LinearVAE, linear_vae
from vaelab.models.resnet import resnet_vae
from vaelab.models.vae import VAE, burgess_vae, conv_vae, fc_vae, spatial_vae
from vaelab.models.vq import VQVAE, vq_vae

# What a configuration may name as _target_.
BUILDABLE = (
    acgan,
    autoencoder_kl,
    burgess_vae,
    conditional_vae,
    conv_ae,
    conv_vae,
    dcgan,
    fc_ae,
    fc_vae,
    ladder_vae,
    linear_vae,
    pythae_vae,
    pytorch_vae,
    resnet_vae,
    spatial_ae,
    spatial_vae,
    vq_vae,
)

__all__ = [
    "ACGAN",
    "BUILDABLE",
    "GAN",
    "VAE",
    "VQVAE",
    "Autoencoder",
    "Code",
    "ConditionalVAE",
    "ConditionedVAE",
    "EncoderDecoder",
    "Gaussian",
    "ImageShape",
    "LadderVAE",
    "Layered",
    "LinearVAE",
    "Point",
    "Quantised",
    "acgan",
    "autoencoder_kl",
    "burgess_vae",
    "conditional_vae",
    "conv_ae",
    "conv_vae",
    "dcgan",
    "fc_ae",
    "fc_vae",
    "ladder_vae",
    "linear_vae",
    "pythae_vae",
    "pytorch_vae",
    "resnet_vae",
    "spatial_ae",
    "spatial_vae",
    "vq_vae",
]
