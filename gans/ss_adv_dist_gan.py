"""SS-Adv-GAN on Dist-GAN, which the preprint starts from.

N.-T. Tran, V.-H. Tran, N.-B. Nguyen, N.-M. Cheung. "An Improved Self-supervised GAN via Adversarial
Training", arXiv 1905.05469, 2019.
"""

from saddlepoint.gans.ms_dist_gan import MSDistGAN


class SSAdvDistGAN(MSDistGAN):
    """The game of `MSDistGAN` under the name of the preprint that came before it."""
