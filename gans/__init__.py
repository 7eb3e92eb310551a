"""GAN methods as LightningModules that share one training loop."""

from gans.cgan_pd import CGANPD
from gans.dag_gan import DAGGAN
from gans.dcgan import DCGAN, ResNetDCGAN
from gans.game import Game, Player
from gans.gan import GAN
from gans.infomax_gan import InfoMaxGAN
from gans.lsgan import LSGAN
from gans.ms_gan import MSGAN
from gans.sagan import SAGAN
from gans.sngan import SNGAN
from gans.ss_adv_gan import SSAdvGAN
from gans.ssgan import SSGAN
from gans.wgan_gp import WGANGP

__all__ = [
    "CGANPD",
    "DAGGAN",
    "DCGAN",
    "GAN",
    "LSGAN",
    "MSGAN",
    "SAGAN",
    "SNGAN",
    "SSGAN",
    "WGANGP",
    "Game",
    "InfoMaxGAN",
    "Player",
    "ResNetDCGAN",
    "SSAdvGAN",
]
