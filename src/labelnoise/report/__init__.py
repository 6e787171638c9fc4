"""Figures and the page of run directories."""
