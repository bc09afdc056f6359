"""One file a flavor: how the files of a model directory become something that predicts."""
