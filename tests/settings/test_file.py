import os
import traceback
from pathlib import Path

import pytest

from stellwerk.error_policy import RETRYABLE
from stellwerk.errors import ConfigurationError
from stellwerk.settings import (
    BudgetSettings,
    CacheSettings,
    ErrorSettings,
    PeopleSettings,
    PlanningSettings,
    RouterSettings,
    ServeSettings,
    Settings,
    TierSettings,
    WorkerErrorSettings,
    config_file,
)
from tests.settings.conftest import WriteToml

TIERS = """
[tiers.small]
kind = "vllm"
model = "Qwen/Qwen2.5-3B-Instruct"
url = ["http://127.0.0.1:8000/v1", "http://127.0.0.1:8001/v1"]
max_concurrency = 64

[tiers.large]
model = "gpt-4.1"
api_key_env = "OPENAI_API_KEY"
"""


def refusal() -> str:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None  # it would hold what is secret
    return str(caught.value)


def test_tables_are_tiers_in_the_order_of_the_file(toml: WriteToml) -> None:
    toml(TIERS)
    small, large = Settings.load().tiers
    assert (small.name, small.kind, small.max_concurrency) == ("small", "vllm", 64)
    assert small.url == ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8001/v1")
    assert (large.name, large.kind, large.base_url) == ("large", "openai", None)


def test_everything_else_that_a_file_may_say(toml: WriteToml, tmp_path: Path) -> None:
    toml("""
    database = "state/runs.sqlite"
    workers = ["extract", "my_package.workers:invoice_worker"]
    models = ["smollm2-135m"]
    router = {name = "smallest-first", start = {extract = "large"}}
    planning = {replans = 2, reuse_plans = true}
    people = {approve = ["extract"], ask = true}
    cache = {ttl = 3600}
    budget = {attempts = 3, seconds = 60, usd = 0.01}
    [errors]
    retries = 2
    retry_on = ["timeout"]
    [errors.workers.extract]
    on_failure = "substitute"
    substitute = {answer = ["nothing"]}
    """)
    settings = Settings.load()
    assert settings.place == tmp_path / "state" / "runs.sqlite"
    assert settings.workers == ("extract", "my_package.workers:invoice_worker")
    assert settings.models == ("smollm2-135m",)
    assert settings.router.start == {"extract": "large"}
    assert settings.planning == PlanningSettings(replans=2, reuse_plans=True)
    assert settings.people == PeopleSettings(approve=("extract",), ask=True)
    assert settings.cache == CacheSettings(ttl=3600)
    assert settings.budget == BudgetSettings(attempts=3, seconds=60, usd=0.01)
    assert settings.errors.given() == {"retries": 2, "retry_on": ("timeout",)}
    assert settings.errors.workers["extract"].given() == {
        "on_failure": "substitute",
        "substitute": {"answer": ["nothing"]},
    }


def test_nothing_of_it_is_on_unless_it_is_set() -> None:
    settings = Settings.load()
    assert settings.planning == PlanningSettings(replans=0, reuse_plans=False)
    assert settings.people == PeopleSettings(approve=(), ask=False)
    assert settings.cache.ttl is None
    assert settings.errors.given() == {}
    assert set(settings.errors.retry_on) == RETRYABLE


class TestPrecedence:
    def test_one_value_of_a_tier_from_the_environment(
        self, toml: WriteToml, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        toml(TIERS)
        monkeypatch.setenv("STELLWERK_TIERS__SMALL__MAX_CONCURRENCY", "8")
        monkeypatch.setenv("STELLWERK_TIERS__SMALL__URL", '["http://127.0.0.1:9/v1"]')
        monkeypatch.setenv("STELLWERK_TIERS__LARGE__SERVE__PORT", "9000")
        small, large = Settings.load().tiers
        assert (small.max_concurrency, small.url) == (8, ("http://127.0.0.1:9/v1",))
        assert small.kind == "vllm"
        assert large.serve.port == 9000

    def test_one_value_of_a_worker_from_the_environment(
        self, toml: WriteToml, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        toml("[errors]\nretries = 1\n[errors.workers.extract]\nretries = 2\nrun_timeout = 9")
        monkeypatch.setenv("STELLWERK_ERRORS__WORKERS__EXTRACT__RETRIES", "3")
        monkeypatch.setenv("STELLWERK_ERRORS__WORKERS__LOOK_UP__RETRIES", "4")
        monkeypatch.setenv("STELLWERK_PLANNING__REPLANS", "5")
        monkeypatch.setenv("STELLWERK_CACHE__TTL", "60")
        settings = Settings.load()
        given = {name: policy.given() for name, policy in settings.errors.workers.items()}
        assert given == {"extract": {"retries": 3, "run_timeout": 9.0}, "look_up": {"retries": 4}}
        assert (settings.errors.retries, settings.planning.replans, settings.cache.ttl) == (1, 5, 60.0)

    def test_whole_settings_of_the_environment_replace_those_of_the_file(
        self, toml: WriteToml, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        toml(TIERS)
        monkeypatch.setenv("STELLWERK_TIERS", '[{"name": "only", "model": "m"}]')
        assert [tier.name for tier in Settings.load().tiers] == ["only"]
        monkeypatch.setenv("STELLWERK_TIERS", '{"first": {"model": "m"}, "second": {"model": "n"}}')
        assert [tier.name for tier in Settings.load().tiers] == ["first", "second"]

    def test_arguments_go_before_the_environment_and_that_before_the_file(
        self, toml: WriteToml, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        toml('models = ["of-the-file"]')
        assert Settings.load().models == ("of-the-file",)
        monkeypatch.setenv("STELLWERK_MODELS", '["of-the-environment"]')
        assert Settings.load().models == ("of-the-environment",)
        assert Settings.load(models=("of-the-arguments",)).models == ("of-the-arguments",)

    def test_a_path_of_the_environment_is_not_outdone_by_a_url_of_the_file(
        self, toml: WriteToml, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        toml('database_url = "postgresql://host/runs"')
        assert Settings.load().place == "postgresql://host/runs"
        monkeypatch.setenv("STELLWERK_DATABASE", "/elsewhere.sqlite")
        assert Settings.load().place == Path("/elsewhere.sqlite")
        monkeypatch.setenv("STELLWERK_DATABASE_URL", "mysql://host/runs")
        assert Settings.load().place == "mysql://host/runs"
        assert Settings.load(database="mine.sqlite").place == Path("mine.sqlite")

    def test_a_variable_for_a_tier_that_is_not_there_is_an_error(
        self, toml: WriteToml, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        toml(TIERS)
        monkeypatch.setenv("STELLWERK_TIERS__SMAL__TIMEOUT", "8")
        said = "no tier is called 'smal'; did you mean small? tiers: small, large"
        assert refusal() == f"STELLWERK_TIERS__SMAL__TIMEOUT: {said}"

    def test_a_misspelt_variable_of_a_tier_is_an_error(
        self, toml: WriteToml, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        toml(TIERS)
        monkeypatch.setenv("STELLWERK_TIER__SMALL__TIMEOUT", "8")
        assert "did you mean STELLWERK_TIERS__SMALL__TIMEOUT?" in refusal()

    def test_a_wrong_value_is_told_with_its_variable(
        self, toml: WriteToml, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        toml(TIERS)
        monkeypatch.setenv("STELLWERK_TIERS__SMALL__TIMEOUT", "soon")
        assert refusal() == (
            "STELLWERK_TIERS__SMALL__TIMEOUT: Input should be a valid number, unable to parse string as a "
            "number (found 'soon')"
        )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tires = []", "tires: there is no such key; did you mean tiers? keys: tiers, models, workers"),
        (
            "[tiers.small]\nmodle = 'm'\nmodel = 'm'",
            "tiers.small.modle: there is no such key; did you mean model? keys: name, kind, model",
        ),
        (
            "[tiers.small]\nmodel = 'm'\n[tiers.small.serve]\ntool_parsr = 'hermes'",
            "tiers.small.serve.tool_parsr: there is no such key; did you mean tool_parser? keys: executable",
        ),
        ("[router]\nnam = 'fixed'", "router.nam: there is no such key; did you mean name? keys: name, start"),
        ("[budget]\nattempts = 0", "budget.attempts: Input should be greater than or equal to 1 (found 0)"),
        ("[tiers.small]\nmodel = 5", "tiers.small.model: Input should be a valid string (found 5)"),
        ("[tiers.small]\nkind = 'vllm'", "tiers.small.model: it is missing"),
        ("[tiers.small]\nmodel = 'm'\nkind = 'vllm'", "tiers.small: a vllm tier needs a url"),
        ("[tiers.small]\nmodel = 'm'\nkind = 'tgi'", "tiers.small.kind: Input should be 'openai', 'vllm' or"),
        (
            "[tiers.small]\nmodel = 'm'\nurl = 'localhost:8000'",
            "tiers.small.url.0: it should look like http://127.0.0.1:8000/v1, without user, password, query "
            "or fragment (found 'localhost:8000')",
        ),
        ("[tiers.small]\nname = 'big'\nmodel = 'm'", "tiers.small.name: the name of the table is the tier's"),
        ("tiers = 5", "tiers should be tables, as [tiers.small]"),
        ("[tiers]\nsmall = 5", "tiers.small should be a table, as [tiers.small]"),
        (
            "workers = ['My Worker']",
            'workers.0: it should be the name of a ready-made worker, or "package.mo',
        ),
        (
            "[tiers.e]\nkind = 'embedded'\nmodel = 'm'\nurl = 'http://a'",
            "tiers.e: an embedded tier runs in th",
        ),
        (
            "[tiers.e]\nkind = 'embedded'\nmodel = 'm'\nmax_concurrency = 4",
            "tiers.e: embedded tiers answer one call at a time and have no max_concurrency; remove it",
        ),
        (
            "[tiers.e]\nkind = 'embedded'\nmodel = 'm'\nrequests_per_minute = 60",
            "tiers.e: embedded tiers answer one call at a time and have no requests_per_minute; remove it",
        ),
        (
            "[tiers.a]\nmodel = 'm'\npriced_as = 'openai/gpt-4'",
            "tiers.a.priced_as: the price list has no such en",
        ),
        ("[tiers.a]\nmodel = 'm'\nbase_url = 'http://a'\nurl = 'http://b'", "tiers.a: base_url is the older"),
        ("[router]\nname = 'fixed'", 'router: the router "fixed" needs a tier'),
        ("[router]\nname = 'fixed'\ntier = 'a'\nexplore = 0.1", "takes neither start nor explore"),
        ("[router]\nname = 'learned'", "usd_per_failure or usd_per_subtask; found none"),
        (
            "[router]\nname = 'learned'\nquality_floor = 0.9\nusd_per_failure = 1",
            "found quality_floor and usd_per_failure",
        ),
        ("[router]\nquality_floor = 0.9", 'quality_floor is for the router "learned"'),
        ("[router]\nshadow = true", "found none"),
        (
            "[router]\nname = 'learned'\nusd_per_failure = 1\ncoverage = 0.5",
            "coverage belongs to quality_floor",
        ),
        ("[router]\nexplore = 2", "router.explore"),
        ("[planning]\nreplans = 11", "planning.replans: Input should be less than or equal to 10 (found 11)"),
        ("[planning]\nreuse = true", "planning.reuse: there is no such key; did you mean reuse_plans?"),
        ("[cache]\nttl = 0", "cache.ttl: Input should be greater than 0 (found 0)"),
        ("[errors]\nretries = 21", "errors.retries: Input should be less than or equal to 20 (found 21)"),
        ("[errors]\nretry_on = ['check']", "errors.retry_on.0: Input should be 'unavailable', 'timeout'"),
        ("[errors]\non_failure = 'substitute'", "errors.on_failure: Input should be 'skip' or 'fail' (found"),
        ("[errors]\nidle_timeout = inf", "errors.idle_timeout: Input should be a finite number"),
        (
            "[errors.extract]\nretries = 1",
            "errors.extract: there is no such key; one worker has [errors.workers.extract]",
        ),
        (
            "[errors.workers.extract]\nretires = 1",
            "errors.workers.extract.retires: there is no such key; did you mean retries? keys: retries, ret",
        ),
        (
            "[errors.workers.extract]\non_failure = 'substitute'",
            'errors.workers.extract: on_failure = "substitute" goes with a substitute; give both, or neither',
        ),
        ("models = [", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(toml: WriteToml, text: str, said: str) -> None:
    path = toml(text)
    message = refusal()
    assert message.startswith(str(path))
    assert said in message


def test_all_that_is_wrong_is_told_at_once_and_misspelt_keys_first(toml: WriteToml) -> None:
    path = toml("[tiers.small]\nmodle = 'm'\nmax_concurrency = 0\n[budget]\natempts = 3")
    told = [line.removeprefix(f"{path}: ") for line in refusal().splitlines()]
    expected = (
        "tiers.small.modle: there is no such key; did you mean model? keys: ",
        "budget.atempts: there is no such key; did you mean attempts? keys: attempts, seconds, usd",
        "tiers.small.model: it is missing",
        "tiers.small.max_concurrency: Input should be greater than or equal to 1 (found 0)",
    )
    assert [line[: len(start)] for line, start in zip(told, expected, strict=True)] == list(expected)


class TestSecrets:
    @pytest.mark.parametrize(
        "line",
        [
            'api_key = "sk-Secret123"',
            'token = "Secret123"',
            'api_key_env = "sk-Secret123"',
            'url = "https://user:Secret123@host/v1"',
            'url = "https://host/v1?key=Secret123"',
            'model = {name = "Secret123"}',
            'timeout = "sk-Secret123"',
            'serve = {arguments = ["--api-key=Secret123"]}',
            'serve = {environment = {HF_TOKEN = "Secret123"}}',
            'headers = {Authorization = "Bearer Secret123"}',
        ],
    )
    def test_a_secret_in_the_wrong_place_is_refused_and_not_shown(self, toml: WriteToml, line: str) -> None:
        path = toml(f"[tiers.small]\n{line}\n" + ("" if line.startswith("model") else 'model = "m"\n'))
        message = refusal()
        assert message.startswith(f"{path}: tiers.small")
        assert "Secret123" not in message

    def test_a_literal_key_is_told_what_to_do_instead(self, toml: WriteToml) -> None:
        toml('[tiers.my-small]\nmodel = "m"\napi_key = "sk-Secret123"')
        assert 'name the variable: api_key_env = "MY_SMALL_API_KEY" (or a file' in refusal()

    def test_a_password_of_the_database_is_refused_and_not_shown(self, toml: WriteToml) -> None:
        toml('database_url = "postgresql://me:Secret123@host/runs"')
        message = refusal()
        assert "Secret123" not in message
        assert "database_url_file" in message

    def test_syntax_errors_do_not_show_the_line(self, toml: WriteToml) -> None:
        toml('[tiers.small]\napi_key = "Secret123')
        assert "Secret123" not in refusal()

    def test_a_key_from_a_file_beside_the_settings(self, toml: WriteToml, tmp_path: Path) -> None:
        (tmp_path / "small.key").write_text("the-key\n")
        toml('[tiers.small]\nmodel = "m"\napi_key_file = "small.key"')
        tier = Settings.load().tiers[0]
        key = tier.api_key()
        assert key is not None
        assert key.get_secret_value() == "the-key"
        assert "the-key" not in repr(tier)

    @pytest.mark.parametrize(("content", "said"), [("", "is empty"), ("a\nb\n", "has several lines")])
    def test_a_file_that_holds_no_key_is_named(
        self, toml: WriteToml, tmp_path: Path, content: str, said: str
    ) -> None:
        (tmp_path / "small.key").write_text(content)
        toml('[tiers.small]\nmodel = "m"\napi_key_file = "small.key"')
        with pytest.raises(
            ConfigurationError, match=rf"tier 'small' takes its key from .*small.key, which {said}"
        ):
            Settings.load().tiers[0].api_key()

    def test_the_database_url_from_a_file(self, toml: WriteToml, tmp_path: Path) -> None:
        (tmp_path / "database").write_text("postgresql://me:secret@host/runs\n")
        toml('database_url_file = "database"')
        settings = Settings.load()
        assert settings.place == "postgresql://me:secret@host/runs"
        assert "secret" not in repr(settings)
        (tmp_path / "database").unlink()
        with pytest.raises(ConfigurationError, match=r"takes its URL from .*database, which cannot be read"):
            assert settings.place


PASTED = [
    "sk-live-Secret0123456789",
    "Secret0123456789abcdefghij",
    "https://u:Secret0123@h/v1",
    "Bearer Secret0123",
]
KEYS = [
    *(f"tiers.small.{key}" for key in TierSettings.model_fields if key not in ("name", "model", "serve")),
    *(f"tiers.small.serve.{key}" for key in ServeSettings.model_fields),
    *(f"router.{key}" for key in RouterSettings.model_fields),
    *(f"planning.{key}" for key in PlanningSettings.model_fields),
    *(f"people.{key}" for key in PeopleSettings.model_fields),
    *(f"errors.{key}" for key in ErrorSettings.model_fields),
    *(f"errors.workers.extract.{key}" for key in WorkerErrorSettings.model_fields),
    "cache.ttl",
    *(key for key in Settings.model_fields if key not in ("tiers", "router", "budget")),
    "budget.attempts",
]


@pytest.mark.parametrize("key", KEYS)
def test_what_was_pasted_by_mistake_is_never_repeated(toml: WriteToml, key: str) -> None:
    for pasted in PASTED:
        for value in (f'"{pasted}"', f'["{pasted}"]', f'{{pasted = "{pasted}"}}'):
            toml(f'tiers.small.model = "m"\n{key} = {value}')
            assert "Secret0123" not in told()


def told() -> str:
    """What the error says, if there is one: a text may be right where any text is."""
    try:
        Settings.load()
    except ConfigurationError as error:
        return "".join(traceback.format_exception(error))
    return ""


class TestWhereTheFileIs:
    POWERLESS = "[tiers.small]\nmodel = 'm'\nurl = 'http://127.0.0.1:1/v1'\n"

    def below(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "a" / "b"
        folder.mkdir(parents=True)
        monkeypatch.chdir(folder)

    def test_no_file_is_no_error(self) -> None:
        assert Settings.load().tiers == ()

    def test_a_parent_up_to_the_root_of_the_repository(
        self, toml: WriteToml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        toml(self.POWERLESS)
        self.below(tmp_path, monkeypatch)
        assert Settings.load().tiers == ()  # no repository, and not below the home directory
        (tmp_path / ".git").mkdir()
        assert len(Settings.load().tiers) == 1
        (tmp_path / "a" / ".git").write_text("gitdir: elsewhere")  # a worktree has a file
        assert Settings.load().tiers == ()

    def test_a_parent_up_to_the_home_directory(
        self, toml: WriteToml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        toml(self.POWERLESS)
        self.below(tmp_path, monkeypatch)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert len(Settings.load().tiers) == 1

    def test_the_nearest_file_is_the_only_one(
        self, toml: WriteToml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        toml(self.POWERLESS)
        (tmp_path / ".git").mkdir()
        self.below(tmp_path, monkeypatch)
        Path("stellwerk.toml").write_text("[budget]\nattempts = 2")
        settings = Settings.load()
        assert settings.tiers == ()
        assert settings.budget.attempts == 2

    @pytest.mark.parametrize(
        ("power", "key"),
        [
            ("workers = ['os:abort']", "workers"),
            ("database_url_file = '/etc/hostname'", "database_url_file"),
            (POWERLESS + "api_key_env = 'AWS_SECRET_ACCESS_KEY'", "tiers.small.api_key_env"),
            (POWERLESS + "api_key_file = '/etc/hostname'", "tiers.small.api_key_file"),
            (POWERLESS + "serve = {executable = '/tmp/x'}", "tiers.small.serve"),
            ("[serve]\napi_keys_file = 'api_keys'", "serve"),
            ("[conversion]\norigin_key_file = '/etc/hostname'", "conversion.origin_key_file"),
            ("[conversion]\norigin_key_env = 'AWS_SECRET_ACCESS_KEY'", "conversion.origin_key_env"),
        ],
    )
    def test_a_parent_may_not_say_what_runs_or_where_secrets_go(
        self, toml: WriteToml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, power: str, key: str
    ) -> None:
        path = toml(power)
        (tmp_path / ".git").mkdir()
        Settings.load()  # from its own directory it may
        self.below(tmp_path, monkeypatch)
        message = refusal()
        assert f"may not set {key}, " in message
        assert message.endswith(f"name it: export STELLWERK_CONFIG={path}")
        monkeypatch.setenv("STELLWERK_CONFIG", str(path))
        Settings.load()

    def test_the_file_that_is_named_goes_first(
        self, toml: WriteToml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        toml("[budget]\nattempts = 1")
        named, option = tmp_path / "named.toml", tmp_path / "option.toml"
        named.write_text("[budget]\nattempts = 2")
        option.write_text("[budget]\nattempts = 3")
        monkeypatch.setenv("STELLWERK_CONFIG", str(named))
        assert Settings.load().budget.attempts == 2
        token = config_file.set(str(option))
        assert Settings.load().budget.attempts == 3
        config_file.reset(token)

    def test_a_named_file_that_is_not_there_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STELLWERK_CONFIG", "/nowhere/stellwerk.toml")
        assert refusal().startswith("there is no file /nowhere/stellwerk.toml; give another with --config")

    @pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
    def test_a_file_that_everybody_may_write_is_refused(
        self, toml: WriteToml, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = toml(self.POWERLESS)
        path.chmod(0o666)
        assert refusal().endswith(f"run: chmod o-w {path}")
        monkeypatch.setenv("STELLWERK_CONFIG", str(path))
        assert refusal().endswith(f"run: chmod o-w {path}")

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")
    def test_a_file_of_another_user_has_to_be_named(
        self, toml: WriteToml, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = toml(self.POWERLESS)
        os.chown(path, 12345, -1)
        assert refusal() == f"{path} belongs to another user; if you trust it, name it: --config {path}"
        monkeypatch.setenv("STELLWERK_CONFIG", str(path))
        assert len(Settings.load().tiers) == 1

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
    def test_what_is_no_file_is_not_waited_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        os.mkfifo(tmp_path / "pipe")
        monkeypatch.setenv("STELLWERK_CONFIG", str(tmp_path / "pipe"))
        assert refusal().startswith("there is no file")
