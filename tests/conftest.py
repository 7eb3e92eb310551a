import os
from functools import partial

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

os.environ["WANDB_MODE"] = "offline"
os.environ["HYDRA_FULL_ERROR"] = "1"
torch.set_num_threads(1)  # tiny networks: threads would only wait for each other


@pytest.fixture(autouse=True)
def _no_hydra_left_over():
    yield
    GlobalHydra.instance().clear()


@pytest.fixture(autouse=True)
def _same_random_numbers_for_every_test():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def stages_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture
def conditioned(stages_folder):
    """Makes data with conditions; what one test has made is found again by those that follow."""
    from conditioned_faces import after_both_stages

    return partial(after_both_stages, stages_folder)
