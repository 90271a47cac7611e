"""Many runs: how they are spread over a machine, in which processes, and what is said of them."""

import sys

from vaelab import SweepPackage

sys.modules[__name__].__class__ = SweepPackage
