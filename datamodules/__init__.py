"""Data sets, served as blocks of reals in an order that is a function of the seed alone."""
