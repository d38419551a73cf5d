"""All settings, typed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

import platformdirs
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from stellwerk.errors import ConfigurationError
from stellwerk.settings.cache import CacheSettings
from stellwerk.settings.conversion import ConversionSettings
from stellwerk.settings.declared import Declared, declare
from stellwerk.settings.errors import ErrorSettings
from stellwerk.settings.explain import explain, near
from stellwerk.settings.observability import ObservabilitySettings
from stellwerk.settings.people import PeopleSettings
from stellwerk.settings.planning import PlanningSettings
from stellwerk.settings.router import RouterSettings
from stellwerk.settings.serving import ServingSettings
from stellwerk.settings.tier import ExpandedPath, TierSettings, read_secret

# `extract`, or `package.module:worker`.
WORKER = r"^[a-z_][a-z0-9_]*$|^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"


class BudgetSettings(BaseModel):
    """Limits of each subtask.

    Args:
        attempts: at most this many; one per tier if None.
        seconds: that its calls may take, with what they wait; no limit if None.
        usd: that it may cost; no limit if None.
        tokens: that its calls may read and write; no limit if None.
        calls: of models that it may make; no limit if None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    attempts: int | None = Field(None, ge=1)
    seconds: float | None = Field(None, gt=0, allow_inf_nan=False)
    usd: float | None = Field(None, gt=0, allow_inf_nan=False)
    tokens: int | None = Field(None, ge=1)
    calls: int | None = Field(None, ge=1)


class RunBudgetSettings(BaseModel):
    """Limits of each run.

    Args:
        seconds: that it may work; no limit if None.
        usd: that it may cost; no limit if None.
        tokens: that its calls may read and write; no limit if None.
        calls: of models that it may make; no limit if None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    seconds: float | None = Field(None, gt=0, allow_inf_nan=False)
    usd: float | None = Field(None, gt=0, allow_inf_nan=False)
    tokens: int | None = Field(None, ge=1)
    calls: int | None = Field(None, ge=1)


class Settings(BaseSettings):
    """All settings. Built directly it holds what it is given; `Settings.load()` reads environment and file.

    Args:
        tiers: cheapest first; empty for the embedded ladder.
        models: of the embedded ladder, smallest first.
        workers: names of ready-made workers and import paths of your own; the default ones if empty.
        router: which router picks the tiers.
        planning: when the planner is asked.
        errors: what workers do about failures.
        people: when a run waits for a person.
        cache: whether accepted answers are kept and found again.
        conversion: what is collected of runs, and for how long.
        budget: limits of each subtask.
        run_budget: limits of each run.
        observability: who is told of runs while they go on.
        serve: who is served over HTTP, and how much.
        database: the SQLite file that holds runs, so that they can be resumed.
        database_url: another database to hold them instead, as `postgresql://user:password@host/name`.
        database_url_file: a file that holds that URL and nothing else.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    tiers: tuple[TierSettings, ...] = ()
    models: tuple[str, ...] = Field(
        ("smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"), min_length=1
    )
    workers: tuple[Annotated[str, Field(pattern=WORKER)], ...] = ()
    router: RouterSettings = RouterSettings()
    planning: PlanningSettings = PlanningSettings()
    errors: ErrorSettings = ErrorSettings()
    people: PeopleSettings = PeopleSettings()
    cache: CacheSettings = CacheSettings()
    conversion: ConversionSettings = ConversionSettings()
    budget: BudgetSettings = BudgetSettings()
    run_budget: RunBudgetSettings = RunBudgetSettings()
    observability: ObservabilitySettings = ObservabilitySettings()
    serve: ServingSettings = ServingSettings()
    database: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
        default_factory=lambda: platformdirs.user_data_path("stellwerk", appauthor=False) / "runs.sqlite"
    )
    database_url: SecretStr | None = None
    database_url_file: ExpandedPath | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **named: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given; `declare` reads the rest, as it has to know where each value came from."""
        return (init_settings,)

    @property
    def place(self) -> str | Path:
        """Where runs are kept: a URL, whose password is in it, or a file.

        Raises:
            ConfigurationError: if `database_url_file` cannot be read.
        """
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        if self.database_url_file is not None:
            return read_secret(self.database_url_file, "the database takes its URL").get_secret_value()
        return self.database

    @property
    def embedded_models(self) -> tuple[str, ...]:
        """Embedded models that a run may need, in the order of the ladder."""
        if not self.tiers:
            return self.models
        return tuple(tier.model for tier in self.tiers if tier.kind == "embedded")

    def tier(self, name: str) -> TierSettings:
        """The settings of the tier of that name.

        Raises:
            ConfigurationError: naming the tiers that there are.
        """
        for tier in self.tiers:
            if tier.name == name:
                return tier
        names = [tier.name for tier in self.tiers]
        known = f"tiers: {', '.join(names)}" if names else "no tier is configured (see docs/settings.md)"
        raise ConfigurationError(f"there is no tier {name!r}; {near(name, names)}{known}")

    @classmethod
    def load(cls, **values: Any) -> Self:
        """Settings from file and environment; `values` go first.

        Raises:
            ConfigurationError: naming the setting, where it stands, the value found, and what to do.
        """
        return cls.read(declare(cls, values))

    @classmethod
    def read(cls, declared: Declared) -> Self:
        """Settings from what was declared, checked.

        Raises:
            ConfigurationError: as `load`.
        """
        said = None
        try:
            return cls(**declared.values)
        except ValidationError as error:
            said = explain(cls, error, declared)
        # Not inside `except`: the error would carry the input, which may be secret, as its context.
        raise ConfigurationError(said)
