import os
import sys

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores: before numpy counts them
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest

# A deadline measures the machine, not the code. CI draws fewer examples, the same ones each time.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=25, derandomize=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "default"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """What a test records leaves a worker process as plain numbers and words, not as numpy's."""
    item.user_properties[:] = [
        (name, value.item() if isinstance(value, np.generic) else value) for name, value in item.user_properties
    ]


@pytest.fixture(autouse=True)
def same_weights() -> None:
    """A network drawn in a test is the same whichever worker runs it, and after whichever others."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
