"""The main job: the experiments that make the report."""
