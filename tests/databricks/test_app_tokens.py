"""Which sign-ins a deployed app can be asked with: told before anything is changed, with what to use instead."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk.core import Config
from tests.standin.apps import ANSWERS, Apps, DeployedApp
from tests.standin.server import StandIn, stand_in

from graph_agent.commands.cli import main
from graph_agent.databricks.apps import check_oauth
from graph_agent.errors import Unauthenticated
from graph_agent.testing import on_loopback


def token_of(issuer: str, *, ends: float = 9e9) -> str:
    """A token as its issuer would sign it, unsigned."""
    parts: list[Any] = [{"alg": "RS256"}, {"iss": issuer, "exp": ends, "sub": "someone"}]
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts), "x"])


OURS = token_of("https://adb-1.azuredatabricks.net/oidc")
ENTRA = token_of("https://sts.windows.net/11111111-2222-3333-4444-555555555555/")


class Client:
    """A workspace client that signed in as `kind` and brings `token`."""

    def __init__(self, kind: str, token: str) -> None:
        provider = lambda: {"Authorization": f"Bearer {token}"}  # noqa: E731
        made = {"token": token} if kind == "pat" else {"credentials_strategy": Signed(kind, provider)}
        self.config = Config(host="http://127.0.0.1:9", http_timeout_seconds=1, retry_timeout_seconds=1, **made)


class Signed:
    def __init__(self, kind: str, provider: Any) -> None:
        self._kind, self._provider = kind, provider

    def auth_type(self) -> str:
        return self._kind

    def __call__(self, config: Config) -> Any:
        return self._provider


@pytest.mark.parametrize(
    "kind",
    [
        *("oauth-m2m", "databricks-cli", "external-browser", "env-oidc", "file-oidc", "github-oidc"),
        *("azure-devops-oidc", "metadata-service", "pat"),
    ],
)
def test_a_token_of_databricks_is_taken_however_it_came(kind: str) -> None:
    check_oauth(Client(kind, OURS))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["azure-cli", "azure-client-secret", "azure-msi", "github-oidc-azure"])
def test_sign_ins_of_azure_are_refused_without_asking_azure(kind: str) -> None:
    class Untouched:
        class config:
            auth_type = kind

    with pytest.raises(Unauthenticated) as caught:
        check_oauth(Untouched)  # type: ignore[arg-type]
    message = caught.value.message
    assert f"does not accept tokens from Microsoft Entra ID, which this sign-in ({kind}) provides" in message
    for way in ("DATABRICKS_AUTH_TYPE=databricks-cli", "DATABRICKS_CLIENT_SECRET", "DATABRICKS_AUTH_TYPE=github-oidc"):
        assert way in caught.value.message


@pytest.mark.parametrize(
    ("kind", "token", "why"),
    [
        ("pat", ENTRA, "tokens from Microsoft Entra ID"),
        ("metadata-service", ENTRA, "tokens from Microsoft Entra ID"),
        ("oauth-m2m", token_of("https://login.microsoftonline.com/t/v2.0"), "tokens from Microsoft Entra ID"),
        ("runtime-oauth", token_of("https://accounts.google.com"), "tokens from Google"),
        ("google-id", OURS, "tokens from Google"),
        ("pat", "dapi" + "0" * 32, "not personal access tokens"),
        ("pat", "a.b.c", "not personal access tokens"),
        ("pat", token_of("https://adb-1.azuredatabricks.net/oidc", ends=time.time() - 1), "the token has expired"),
        ("basic", "x", "does not accept a user name and password"),
    ],
)
def test_other_tokens_are_refused_whatever_brings_them(kind: str, token: str, why: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        check_oauth(Client(kind, token))  # type: ignore[arg-type]
    assert why in caught.value.message
    assert token not in caught.value.message


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """One that takes the token of `OURS`, where an app is deployed."""
    apps, app = Apps(), DeployedApp([ANSWERS])
    with stand_in(tmp_path / "workspace", more=apps.routes(), token=OURS) as standing, on_loopback(app) as url:
        apps.apps["shop"] = {"name": "shop", "url": url}
        monkeypatch.setenv("DATABRICKS_HOST", standing.url)
        yield standing


def test_an_oauth_token_in_the_variable_for_personal_ones_is_used(
    workspace: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", OURS)
    assert main(["ask", "--app", "shop", "hi"]) == 0
    assert "Hello." in capsys.readouterr().out


def test_a_token_of_azure_is_refused_before_the_workspace_is_asked_for_anything(
    workspace: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", ENTRA)
    assert main(["ask", "--app", "shop", "hi"]) == 2
    told = capsys.readouterr().err
    assert "does not accept tokens from Microsoft Entra ID, which this sign-in (pat) provides" in told
    assert ENTRA not in told
    assert workspace.calls() == []
