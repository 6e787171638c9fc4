from .scales import conditions as conditions
from .scales import stage_one_scale as stage_one_scale
from .verdicts import Check as Check
from .verdicts import checks as checks
