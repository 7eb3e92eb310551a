"""A trainer that trains and does nothing else."""

import pytorch_lightning as pl
import torch


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
