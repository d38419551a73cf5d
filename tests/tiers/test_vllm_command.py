import pytest

from stellwerk.errors import ConfigurationError
from stellwerk.settings import Settings, TierSettings
from stellwerk.tiers.tool_parsers import tool_parser
from stellwerk.tiers.vllm_command import Command, vllm_command


def tier(**fields: object) -> TierSettings:
    given = {
        "name": "small",
        "kind": "vllm",
        "model": "Qwen/Qwen2.5-3B-Instruct",
        "url": "http://127.0.0.1:8000/v1",
    }
    return TierSettings.model_validate({**given, **fields})  # fmt: skip


def command(replica: int = 1, host: str | None = None, **fields: object) -> Command:
    small = tier(**fields)
    return vllm_command(Settings(tiers=(small,)), small, replica=replica, host=host)


def test_flags_follow_from_the_settings() -> None:
    assert command(max_concurrency=8, context_window=4096).shown() == (
        "vllm serve Qwen/Qwen2.5-3B-Instruct --served-model-name Qwen/Qwen2.5-3B-Instruct "
        "--host 127.0.0.1 --port 8000 --max-model-len 4096 --enable-prefix-caching "
        "--enable-prompt-tokens-details "
        """--structured-outputs-config '{"backend": "xgrammar", "disable_any_whitespace": true}' """
        "--max-num-seqs 8 --max-num-queued-reqs 16 --enable-auto-tool-choice --tool-call-parser hermes"
    )


def test_no_limit_is_passed_on_where_there_is_none() -> None:
    argv = command(max_concurrency=None).argv
    assert "--max-num-seqs" not in argv
    assert "--max-num-queued-reqs" not in argv


def test_what_the_settings_say_of_the_server_itself() -> None:
    shown = command(
        model="small",
        priority=1,
        serve={
            "executable": "/opt/vllm",
            "weights": "/models/qwen2.5-3b",
            "max_queued": 5,
            "tool_parser": "none",
            "arguments": ["--dtype", "bfloat16"],
            "environment": {"HF_HUB_OFFLINE": "1"},
        },
    ).shown()
    assert shown.startswith("HF_HUB_OFFLINE=1 /opt/vllm serve /models/qwen2.5-3b --served-model-name small ")
    assert "--max-num-queued-reqs 5 --scheduling-policy priority" in shown
    assert "tool" not in shown
    assert shown.endswith("--dtype bfloat16")


def test_adapters_are_loaded_at_the_start() -> None:
    made = command(
        adapter="invoice@v2",
        serve={"adapters": {"invoice@v1": "/a/1", "invoice@v2": "/a/2"}, "max_lora_rank": 32},
    )
    lora = "--enable-lora --max-loras 2 --max-lora-rank 32 --lora-modules invoice@v1=/a/1 invoice@v2=/a/2"
    assert lora in made.shown()
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in made.environment


def test_adapters_at_run_time_only_if_asked_for() -> None:
    made = command(serve={"runtime_adapters": True})
    assert made.environment == {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
    assert any("whoever reaches the server" in note for note in made.notes)


def test_an_adapter_that_the_server_would_not_have_is_an_error() -> None:
    with pytest.raises(
        ConfigurationError, match="answers with the adapter 'invoice@v1', which the server will"
    ):
        command(adapter="invoice@v1")


def test_the_address_is_that_of_the_url_if_it_is_of_this_machine() -> None:
    assert "--host ::1 --port 8000" in command(url="http://[::1]:8000/v1").shown()
    urls = ["http://127.0.0.1:8000/v1", "http://127.0.0.1:8001/v1"]
    assert "--port 8001" in command(url=urls, replica=2).shown()


def test_all_addresses_only_if_told() -> None:
    with pytest.raises(ConfigurationError, match="not of this machine alone; say on which address to listen"):
        command(url="http://small.internal:8000/v1")
    made = command(url="http://small.internal:8000/v1", host="0.0.0.0")
    assert "--host 0.0.0.0 --port 8000" in made.shown()
    assert (made.host, made.port) == ("127.0.0.1", 8000)  # where its health is asked
    assert any("0.0.0.0:8000 asks for no key" in note for note in made.notes)


def test_a_proxy_in_front_does_not_say_where_to_listen() -> None:
    serve = {"host": "127.0.0.1", "port": 8000}
    assert "--host 127.0.0.1 --port 8000" in command(url="https://llm.example.com/v1", serve=serve).shown()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:8000", "vLLM serves under /v1, and the URL is http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/openai/v1", "let it end in /v1"),
        ("http://127.0.0.1/v1", "has no port; give one there or as serve.port"),
    ],
)
def test_a_url_that_cannot_be_served_is_named(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        command(url=url)
    assert "tier 'small'" in str(caught.value)
    assert said in str(caught.value)


def test_a_replica_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match="has 1 URLs; there is no replica 2"):
        command(replica=2)


def test_a_key_never_stands_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALL_KEY", "tell-nobody")
    made = command(api_key_env="SMALL_KEY")
    assert "tell-nobody" not in " ".join(made.argv) + made.shown() + repr(made)
    own = {"SMALL_KEY": "tell-nobody", "STELLWERK_DATABASE_URL": "postgresql://u:p@h/d", "PATH": "/bin"}
    assert made.child_environment(own) == {"PATH": "/bin", "VLLM_API_KEY": "tell-nobody"}


def test_without_a_key_none_is_inherited() -> None:
    # The tier would not send it, and every call would be refused.
    assert command().child_environment({"VLLM_API_KEY": "x"}) == {}


@pytest.mark.parametrize(
    ("model", "parser"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", "hermes"),
        ("Qwen/Qwen3-4B", "hermes"),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", "qwen3_xml"),
        ("NousResearch/Hermes-3-Llama-3.1-8B", "hermes"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama3_json"),
        ("meta-llama/Llama-3.2-1B-Instruct", "llama3_json"),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "llama4_pythonic"),
        ("mistralai/Ministral-3-3B-Instruct-2512", "mistral"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral"),
        ("ibm-granite/granite-4.0-h-small", "granite4"),
        ("ibm-granite/granite-3.1-8b-instruct", "granite"),
        ("openai/gpt-oss-20b", "openai"),
        ("deepseek-ai/DeepSeek-V3.1", "deepseek_v31"),
        ("deepseek-ai/DeepSeek-R1-0528", "deepseek_v3"),
        ("google/functiongemma-270m-it", "functiongemma"),
        ("Salesforce/Llama-xLAM-2-8B-fc-r", "xlam"),
        ("microsoft/Phi-4-mini-instruct", "phi4_mini_json"),
        ("/models/qwen2.5-3b", "hermes"),
    ],
)
def test_a_family_has_its_parser(model: str, parser: str) -> None:
    found = tool_parser(model)
    assert found is not None
    assert found[0] == parser


@pytest.mark.parametrize(
    "model", ["google/gemma-2-2b-it", "facebook/opt-125m", "meta-llama/Llama-2-7b-chat-hf"]
)
def test_an_unknown_family_has_none_and_the_user_is_told(model: str) -> None:
    assert tool_parser(model) is None
    made = command(model=model)
    assert "--enable-auto-tool-choice" not in made.argv
    assert any("set serve.tool_parser" in note for note in made.notes)


def test_a_parser_that_wants_a_template_says_so() -> None:
    made = command(model="meta-llama/Llama-3.2-1B-Instruct")
    assert any("asks for a chat template with llama3_json" in note for note in made.notes)
    given = command(model="meta-llama/Llama-3.2-1B-Instruct", serve={"chat_template": "/t.jinja"})
    assert given.notes == ()
    assert "--tool-call-parser llama3_json --chat-template /t.jinja" in given.shown()
