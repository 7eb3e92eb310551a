"""GAN methods as LightningModules that share one training loop."""

from saddlepoint.gans.aae import AAE
from saddlepoint.gans.ati_gan import ATIGAN
from saddlepoint.gans.cgan_pd import CGANPD
from saddlepoint.gans.dag_gan import DAGGAN
from saddlepoint.gans.dcgan import DCGAN, ResNetDCGAN
from saddlepoint.gans.dist_gan import DistGAN
from saddlepoint.gans.few_shot_hair import FewShotHair
from saddlepoint.gans.few_shot_hair_reptile import FewShotHairReptile
from saddlepoint.gans.funit import FUNIT
from saddlepoint.gans.game import Game, Player
from saddlepoint.gans.gan import GAN
from saddlepoint.gans.gn_gan import GNGAN
from saddlepoint.gans.gradnorm_gan import GradNormGAN
from saddlepoint.gans.infomax_gan import InfoMaxGAN
from saddlepoint.gans.latent_conditioned import LatentConditioned
from saddlepoint.gans.lsgan import LSGAN
from saddlepoint.gans.ms_dist_gan import MSDistGAN
from saddlepoint.gans.ms_gan import MSGAN
from saddlepoint.gans.r1_gan import R1GAN
from saddlepoint.gans.sagan import SAGAN
from saddlepoint.gans.sngan import SNGAN
from saddlepoint.gans.ss_adv_dist_gan import SSAdvDistGAN
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
    "GNGAN",
    "LSGAN",
    "MSGAN",
    "R1GAN",
    "SAGAN",
    "SNGAN",
    "SSGAN",
    "WGANGP",
    "DistGAN",
    "FewShotHair",
    "FewShotHairReptile",
    "Game",
    "GradNormGAN",
    "InfoMaxGAN",
    "LatentConditioned",
    "MSDistGAN",
    "Player",
    "ResNetDCGAN",
    "SSAdvDistGAN",
    "SSAdvGAN",
    "StarGAN",
]
