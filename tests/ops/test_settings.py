"""Where settings come from: precedence, faults, origins."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mcphub.core import env, flags, sources
from mcphub.core.env import HubSettings, SettingsFault

Load = Callable[..., HubSettings]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Load]:
    """Read settings from these sources alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    before = env._flags

    def read(environ: Mapping[str, str] | None = None, argv: tuple[str, ...] = (), file: Any = None) -> HubSettings:
        variables = {"MCPHUB_DATA_DIR": str(tmp_path / "data"), **(environ or {})}
        monkeypatch.setattr(sources, "environment", lambda: variables)
        if file is not None:
            (tmp_path / "config").mkdir(exist_ok=True)
            (tmp_path / "config" / "mcphub.yaml").write_text(file if isinstance(file, str) else yaml.safe_dump(file))
        env.use(flags.read(["mcphub", "doctor", *argv])[0])
        return env.load()

    yield read
    env.use(before)


SAMPLES: dict[str, tuple[str, str, str, str]] = {
    "mode": ("cloud", "standalone", "cloud", "standalone"),
    "database_url": ("sqlite:///flag", "sqlite:///variable", "sqlite:///file", "sqlite:///yaml"),
    "port": ("1", "2", "3", "4"),
    "runner": ("e2b", "bubblewrap", "subprocess", "auto"),
    "allow_stdio": ("true", "false", "true", "false"),
    "audit_retention_days": ("1", "2", "3", "4"),
    "audit_fsync": ("true", "false", "true", "false"),
    "trusted_proxies": ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"),
    "email_url": ("smtp://flag", "smtp://variable", "smtps://file", "smtp://yaml"),
    "log_format": ("json", "text", "json", "text"),
    "log_level": ("DEBUG", "INFO", "ERROR", "WARNING"),
    "limits": ("call_s=1", "call_s=2", "call_s=3", "call_s=4"),
    "data_dir": ("flag", "variable", "file", "yaml"),
}


def _is(value: Any, text: str, tmp_path: Path) -> bool:
    if isinstance(value, bool):
        return str(value).lower() == text
    if isinstance(value, tuple):
        return ",".join(value) == text
    if hasattr(value, "call_s"):
        return f"call_s={value.call_s:g}" == text
    return str(value) in (text, str(tmp_path / text))


@pytest.mark.requirement("X13")
@pytest.mark.parametrize("name", HubSettings.model_fields)
def test_flag_beats_environment_beats_named_file_beats_settings_file(name: str, load: Load, tmp_path: Path) -> None:
    flag, variable, named, written = SAMPLES.get(name, ("flag", "variable", "file", "yaml"))
    (tmp_path / "named").write_text(f"{named}\n")
    label = f"MCPHUB_{name.upper()}"
    by_file = {f"{label}_FILE": str(tmp_path / "named")}
    document = {name: written}
    unset = {"MCPHUB_DATA_DIR": ""} if name == "data_dir" else {}

    hub = load({**unset, **by_file, label: variable}, ("--set", f"{name}={flag}"), document)
    assert _is(getattr(hub, name), flag, tmp_path)
    assert hub.origin(name) == f"--set {name}"

    hub = load({**unset, **by_file, label: variable}, (), document)
    assert _is(getattr(hub, name), variable, tmp_path)
    assert hub.origin(name) == label

    hub = load({**unset, **by_file}, (), document)
    assert _is(getattr(hub, name), named, tmp_path)
    assert hub.origin(name).startswith(f"{label}_FILE")

    hub = load(unset, (), document)
    assert _is(getattr(hub, name), written, tmp_path)
    assert hub.origin(name).endswith(f"mcphub.yaml: {name}")


@pytest.mark.requirement("X13")
def test_unknown_names_are_refused_with_the_nearest_known_one_all_at_once(load: Load) -> None:
    with pytest.raises(SettingsFault) as caught:
        load({"MCPHUB_PROT": "80", "MCPHUB_MODE": "clowd"}, ("--set", "log_levl=DEBUG"), {"enkryption_keys": "x"})
    text = "\n".join(caught.value.faults)
    assert "MCPHUB_PROT; did you mean MCPHUB_PORT?" in text
    assert "did you mean MCPHUB_LOG_LEVEL?" in text
    assert "did you mean MCPHUB_ENCRYPTION_KEYS?" in text
    assert "MCPHUB_MODE: " in text


def test_settings_file_fills_in_variables_with_defaults(load: Load) -> None:
    text = (
        "port: ${PORT_OF_OURS:-9000}\nserver_url: https://${NAME_OF_OURS}/\nlimits: {call_s: 7}\nsign_in: [password]"
    )
    hub = load({"NAME_OF_OURS": "hub.example"}, (), text)
    assert (hub.port, hub.server_url, hub.limits.call_s, hub.sign_in) == (
        9000,
        "https://hub.example",
        7,
        ("password",),
    )


def test_settings_file_with_an_unset_variable_is_refused_with_its_place(load: Load) -> None:
    with pytest.raises(SettingsFault, match=r"mcphub\.yaml: redis_url: the variable GONE is not set"):
        load({}, (), "redis_url: redis://${GONE}/0")


@pytest.mark.parametrize("text", ["- a list", "port: [", "port: {"])
def test_broken_settings_file_is_a_sentence(load: Load, text: str) -> None:
    with pytest.raises(SettingsFault, match=r"mcphub\.yaml"):
        load({}, (), text)


def test_missing_files_are_named(load: Load) -> None:
    with pytest.raises(SettingsFault, match=r"--settings: there is no file /nowhere"):
        load({}, ("--settings", "/nowhere"))
    with pytest.raises(SettingsFault, match=r"MCPHUB_SECRET_KEY_FILE: cannot read /nowhere"):
        load({"MCPHUB_SECRET_KEY_FILE": "/nowhere"})


def test_values_of_secrets_are_in_no_fault(load: Load) -> None:
    with pytest.raises(SettingsFault) as caught:
        load({"MCPHUB_LIMITS": "call_s=abc", "MCPHUB_TRUSTED_PROXIES": "nonsense", "MCPHUB_ADMIN_KEY": "very-secret"})
    assert "very-secret" not in str(caught.value)
    assert len(caught.value.faults) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "99999"),
        ("PORT", "-1"),
        ("AUDIT_RETENTION_DAYS", "0"),
        ("AUDIT_RETENTION_DAYS", "-1"),
        ("EGRESS_ALLOW", "10.0.0.0/8,http://host/"),
        ("LIMITS", "call_s=nan"),
        ("LIMITS", "call_s=inf"),
        ("DATABASE_URL", "mysql://hunter2@host/name"),
        ("DATABASE_URL", "postgresql://user:hunter2/x@host/name"),
        ("DATABASE_URL", "postgresql://user:hunter2@host/name?pool_max=many"),
        ("DATABASE_URL", "postgresql://user:hunter2@host/name?pool_min=3&pool_max=2"),
    ],
)
def test_values_that_cannot_be_are_refused_at_the_start(load: Load, name: str, value: str) -> None:
    with pytest.raises(SettingsFault, match=rf"^MCPHUB_{name}: ") as caught:
        load({f"MCPHUB_{name}": value})
    assert "hunter2" not in str(caught.value)


def test_standalone_makes_its_secrets_once_and_for_its_owner_only(load: Load, tmp_path: Path) -> None:
    first, second = load(), load()
    assert first.encryption_keys == second.encryption_keys
    assert first.secret_key != first.encryption_keys[0]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "data" / "secrets").iterdir()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "data", tmp_path / "data" / "secrets")} == {0o700}


def test_cloud_makes_no_secrets(load: Load, tmp_path: Path) -> None:
    hub = load({"MCPHUB_MODE": "cloud"})
    assert (hub.secret_key, hub.encryption_keys, hub.allow_stdio, hub.limits.drain_notice_s) == ("", (), False, 5)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("host", "methods"), [("127.0.0.1", ("dev", "password")), ("0.0.0.0", ("password",))])
def test_development_sign_in_is_a_default_on_loopback_only(load: Load, host: str, methods: tuple[str, ...]) -> None:
    assert load({"MCPHUB_HOST": host}).sign_in == methods


def test_words_behind_two_dashes_are_nobodys_flags() -> None:
    given, rest = flags.read(["mcphub", "up", "--set", "port=1", "--", "cmd", "--set", "port=2", "--settings", "x"])
    assert given.settings == {"port": "1"}
    assert rest == ["mcphub", "up", "--", "cmd", "--set", "port=2", "--settings", "x"]
    assert given.start.single_upstream == "main"


@pytest.mark.parametrize(
    ("words", "public", "script_name", "root_path"),
    [
        ([], "/hub", "/hub", "/hub"),
        (["--path-prefix", "/hub"], "/hub", "/hub", ""),
        (["--path-prefix", "/b"], "/a/b", "/a/b", "/a"),
        (["--path-prefix", "/b"], "", "/b", ""),
        (["--root-path", "/a"], "/a", "/a", "/a"),
        (["--root-path", "/a"], "/c", "/a", "/a"),
        (["--path-prefix", "/b"], "/c", "/b", ""),
    ],
)
def test_path_of_the_public_address_is_what_a_proxy_cuts_off(
    words: list[str], public: str, script_name: str, root_path: str
) -> None:
    start = flags.read(["mcphub", "up", *words])[0].start.at(public)
    assert (start.script_name, start.root_path) == (script_name, root_path)


@pytest.mark.parametrize("text", ["hub", "/hub", "/hub/"])
def test_paths_are_brought_into_one_form(text: str) -> None:
    given, _ = flags.read(["mcphub", "up", "--path-prefix", text, "--root-path", "/"])
    assert given.start.script_name == "/hub"
