"""GAN methods as LightningModules that share one training loop."""

from gans.cgan_pd import CGANPD
from gans.dcgan import DCGAN, ResNetDCGAN
from gans.game import Game, Player
from gans.gan import GAN
from gans.lsgan import LSGAN
from gans.sagan import SAGAN
from gans.sngan import SNGAN
from gans.ssgan import SSGAN
from gans.wgan_gp import WGANGP

__all__ = [
    *("GAN", "Game", "Player"),
    *("CGANPD", "DCGAN", "LSGAN", "SAGAN", "SNGAN", "SSGAN", "WGANGP", "ResNetDCGAN"),
]
