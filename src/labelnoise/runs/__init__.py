"""Run directories: whole files, settings as JSON, kinds of runs, and reading them back."""
