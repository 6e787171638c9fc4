from .claims import Check as Check
from .claims import checks as checks
from .scales import conditions as conditions
from .scales import stage_one_scale as stage_one_scale
