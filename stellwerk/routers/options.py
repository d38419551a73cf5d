"""Options of training a router's model."""

from __future__ import annotations

from dataclasses import dataclass

from stellwerk.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOptions:
    """How a router's model is trained.

    Args:
        holdout: share of the episodes that is kept out of training, to measure the model and to set a floor
            on.
        folds: parts of the training episodes; what is joined and calibrated was predicted from the other
            parts.
        least: training episodes without which there is no model.
        most: episodes that are trained on; of more, a random sample is.
        cases: held-out episodes that are kept; of more, a random sample is.
        terms: words, pairs of words and pieces of words to know.
        common: dimensions of the space in which texts are compared.
        landmarks: past contexts that new ones are compared with.
        trees: decision trees over what is counted and over the space of texts.
        clip: bound of the weight 1 / propensity of an outcome in an episode that is not complete.
        unlabelled: weight of an accepted answer of which nobody said whether it is right.
        neighbours: past contexts that are kept to explain decisions with.
        instructions: whether the beginnings of their instructions are kept too, where traces have them.

    Raises:
        ConfigurationError: if an option is out of its range.
    """

    holdout: float = 0.25
    folds: int = 5
    least: int = 20
    most: int = 20_000
    cases: int = 10_000
    terms: int = 40_000
    common: int = 100
    landmarks: int = 1_000
    trees: int = 100
    clip: float = 10.0
    unlabelled: float = 0.2
    neighbours: int = 2_000
    instructions: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.holdout < 1:
            raise ConfigurationError(f"holdout is {self.holdout}; it is a share of 0 or more, below 1")
        if not 0 <= self.unlabelled <= 1:
            raise ConfigurationError(f"unlabelled is {self.unlabelled}; it is a weight from 0 to 1")
        if not self.clip >= 1:
            raise ConfigurationError(f"clip is {self.clip}; a weight of 1 / propensity is never below 1")
        for name, least in (
            ("folds", 2),
            ("least", 10),
            ("most", 10),
            ("terms", 2),
            ("common", 1),
            ("trees", 1),
        ):
            if getattr(self, name) < least:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        for name in ("cases", "landmarks", "neighbours"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; it must be at least 0")
