"""Label noise: models, flips, label files, and their words on the command line."""
