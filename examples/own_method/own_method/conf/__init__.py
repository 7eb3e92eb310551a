"""YAMLs of this package, for hydra.searchpath=[pkg://own_method.conf]."""
