"""Learning with wrong labels: networks fit the signal first and memorise the wrong labels later.

Public names load on first use, so that `import labelnoise` needs neither torch nor SciPy nor matplotlib; which they
are, and their types, stands in `__init__.pyi`.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, _names, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]


def __dir__() -> list[str]:
    return sorted(__all__)
