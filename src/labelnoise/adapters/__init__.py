"""Recording in the training loops of other libraries; each module loads its library when it is used, not before."""
