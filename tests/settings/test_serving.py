from pathlib import Path

from stellwerk.settings import Settings
from tests.settings.conftest import WriteToml


def test_files_of_keys_stand_where_the_settings_do(toml: WriteToml) -> None:
    path = toml("[serve]\napi_keys_file = 'api_keys'\nport = 9000")
    serve = Settings.load().serve
    assert serve.api_keys_file == Path(path).parent / "api_keys"
    assert (serve.port, serve.closed) == (9000, True)
