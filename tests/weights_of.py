"""Weights of every method after a few iterations, as a program: of this version or an earlier one.

    python tests/weights_of.py CONF

Prints {case: digest of all trained weights} as JSON. CONF is the folder of settings; with that of
an earlier version, its folder has to come first on PYTHONPATH. Run it on one thread.

Three things are done as earlier versions did, which round otherwise: spectral norms are computed
one by one (tests/test_joint_spectral_norm.py compares them with those computed together), pools and
upsampling take place outside of convolutions (tests/test_resampling.py), and what is rectified is
rectified once more, so that gradients are summed in the old order.
"""

import contextlib
import hashlib
import json
import logging
import sys
import warnings

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

ITERATIONS = 20
#: What both versions can play, in settings that both understand.
CASES = {
    **{
        name: [f"gan={name}"]
        for name in (
            *("sngan", "ssgan", "infomax_gan", "dag_gan", "ms_gan", "ss_adv_gan", "cgan_pd"),
            *("sagan", "wgan_gp", "dcgan", "lsgan", "dcgan_resnet"),
        )
    },
    "stacked": ["gan=sngan", "network=lite", "terms=[rotation,infomax,dag]"],
    "penalties": ["gan=sngan", "network=lite", "terms=[r1,r2,zero_centred,dag]"],
    "views apart": ["gan=ms_gan", "network=lite", "gan.joint_views=false"],
    "averaged": ["gan=sngan", "network=lite", "gan.ema_half_life_kimg=1"],
    "conditional stack": ["gan=cgan_pd", "network=lite", "terms=[multi_class_match,dag,r1]"],
    "uniform latents": ["gan=sngan", "network=lite", "gan.latent_prior=uniform"],
    "points": ["gan=wgan_gp", "network=mlp", "datamodule=gaussians8"],
}


def parts(config):
    """Data and game of settings, in the way of either version."""
    data = instantiate(config.datamodule, _convert_="all")
    try:
        from runs.build import build_game  # before the folders became one package

        return data, build_game(config, data.spec.shape, data.spec.num_classes)
    except ImportError:
        from saddlepoint.runs.build import build_game

        return data, build_game(config, data.spec)


def round_as_before() -> None:
    """Let every layer do its own: normalise its weight, pool or upsample, rectify its input."""
    with contextlib.suppress(ImportError):  # in earlier versions they do
        from saddlepoint.gans.networks.downsampling import AveragePool
        from saddlepoint.gans.networks.joint_spectral_norm import JointSpectralNorm
        from saddlepoint.gans.networks.resnet_blocks import DiscriminatorBlock
        from saddlepoint.gans.networks.upsampling import UpConvolution, upsample

        rest = DiscriminatorBlock.after_relu
        JointSpectralNorm.computed = lambda *_, **__: contextlib.nullcontext()
        AveragePool.after = lambda pool, conv, x: pool(conv(x))
        UpConvolution.from_nearest = lambda up, x: up.conv(upsample(x, "nearest"))
        DiscriminatorBlock.after_relu = lambda block, _, x: rest(block, torch.relu(x), x)


def digest(game: pl.LightningModule) -> str:
    """SHA-256 over all trained weights and their averages, whatever their names."""
    values = [tensor.detach().contiguous().numpy().tobytes() for tensor in game.parameters()]
    return hashlib.sha256(b"".join(sorted(values))).hexdigest()


def play(overrides: list[str]) -> str:
    """Train from settings for a few iterations; returns the digest."""
    width = [] if "network=mlp" in overrides else ["network.generator.width=8"]
    width += [] if "network=mlp" in overrides else ["network.discriminator.width=8"]
    quick = [f"iterations={ITERATIONS}", "batch_size=4", "gan.precision='32'", "seed=3"]
    config = compose("train", [*overrides, *width, *quick, "gan.channels_last=false"])
    data, game = parts(config)
    batches = getattr(game, "batches_per_iteration", None) or game.real_batches_per_iteration
    data.plan(config.seed, config.batch_size, batches, config.iterations)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(game, data)
    return digest(game)


def main() -> None:
    """Print the digest of every case."""
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    round_as_before()
    with initialize_config_dir(sys.argv[1], version_base="1.3"):
        print(json.dumps({name: play(overrides) for name, overrides in CASES.items()}))


if __name__ == "__main__":
    main()
