"""Settings: what wins over what, and what is refused."""

import dataclasses
from pathlib import Path

import pytest

from lambent.config import Config, ConfigError, read, shared_folders


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path):
    file = tmp_path / "lambent.toml"
    file.write_text('port = 1\nregion = "eu-west-1"\nhost = "::1"\n')
    config = read({"port": 3, "host": None}, {"LAMBENT_PORT": "2", "LAMBENT_REGION": "ap-south-1"}, file)
    assert (config.port, config.region, config.host, config.data_dir) == (3, "ap-south-1", "::1", Path(".lambent"))


def test_a_table_in_the_file_is_a_prefix(tmp_path):
    file = tmp_path / "lambent.toml"
    file.write_text("[runtimes]\nstrict = true\n")
    assert read({}, {}, file).runtimes_strict


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"LAMBENT_PROT": "1"}, r"\$LAMBENT_PROT: no such setting. Did you mean port\?"),
        ({"LAMBENT_PORT": "many"}, "port is 'many'; expected int"),
        ({"LAMBENT_ISOLATION": "none"}, "must be one of auto, namespaces, process"),
        ({"LAMBENT_EPHEMERAL": "maybe"}, "say true or false"),
    ],
)
def test_a_mistake_is_named(environ, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        read({}, environ, _empty(tmp_path))


def test_a_missing_file_is_an_error_when_it_was_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml"):
        read({}, {}, tmp_path / "none.toml")


def test_every_setting_can_come_from_the_environment(tmp_path):
    environ = {
        f"LAMBENT_{field.name.upper()}": _text(getattr(Config(), field.name)) for field in dataclasses.fields(Config)
    }
    assert read({}, environ, _empty(tmp_path)) == Config(runtimes_dir=Config().runtimes_dir.expanduser())


def test_the_endpoint_of_the_commands_is_not_a_setting_of_the_node(tmp_path):
    assert read({}, {"LAMBENT_ENDPOINT": "http://127.0.0.1:9"}, _empty(tmp_path)) == Config()


@pytest.mark.parametrize("entry", ["fsap-1", "=/srv", "fsap-1=srv", "fsap-1="])
def test_a_folder_of_a_file_system_has_a_name_and_is_absolute(tmp_path, entry):
    with pytest.raises(ConfigError, match="ACCESS_POINT"):
        read({}, {"LAMBENT_FILE_SYSTEMS": entry}, _empty(tmp_path))


def test_folders_are_found_by_access_point(tmp_path):
    config = read({}, {"LAMBENT_FILE_SYSTEMS": "fsap-1=/srv/a:fsap-2=/srv/b"}, _empty(tmp_path))
    assert shared_folders(config) == {"fsap-1": Path("/srv/a"), "fsap-2": Path("/srv/b")}


def _text(value):
    return ":".join(value) if isinstance(value, tuple) else str(value)


def _empty(folder):
    file = folder / "empty.toml"
    file.write_text("")
    return file
