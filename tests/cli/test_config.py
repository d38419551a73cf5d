import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from stellwerk.cli import app
from stellwerk.graphs.default import configured_workers
from stellwerk.prices import AS_OF, PRICES
from stellwerk.settings import Settings
from tests.fake_openai import Body, serve_openai, title_of

TOML = """
[tiers.small]
kind = "vllm"
model = "m"
url = "http://127.0.0.1:9/v1"
max_concurrency = 4

[tiers.large]
model = "gpt-4.1"
api_key_env = "LARGE_KEY"
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("STELLWERK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str) -> Path:
    path = Path("stellwerk.toml").absolute()
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)
    return path


def stellwerk(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def shown() -> dict[str, tuple[object, str]]:
    result = stellwerk("config", "show", "--json")
    assert result.exit_code == 0, result.stderr
    return {row["key"]: (row["value"], row["from"]) for row in json.loads(result.stdout)["settings"]}


class TestShow:
    def test_where_each_value_comes_from(self, monkeypatch: pytest.MonkeyPatch) -> None:
        path = str(write(TOML))
        monkeypatch.setenv("STELLWERK_TIERS__SMALL__TIMEOUT", "30")
        monkeypatch.setenv("STELLWERK_DATABASE", "/runs.sqlite")
        rows = shown()
        assert rows["tiers.small.url"] == (["http://127.0.0.1:9/v1"], path)
        assert rows["tiers.small.max_concurrency"] == (4, path)
        assert rows["tiers.small.timeout"] == (30.0, "STELLWERK_TIERS__SMALL__TIMEOUT")
        assert rows["tiers.small.context_window"] == (32_768, "default")
        assert rows["database"] == ("/runs.sqlite", "STELLWERK_DATABASE")
        assert rows["models"][1] == "default"

    def test_prices_of_the_list_are_told_apart_from_none(self) -> None:
        write(TOML)
        rows = shown()
        listed = f"the price list of {AS_OF}, openai/gpt-4.1"
        assert rows["tiers.large.price"] == ("2 in, 8 out", listed)
        assert rows["tiers.small.price"] == ("none", "not in the price list; counted apart, not as free")

    def test_whether_a_key_is_there_but_not_the_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write(TOML)
        monkeypatch.delenv("LARGE_KEY", raising=False)
        assert shown()["tiers.large.api_key"] == ("not set", "LARGE_KEY")
        monkeypatch.setenv("LARGE_KEY", "tell-nobody")
        assert shown()["tiers.large.api_key"] == ("***", "LARGE_KEY")

    def test_a_url_of_the_database_is_hidden(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STELLWERK_DATABASE_URL", "postgresql://me:secret@host/runs")
        assert shown()["database_url"] == ("***", "STELLWERK_DATABASE_URL")

    def test_the_table_names_the_file(self) -> None:
        path = write(TOML)
        result = stellwerk("config", "show")
        assert result.exit_code == 0
        assert any(
            line.split()[:2] == ["tiers.small.max_concurrency", "4"] for line in result.stdout.splitlines()
        )
        assert result.stdout.endswith(f"file: {path}\n")

    def test_keys_are_whole_in_a_narrow_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write(TOML)
        monkeypatch.setenv("COLUMNS", "80")
        lines = [line.split() for line in stellwerk("config", "show").stdout.splitlines()]
        assert ["tiers.small.max_concurrency", "4", "stellwerk.toml"] in lines
        assert any(line[:1] == ["tiers.small.serve.runtime_adapters"] for line in lines)

    def test_how_vllm_is_started_is_shown_of_its_tiers_only(self) -> None:
        write(TOML)
        assert shown()["tiers.small.serve.grace"] == (30.0, "default")
        assert not any(key.startswith("tiers.large.serve") for key in shown())

    def test_what_is_different_for_one_worker_is_shown_with_where_it_stands(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = str(write("[errors]\nretries = 1\n[errors.workers.extract]\nrun_timeout = 9\n"))
        monkeypatch.setenv("STELLWERK_ERRORS__WORKERS__EXTRACT__RETRIES", "2")
        rows = {key: row for key, row in shown().items() if key.startswith("errors.")}
        assert rows["errors.retries"] == (1, path)
        assert rows["errors.on_failure"] == ("skip", "default")
        assert {key: row for key, row in rows.items() if "workers" in key} == {
            "errors.workers.extract.retries": (2, "STELLWERK_ERRORS__WORKERS__EXTRACT__RETRIES"),
            "errors.workers.extract.run_timeout": (9.0, path),
        }

    def test_without_a_file(self) -> None:
        assert "file: none; make one with: stellwerk config init" in stellwerk("config", "show").stdout

    def test_a_file_by_option(self, tmp_path: Path) -> None:
        write(TOML)
        other = tmp_path / "other.toml"
        other.write_text("[budget]\nattempts = 2")
        result = stellwerk("--config", str(other), "config", "show", "--json")
        assert json.loads(result.stdout)["file"] == str(other)
        assert shown()["tiers.small.model"][0] == "m"  # the option holds for its own command only


class TestCheck:
    def test_what_can_be_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write(TOML)
        monkeypatch.setenv("LARGE_KEY", "k")
        result = stellwerk("config", "check")
        assert result.exit_code == 0, result.stderr
        assert result.stdout.splitlines() == [
            f"{path}: good",
            "without a price, and counted apart in the ledger: small",
        ]

    def test_models_that_are_not_fetched_yet_are_told(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STELLWERK_MODELS_DIR", str(place / "models"))
        monkeypatch.setattr("stellwerk.cli.session.find_spec", lambda name: object())  # wherever this runs
        write('[tiers.tiny]\nkind = "embedded"\nmodel = "smollm2-135m"\n')
        result = stellwerk("config", "check")
        assert result.exit_code == 0, result.stderr
        assert "before a run on this machine: no file of smollm2-135m in " in result.stdout
        assert "run: stellwerk models pull smollm2-135m" in result.stdout

    def test_every_missing_key_is_named_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write(TOML + '[tiers.third]\nmodel = "n"\napi_key_file = "third.key"\n')
        monkeypatch.delenv("LARGE_KEY", raising=False)
        result = stellwerk("config", "check")
        assert result.exit_code == 2
        assert "tier 'large' takes its key from LARGE_KEY, which is not set" in result.stderr
        assert "third.key, which cannot be read" in result.stderr

    def test_a_wrong_order_of_prices(self) -> None:
        tier = '[tiers.{}]\nmodel = "m"\nurl = "http://127.0.0.1:9/v1"\ninput_price = 1\noutput_price = {}\n'
        write(tier.format("a", 5) + tier.format("b", 2))
        result = stellwerk("config", "check")
        assert result.exit_code == 2
        assert "tier 'a' (5.0 USD per million output tokens) stands below 'b' (2.0)" in result.stderr

    def test_a_wrong_key_of_the_file(self) -> None:
        path = write("[budget]\natempts = 2")
        result = stellwerk("config", "check")
        assert result.exit_code == 2
        assert result.stderr.startswith(
            f"stellwerk: {path}: budget.atempts: there is no such key; did you mean"
        )

    @pytest.mark.parametrize("more", ["", "my_module:worker"])
    @pytest.mark.parametrize(
        ("workers", "router", "said"),
        [
            (["wirte"], "", "there is no ready-made worker 'wirte'; did you mean write?"),
            (["write"], 'start = {write = "larg"}', "router.start.write: there is no tier 'larg'"),
            (["write"], 'name = "fixed"\ntier = "huge"', "router.tier: there is no tier 'huge'"),
        ],
    )
    def test_names_that_a_run_would_refuse(
        self, monkeypatch: pytest.MonkeyPatch, workers: list[str], router: str, said: str, more: str
    ) -> None:
        listed = json.dumps([*workers, *([more] if more else [])])
        write(f"workers = {listed}\n{TOML}\n[router]\n{router}\n")
        monkeypatch.setenv("LARGE_KEY", "k")
        result = stellwerk("config", "check")
        assert result.exit_code == 2
        assert said in result.stderr

    def test_a_worker_that_the_router_alone_names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write(TOML + '[router]\nstart = {wirte = "large"}\n')
        monkeypatch.setenv("LARGE_KEY", "k")
        result = stellwerk("config", "check")
        assert result.exit_code == 2
        assert "router.start.wirte: there is no such worker; did you mean write?" in result.stderr

    def test_a_worker_that_a_policy_alone_names_and_nothing_is_made_to_find_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = 'database = "runs.sqlite"\ncache.ttl = 60\n'
        write(kept + TOML + "[errors.workers.wirte]\nretries = 1\n")
        monkeypatch.setenv("LARGE_KEY", "k")
        result = stellwerk("config", "check")
        assert result.exit_code == 2
        assert "errors.workers.wirte: there is no such worker; did you mean write?" in result.stderr
        write(kept + TOML)
        assert stellwerk("config", "check").exit_code == 0
        assert not Path("runs.sqlite").exists()

    def test_workers_are_imported_only_if_asked_for(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(str(place))
        (place / "declared_by_check.py").write_text("open('imported', 'w').close()\nworker = 5")
        write('workers = ["extract", "declared_by_check:worker"]')
        result = stellwerk("config", "check")
        assert result.exit_code == 0
        assert "not imported without --imports: declared_by_check:worker" in result.stdout
        assert not Path("imported").exists()
        result = stellwerk("config", "check", "--imports")
        assert result.exit_code == 2
        assert "declared_by_check:worker is of type int" in result.stderr
        assert Path("imported").exists()


class TestInit:
    def test_the_file_changes_nothing_and_is_good(self) -> None:
        before = Settings.load()
        result = stellwerk("config", "init")
        assert result.exit_code == 0
        assert result.stdout == "wrote stellwerk.toml; edit it, then run: stellwerk config check\n"
        assert Settings.load() == before
        assert stellwerk("config", "check").exit_code == 0

    def test_what_is_commented_out_is_right(self) -> None:
        stellwerk("config", "init")
        lines = Path("stellwerk.toml").read_text().splitlines()
        code = [
            line[2:] for line in lines if line.startswith(("# [", "# ")) and (" = " in line or "# [" in line)
        ]
        alternatives = [line for line in code if not line.startswith(("database =", "workers ="))]
        write("\n".join(alternatives))
        settings = Settings.load()
        assert [tier.name for tier in settings.tiers] == ["small", "large"]
        assert settings.router.start == {"write": "large"}
        assert settings.planning.replans == settings.errors.retries == 1
        assert [worker.name for worker in configured_workers(settings) if worker.substitute] == ["extract"]

    def test_a_file_that_is_there_is_kept(self) -> None:
        path = write(TOML)
        result = stellwerk("config", "init")
        assert result.exit_code == 2
        assert "stellwerk.toml is there already" in result.stderr
        assert path.read_text() == TOML

    @pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
    def test_nobody_else_may_write_it(self) -> None:
        before = os.umask(0)
        try:
            stellwerk("config", "init", "mine.toml")
        finally:
            os.umask(before)
        assert Path("mine.toml").stat().st_mode & 0o022 == 0


class TestPrices:
    def test_one_provider_as_a_table(self) -> None:
        result = stellwerk("prices", "list", "openai")
        assert result.exit_code == 0
        assert any(line.split() == ["openai/gpt-4.1", "2", "0.5", "8"] for line in result.stdout.splitlines())
        assert "anthropic" not in result.stdout
        assert f"USD per million tokens, as of {AS_OF}" in result.stdout

    def test_all_as_json(self) -> None:
        listed = json.loads(stellwerk("prices", "list", "--json").stdout)
        assert listed["as_of"] == AS_OF.isoformat()
        assert len(listed["prices"]) == len(PRICES)
        assert listed["prices"][0].keys() >= {"name", "input", "cached", "output", "source"}

    def test_an_unknown_provider_is_named(self) -> None:
        result = stellwerk("prices", "list", "nobody")
        assert result.exit_code == 2
        assert result.stderr.startswith(
            "stellwerk: no provider is called nobody; choose from: openai, anthropic"
        )


def test_a_run_with_the_tiers_of_a_file() -> None:
    def answer(body: Body) -> object:
        if title_of(body) == "plan":
            step = {"id": "a", "worker": "write", "instruction": "Greet Ada", "depends_on": []}
            return {"subtasks": [step]}
        return {"text": "Hello Ada."}

    with serve_openai(answer) as server:
        write(f'database = "runs.sqlite"\n[tiers.only]\nmodel = "m"\nurl = "{server.url}"\n')
        result = stellwerk("run", "Say hello to Ada")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "Hello Ada.\n"
    assert Path("runs.sqlite").exists()


def test_the_command_to_resume_names_the_file(place: Path) -> None:
    with serve_openai(lambda body: {"subtasks": []}) as server:
        write(f'database = "runs.sqlite"\n[tiers.only]\nmodel = "m"\nurl = "{server.url}"\n').rename(
            "my.toml"
        )
        result = stellwerk("--config", "my.toml", "run", "Say hello", "--thread", "t")
    assert "stellwerk --config my.toml resume t" in result.stderr


@pytest.mark.parametrize("words", ["tiers ser", "config ch", "prices li"])
def test_a_shell_completes_the_commands(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_STELLWERK_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"stellwerk {words}")
    monkeypatch.setenv("COMP_CWORD", "2")
    result = CliRunner().invoke(app, [], prog_name="stellwerk")
    assert result.stdout.strip() in ("serve", "check", "list")
