"""GAN research training: methods that stack, runs that resume bit for bit, honest scores."""
