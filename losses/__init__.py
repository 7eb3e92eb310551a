"""Adversarial losses, gradient penalties, and the terms that stack on any GAN."""
