"""Networks that features come from: torch-fidelity's, and those trained on the data at hand."""
