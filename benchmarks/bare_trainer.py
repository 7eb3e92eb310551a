"""A trainer that trains and does nothing else, and what it trains on."""

import pytorch_lightning as pl
import torch

from saddlepoint.datamodules.base import DataSpec


def bare_trainer(device: torch.device, callback: pl.Callback) -> pl.Trainer:
    """One epoch on one device, without files or output."""
    return pl.Trainer(
        accelerator=device.type,
        devices=1,
        max_epochs=1,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def spec_of_images() -> DataSpec:
    """What images of noise are, 32 px, without classes."""
    plain = {"name": "noise", "shape": [3, 32, 32], "num_items": 1}
    return DataSpec.from_plain({**plain, "classes": [], "attributes": [], "digest": ""})
