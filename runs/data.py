"""The real images that a trained run belongs to."""

from typing import Any

from hydra import compose
from hydra.utils import instantiate
from omegaconf import OmegaConf

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.spec import DataSpec
from saddlepoint.errors import UserError
from saddlepoint.runs.resume import merge


def data_of_checkpoint(content: dict[str, Any], data_dir: str | None = None) -> DataModule:
    """Find the data of a checkpoint.

    Args:
        content: of the checkpoint.
        data_dir: where data lie here, if no longer where the run found them.

    Raises:
        UserError: the data are missing, or are not those that the run was trained on.
    """
    config = OmegaConf.create(content["config"])
    if data_dir is not None:
        config = compose("train", overrides=merge(content["overrides"], [f"data_dir={data_dir}"]))
    data = instantiate(config.datamodule, _convert_="all")
    if not data.spec.describes_same_data(DataSpec.from_plain(content["data"])):
        raise UserError(
            f"The data {data.spec.name} here are not those this run was trained on: put them back,"
            " or say where they lie with data_dir=."
        )
    return data
