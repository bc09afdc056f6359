"""Watching what production serves: windows over the prediction log, drift, performance, health and alerts."""
