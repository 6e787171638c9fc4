"""Real images with given labels, and networks for them."""
