"""What `simulate` says on the standard output of what it found, and what the page is called."""

import re

import numpy as np
import pytest

from labelnoise.cli import main
from labelnoise.report.page import write_report
from labelnoise.runs.reading import read_run

STRONG = "--n 40 --d 800 --m 3 --mu-norm 14 --lr 0.02 --steps 150 --seeds 0 1 2 --tau-plus 0.1 --tau-minus 0.1"
WEAK = "--n 37 --d 90 --m 3 --mu-norm 3 --tau-plus .1 --tau-minus .4 --lr .05 --steps 60 --seeds 0 1 2"


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize(("flags", "seeds"), [(STRONG, 3), (WEAK, 0)])
def test_the_line_of_a_simulation_says_what_its_summary_holds(tmp_path, capsys, flags, seeds):
    line = ["simulate", *flags.split(), "--n-holdout", "0", "--test-draws", "0", "--out", str(tmp_path / "a")]
    assert main(line) == 0
    said = capsys.readouterr().out.splitlines()[0]
    summary = read_run(tmp_path / "a").summary
    t1 = [stage["t1"] for stage in summary["stages"] if stage["t1"] is not None]
    assert len(t1) == seeds and said.startswith(f"Stage I in {seeds} of 3 seeds")
    stops = summary["stops"]
    errors = {rule: [row["test_error_seen"] for row in stops if row["rule"] == rule] for rule in ("oracle", "last")}
    if seeds:
        assert f"T1 at step {np.mean(t1):.0f} ({min(t1)} to {max(t1)})" in said
        assert f"{np.mean(errors['oracle']):.1%} at T1, {np.mean(errors['last']):.1%} at the end" in said
    else:
        assert "T1 at" not in said and f"seen noise {np.mean(errors['last']):.1%} at the end" in said
    verdicts = [check["verdict"] for check in summary["checks"]]
    held, failed = verdicts.count("holds"), verdicts.count("fails")
    assert f"claims that hold: {held} of {held + failed} that hold or fail" in said
    more, premise = len(verdicts) - held - failed, verdicts.count("premise fails")
    assert f"({more} more cannot be decided: of {premise} the premise fails)" in said
    assert main(line) == 0 and said in capsys.readouterr().out  # of a run that is reused, too
    title = re.search("<h1>(.*)</h1>", write_report(tmp_path / "a").read_text())[1]
    assert title == "The paper&#39;s model: its stages, and which claims hold"  # and none of them is said to
