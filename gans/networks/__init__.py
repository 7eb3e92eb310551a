"""Generators and discriminators: pure modules, parametrised by image shape and width."""
