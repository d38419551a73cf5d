"""Settings: what `stellwerk.toml` and the environment say about tiers, workers, prices and storage.

tier.py         one tier, and how its server is started
settings.py     all settings, and `Settings.load()`
declared.py     what was given where: arguments, environment, file
file.py         finding and reading `stellwerk.toml`, and how far it is trusted
environment.py  `STELLWERK_...`
explain.py      errors that name the key, the value and the remedy
"""

from stellwerk.settings.declared import Declared, Origin, config_file
from stellwerk.settings.settings import BudgetSettings, RouterSettings, Settings
from stellwerk.settings.tier import ServeSettings, TierSettings

__all__ = [
    "BudgetSettings",
    "Declared",
    "Origin",
    "RouterSettings",
    "ServeSettings",
    "Settings",
    "TierSettings",
    "config_file",
]
