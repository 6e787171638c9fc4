"""The words on the page that are the same for every audit: titles, what it does not see, terms, what its files hold."""

from __future__ import annotations

from labelnoise.audit.chances import MOST

TITLE = "Which labels are probably wrong"
LOOK = "Labels that a model rejects before it memorises them are probably wrong."
MARGINS = (
    "What to look for: before the stop the suspects lie below 0, where the model rejects their given label, and the "
    "rest above; suspects that rise later are memorised, and those that were held out stay below. "
)

HELD = (
    "held the true number in 91 to 100% of audits where that is known, in fewer where a model errs a lot: "
    "docs/detection.md in the sources"
)
"""How often the interval holds what it should: the least and the largest share of both halves of the harness and of the
audits with folds."""

CANNOT = (
    ("Wrong labels that are the rule in a part of a class", "The model learns them as if they were right: no label "
     "there looks wrong. Look at some samples of each class yourself."),
    ("Wrong labels that are learnt early", "Errors that follow a pattern that it finds easy (a watermark, a word, "
     "a source) are fitted before the stop."),
    ("Right labels of rare or hard samples", "The model errs on them, and some are flagged: a suspect is to be "
     "reviewed, not deleted."),
    ("Classes that overlap", "Where the samples do not tell the classes apart, right labels contradict the model, too, "
     "and count as wrong: where much is contradicted the interval begins at none, and the number may be too high."),
    ("More wrong labels than right ones", "Then the model learns the wrong ones, and wrong and right look alike."),
    ("Samples that belong to no class, or to several", "One of the classes is suggested all the same."),
)  # fmt: skip
"""What an audit does not see, and why."""

WORDS = {
    "Suspect": "a flagged sample: one of the most suspicious, as many as labels are estimated to be wrong, unless "
    "another decision was asked for.",
    "Confidence": "the estimated chance that the given label is wrong; over all samples they add up to the estimated "
    f"number of wrong labels. At most {100 * MOST:.0f}% is given, which many may have alike: of the labels that have "
    "it 92 to 93% were wrong where that is known.",
    "Held out": "not trained on, so that a wrong label cannot have been memorised.",
    "The stop": "the epoch (the stage of boosting, else the pass over the data) at which the loss of held-out samples "
    "is least: what is learnt later may be memorised.",
    "Margin": "how far the given label leads before the best other class, in log-odds; below 0 the model predicts that "
    "one.",
}
SUSPECTS = {
    "": "a row a sample, the most suspicious first",
    "index": "its position in the data, from 0",
    "given, suggested": "its label, and the class that the model predicts around the stop: the same where it accepts "
    "the label",
    "score": "larger is more suspicious",
    "confidence": f"the estimated chance that the given label is wrong, at most {MOST:g}",
    "flagged": "whether it is a suspect",
    "file": "its file, where there is one",
    "the last column": "the identifier of the row, where the table has one, under the name of its column (with "
    "_in_data behind it where a column above has this name)",
}
HISTORY = {
    "": "a row an epoch, pass or stage; none of a recorder without history",
    "suspects_low, suspects_median, suspects_high": "5%, 50% and 95% quantile of the suspects' margins",
    "rest_low, rest_median, rest_high": "the same of all others",
}

UNDECIDED_TITLE = "Nothing can be decided about these labels"
"""Of an audit that could decide nothing, as what follows."""
UNDECIDED_LOOK = (
    "No label is said to be right or wrong here, and none is flagged: the notes say why, and what helps. Below is a "
    "ranking alone, whose order may be chance."
)
UNDECIDED_MARGINS = "How the margins of all samples go along training. "
UNDECIDED_WORDS = {name: WORDS[name] for name in ("Held out", "The stop", "Margin")}
UNDECIDED_SUSPECTS = {
    **SUSPECTS,
    "": "a row a sample, by its score; a ranking alone, whose order may be chance",
    "given, suggested": "its label, and the class that the model predicts around the stop",
    "score": "by what the rows are ordered, the largest first",
    "confidence": "empty: nothing can be decided",
    "flagged": "False throughout: nothing can be decided",
}
