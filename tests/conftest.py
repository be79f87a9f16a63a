"""Shapes and types that the detector's annotations promise are checked at run time in every test.

The hook has to be in place before a module of the detector is imported, hence here.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

from tests import typechecking

CHECKED = (
    "yolox_core.assigners",
    "yolox_core.boxes",
    "yolox_core.coding",
    "yolox_core.detector",
    "yolox_core.models.heads",
    "yolox_core.losses",
    "yolox_core.models",
    "yolox_core.postprocess",
    "yolox_core.structures",
)

install_import_hook(CHECKED, f"{typechecking.__name__}.checked")

# The same examples on every run, and no time limits: machines differ.
settings.register_profile(
    "reproducible", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("reproducible")
