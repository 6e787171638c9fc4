"""Training on noisy labels with every sample followed, and attribution."""
