"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from splatview.gaussians import Gaussians, Kind

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch comes: its threads would spin on cores that other tests need
settings.register_profile("splatview", deadline=None, derandomize="CI" in os.environ)  # tests share two cores
settings.load_profile("splatview")


@pytest.fixture(scope="session", autouse=True)
def state_home_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that a test does is remembered in the home of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real scenes: $SPLATVIEW_DATA, or shared/data beside the checkout."""
    folder = Path(os.environ.get("SPLATVIEW_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}: set SPLATVIEW_DATA to the folder that holds splats/ and conformance/")
    return folder


@pytest.fixture(scope="session")
def tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folders of tiny diffusion models, saved as diffusers saves them, each made when it is first asked for: see tiny_diffusion.write."""
    import tiny_diffusion  # here: it takes torch and more

    folder = tmp_path_factory.mktemp("models")

    @cache
    def made(family: str = "turbo") -> Path:
        return tiny_diffusion.write(folder / family, family)

    return made


@pytest.fixture(scope="session")
def random_gaussians() -> Callable[..., Gaussians]:
    """Makes Gaussians like trained ones: quaternions of any length, opacities up to the ends, colours a little out of range."""

    def make(count: int = 1000, degree: int = 3, seed: int = 0, kind: Kind = "classic") -> Gaussians:
        rng = np.random.default_rng(seed)
        sh = rng.normal(0, 0.2, (count, (degree + 1) ** 2, 3))
        sh[:, 0] = rng.normal(0, 1, (count, 3))
        return Gaussians(
            rng.normal(0, 3, (count, 3)), rng.normal(size=(count, 4)), rng.normal(-4, 1.5, (count, 3)), rng.normal(0, 4, count), sh, kind
        )

    return make
