"""Planted faults: what the probes are worth is shown by what they find. `python -m probes.faults` runs the campaign."""
