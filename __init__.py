"""GAN research training: methods that stack, exact resuming, honest scores."""

from saddlepoint.lazy_library import install

install()
