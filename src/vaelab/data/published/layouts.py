"""The published data sets: the files of each, the page that publishes them, their licence, their classes."""

from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits


@dataclass(frozen=True)
class Layout:
    """One published data set; files are named below data_dir, as torchvision lays them out."""

    files: tuple[str, ...]  # what is read
    downloads: tuple[str, ...]  # what is fetched or put there by hand, and then unpacked
    megabytes: int  # of the downloads
    page: str
    licence: str
    classes: tuple[str, ...] = ()
    torchvision: str | None = None  # the class of torchvision.datasets that knows addresses and checksums

    def found(self, root: Path, subset: str | None) -> tuple[Path, ...] | None:
        """The files below a folder, or None unless all are there."""
        files = tuple(root / name.format(subset=subset) for name in self.files)
        return files if all(file.exists() for file in files) else None

    @property
    def folder(self) -> str:
        """Where the downloads lie, below data_dir."""
        return Path(self.downloads[0]).parent.as_posix()


def _idx(folder: str, megabytes: int, page: str, licence: str, classes: str) -> Layout:
    """The layout of MNIST and of those made to replace it: four files of the IDX format."""
    parts = [
        f"{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
    ]
    files = tuple(f"{folder}/raw/{part}" for part in parts)
    downloads = tuple(f"{file}.gz" for file in files)
    return Layout(files, downloads, megabytes, page, licence, tuple(classes.split(", ")), folder)


DIGITS = ", ".join(digits)
EMNIST = tuple(
    f"EMNIST/raw/emnist-{{subset}}-{split}-{kind}-ubyte"
    for split in ("train", "test")
    for kind in ("images-idx3", "labels-idx1")
)
# Cohen et al. 2017: letters counts from 1, merged classes are those whose lower case looks like the upper case.
EMNIST_CLASSES = {
    "byclass": digits + ascii_uppercase + ascii_lowercase,
    "bymerge": digits + ascii_uppercase + "abdefghnqrt",
    "balanced": digits + ascii_uppercase + "abdefghnqrt",
    "letters": ascii_lowercase,
    "digits": digits,
    "mnist": digits,
}
CIFAR10 = tuple(
    f"cifar-10-batches-py/{batch}" for batch in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch")
)
OMNIGLOT = ("omniglot-py/images_background.zip", "omniglot-py/images_evaluation.zip")
SVHN = ("train_32x32.mat", "test_32x32.mat")
CELEBA = tuple(
    f"celeba/{name}" for name in ("img_align_celeba.zip", "list_attr_celeba.txt", "list_eval_partition.txt")
)
DSPRITES = ("dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",)
SHAPES3D = ("3dshapes.h5",)

LAYOUTS = {
    "mnist": _idx("MNIST", 12, "https://ossci-datasets.s3.amazonaws.com/mnist/", "CC BY-SA 3.0", DIGITS),
    "fashion_mnist": _idx(
        "FashionMNIST", 31, "https://github.com/zalandoresearch/fashion-mnist", "MIT",
        "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot",
    ),
    "kmnist": _idx(
        "KMNIST", 21, "https://github.com/rois-codh/kmnist", "CC BY-SA 4.0",
        "o, ki, su, tsu, na, ha, ma, ya, re, wo",
    ),
    "emnist": Layout(
        EMNIST, ("EMNIST/raw/gzip.zip",), 562, "https://www.nist.gov/itl/products-and-services/emnist-dataset",
        "none stated; made of NIST Special Database 19", torchvision="EMNIST",
    ),
    "omniglot": Layout(
        OMNIGLOT, OMNIGLOT, 16, "https://github.com/brendenlake/omniglot", "MIT", torchvision="Omniglot"
    ),
    "svhn": Layout(
        SVHN, SVHN, 246, "http://ufldl.stanford.edu/housenumbers/", "non-commercial use only",
        tuple(digits), "SVHN",
    ),
    "cifar10": Layout(
        CIFAR10, ("cifar-10-python.tar.gz",), 171, "https://www.cs.toronto.edu/~kriz/cifar.html", "none stated",
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"), "CIFAR10",
    ),
    "celeba": Layout(
        CELEBA, CELEBA, 1471, "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        "non-commercial research only", torchvision="CelebA",
    ),
    "stl10": Layout(
        tuple(f"stl10_binary/{part}.bin" for part in ("train_X", "train_y", "test_X", "test_y")),
        ("stl10_binary.tar.gz",), 2640, "https://cs.stanford.edu/~acoates/stl10/",
        "none stated; images of ImageNet, for non-commercial research",
        ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"), "STL10",
    ),
    "dsprites": Layout(
        DSPRITES, DSPRITES, 27, "https://github.com/google-deepmind/dsprites-dataset", "zlib/libpng",
        ("square", "ellipse", "heart"),
    ),
    "shapes3d": Layout(
        SHAPES3D, SHAPES3D, 268, "https://github.com/google-deepmind/3d-shapes", "Apache 2.0",
        ("cube", "cylinder", "sphere", "capsule"),
    ),
}  # fmt: skip
