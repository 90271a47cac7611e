"""Images from any source, prepared once, as batches of tensors."""

from vaelab.data.imageset import SPLITS, ImageSet
from vaelab.data.loader import Batch, Loader
from vaelab.data.store import load

__all__ = ["SPLITS", "Batch", "ImageSet", "Loader", "load"]
