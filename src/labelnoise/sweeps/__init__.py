"""Grids, random points and refined boundaries of runs of the paper's model, on local cores or on a cluster."""
