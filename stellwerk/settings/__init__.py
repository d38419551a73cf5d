"""Settings: what `stellwerk.toml` and the environment say about tiers, workers, prices and storage.

tier.py         one tier, and how its server is started
router.py       the router and its goal
planning.py     when the planner is asked
errors.py       what workers do about failures
cache.py        answers that are found again
conversion.py   what is collected of runs, and for how long
people.py       what people are asked
observability.py who is told of runs
serving.py      who is served over HTTP, and how much
settings.py     all settings, and `Settings.load()`
declared.py     what was given where: arguments, environment, file
file.py         finding and reading `stellwerk.toml`, and how far it is trusted
environment.py  `STELLWERK_...`
explain.py      errors that name the key, the value and the remedy
"""

from stellwerk.settings.cache import CacheSettings
from stellwerk.settings.conversion import ConversionSettings
from stellwerk.settings.declared import Declared, Origin, config_file
from stellwerk.settings.errors import ErrorSettings, WorkerErrorSettings
from stellwerk.settings.observability import ObservabilitySettings
from stellwerk.settings.people import PeopleSettings
from stellwerk.settings.planning import PlanningSettings
from stellwerk.settings.router import RouterSettings
from stellwerk.settings.serving import ServingSettings
from stellwerk.settings.settings import BudgetSettings, RunBudgetSettings, Settings
from stellwerk.settings.tier import ServeSettings, TierSettings

__all__ = [
    "BudgetSettings",
    "CacheSettings",
    "ConversionSettings",
    "Declared",
    "ErrorSettings",
    "ObservabilitySettings",
    "Origin",
    "PeopleSettings",
    "PlanningSettings",
    "RouterSettings",
    "RunBudgetSettings",
    "ServeSettings",
    "ServingSettings",
    "Settings",
    "TierSettings",
    "WorkerErrorSettings",
    "config_file",
]
