"""GAN methods as LightningModules that share one training loop."""

from saddlepoint.gans.aae import AAE
from saddlepoint.gans.ati_gan import ATIGAN
from saddlepoint.gans.cgan_pd import CGANPD
from saddlepoint.gans.dag_gan import DAGGAN
from saddlepoint.gans.dcgan import DCGAN, ResNetDCGAN
from saddlepoint.gans.few_shot_hair import FewShotHair, FewShotHairReptile
from saddlepoint.gans.funit import FUNIT
from saddlepoint.gans.game import Game, Player
from saddlepoint.gans.gan import GAN
from saddlepoint.gans.infomax_gan import InfoMaxGAN
from saddlepoint.gans.lsgan import LSGAN
from saddlepoint.gans.ms_gan import MSGAN
from saddlepoint.gans.sagan import SAGAN
from saddlepoint.gans.sngan import SNGAN
from saddlepoint.gans.ss_adv_gan import SSAdvGAN
from saddlepoint.gans.ssgan import SSGAN
from saddlepoint.gans.stargan import StarGAN
from saddlepoint.gans.wgan_gp import WGANGP

__all__ = [
    "AAE",
    "ATIGAN",
    "CGANPD",
    "DAGGAN",
    "DCGAN",
    "FUNIT",
    "GAN",
    "LSGAN",
    "MSGAN",
    "SAGAN",
    "SNGAN",
    "SSGAN",
    "WGANGP",
    "FewShotHair",
    "FewShotHairReptile",
    "Game",
    "InfoMaxGAN",
    "Player",
    "ResNetDCGAN",
    "SSAdvGAN",
    "StarGAN",
]
