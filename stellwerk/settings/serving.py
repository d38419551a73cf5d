"""Settings of serving over HTTP."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stellwerk.settings.tier import ExpandedPath

Algorithm = Literal["HS256", "RS256", "ES256"]


class ServingSettings(BaseModel):
    """How `stellwerk serve` serves, and whom.

    Args:
        host: address to listen on; one that others reach only with keys or tokens.
        port: port to listen on; 0 for any that is free.
        api_keys_file: a file of `name:sha256` lines, as `stellwerk serve key` makes them.
        jwt_key_file: a file with what tokens are checked by: the secret of HS256, else a public key (PEM).
        jwt_algorithm: the one algorithm that tokens may be signed with.
        jwt_issuer: the `iss` that tokens must have.
        jwt_audience: the `aud` that tokens must have.
        max_body_bytes: of a request.
        run_seconds: that a request may run; what is done then is kept, and the run can be resumed.
        max_runs: that run at a time.
        max_runs_per_owner: that run at a time for one owner.
        heartbeat_seconds: between signs of life in a stream in which nothing happens.
        grace_seconds: that running requests have to end after SIGTERM.
        langserve: whether LangServe's routes are served as well; if it is installed, where None.
        playground: whether, with them, a page to try them in a browser is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8080, ge=0, le=65535)
    api_keys_file: ExpandedPath | None = None
    jwt_key_file: ExpandedPath | None = None
    jwt_algorithm: Algorithm | None = None
    jwt_issuer: str | None = Field(None, min_length=1)
    jwt_audience: str | None = Field(None, min_length=1)
    max_body_bytes: int = Field(8_388_608, ge=1_024)
    run_seconds: float = Field(600.0, gt=0, allow_inf_nan=False)
    max_runs: int = Field(32, ge=1)
    max_runs_per_owner: int = Field(8, ge=1)
    heartbeat_seconds: float = Field(15.0, gt=0, allow_inf_nan=False)
    grace_seconds: float = Field(10.0, ge=0, allow_inf_nan=False)
    langserve: bool | None = None
    playground: bool = True

    @property
    def closed(self) -> bool:
        """Whether only those are served who say who they are."""
        return self.api_keys_file is not None or self.jwt_key_file is not None

    @model_validator(mode="after")
    def _tokens_are_declared_whole(self) -> Self:
        told = (self.jwt_key_file, self.jwt_algorithm, self.jwt_issuer, self.jwt_audience)
        if any(each is not None for each in told) and not all(each is not None for each in told):
            raise ValueError(
                "tokens need jwt_key_file, jwt_algorithm, jwt_issuer and jwt_audience; set all four, or none"
            )
        return self
