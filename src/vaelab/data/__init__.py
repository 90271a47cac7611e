"""Images from any source, prepared once, as batches of tensors."""

from vaelab.data.imageset import SPLITS, ImageSet
from vaelab.data.loader import Batch, Loader
from vaelab.data.store import find_prepared, load

BUILDABLE = (load,)  # what a configuration may name as _target_

__all__ = ["BUILDABLE", "SPLITS", "Batch", "ImageSet", "Loader", "find_prepared", "load"]
