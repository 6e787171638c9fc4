"""Learning with wrong labels: networks fit the signal first and memorise the wrong labels later.

Public names load on first use, so that `import labelnoise` needs neither torch nor SciPy nor matplotlib.
"""

__version__ = "0.1.0"
