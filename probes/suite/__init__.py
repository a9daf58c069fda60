"""The executed suite: probes as pytest functions, run by `python -m probes REQUEST`."""
