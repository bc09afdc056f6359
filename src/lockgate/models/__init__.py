"""Model formats: MLflow's model directory, its signature, and the flavors that turn its files into answers."""
