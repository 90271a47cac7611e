"""The networks: each offers encode and decode, or generate and discriminate, and names its players."""

from vaelab.codes import Code, Gaussian, Point
from vaelab.models.autoencoder import Autoencoder, conv_ae, fc_ae, spatial_ae
from vaelab.models.blocks import EncoderDecoder, ImageShape
from vaelab.models.gan import ACGAN, GAN, acgan, dcgan
from vaelab.models.linear import LinearVAE, linear_vae
from vaelab.models.resnet import resnet_vae
from vaelab.models.vae import VAE, conv_vae, fc_vae, spatial_vae

# What a configuration may name as _target_.
BUILDABLE = (acgan, conv_ae, conv_vae, dcgan, fc_ae, fc_vae, linear_vae, resnet_vae, spatial_ae, spatial_vae)

__all__ = [
    "ACGAN",
    "BUILDABLE",
    "GAN",
    "VAE",
    "Autoencoder",
    "Code",
    "EncoderDecoder",
    "Gaussian",
    "ImageShape",
    "LinearVAE",
    "Point",
    "acgan",
    "conv_ae",
    "conv_vae",
    "dcgan",
    "fc_ae",
    "fc_vae",
    "linear_vae",
    "resnet_vae",
    "spatial_ae",
    "spatial_vae",
]
