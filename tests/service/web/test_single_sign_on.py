"""Single sign-on against a real provider that runs beside the test."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from pydantic import SecretStr
from sqlalchemy import select

from service.auth import oidc
from service.auth.oidc import Provider
from service.database import Database
from service.tables import AuditEvent, Officer
from tests.service.accounts import PASSWORD, add_local, choose, enter
from tests.service.conftest import SQLITE_ONLY
from tests.service.web.pages import BROWSER, checked_page, use_language

pytestmark = SQLITE_ONLY

CLIENT = "oneperson-test"


USERS = {
    "s-1": {"preferred_username": "zhang", "name": "张三", "groups": ["hk-officers"]},
    "s-2": {"preferred_username": "zhang", "name": "李四"},
    "s-3": {"preferred_username": "liu", "groups": ["hk-leads", "x"], "org": "530102"},
    "s-4": {"preferred_username": "liu2", "groups": ["nobodies"], "org": "530102"},
}
PROGRAM = """
import json, sys
from oidc_provider_mock import User, run_server_in_thread
users = [User(sub=sub, claims=claims) for sub, claims in json.loads(sys.argv[1]).items()]
with run_server_in_thread(user_claims=users) as server:
    print(server.server_port, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """A provider in a process of its own, which knows `USERS`."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, json.dumps(USERS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"http://localhost:{process.stdout.readline().strip()}"
        process.stdin.close()


@pytest.fixture(autouse=True)
def _single_sign_on(app: FastAPI, client: TestClient, issuer: str) -> None:
    use(app, oidc_issuer=issuer, oidc_client_id=CLIENT, oidc_client_secret=SecretStr("secret"))
    choose(app, second_factor="optional", public_url="http://testserver")


def use(app: FastAPI, **settings: object) -> None:
    choose(app, **settings)
    app.state.oidc = Provider(app.state.settings)


def at_provider(client: TestClient, subject: str, wanted: str = "/") -> str:
    """Sign in at the provider as a browser does; returns the path that it sends the browser to."""
    sent = client.get("/sign-in/oidc", params={"next": wanted}, follow_redirects=False)
    assert sent.status_code == 303, sent.text
    asked = parse_qs(urlsplit(sent.headers["location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["nonce"][0]) >= 43
    back = httpx.post(sent.headers["location"], data={"sub": subject}, trust_env=False)
    assert back.status_code == 302, back.text
    place = urlsplit(back.headers["location"])
    return f"{place.path}?{place.query}"


def come_back(client: TestClient, path: str) -> Response:
    return client.get(path, headers=BROWSER, follow_redirects=False)


def results(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(AuditEvent.result).where(AuditEvent.kind == "sign-in-failed")))


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_officer_signs_in_at_the_provider(client: TestClient, database: Database, language: str) -> None:
    add_local(database)
    use_language(client, language)
    assert 'href="/sign-in/oidc' in client.get("/sign-in", headers=BROWSER).text
    answer = come_back(client, at_provider(client, "s-1", "/?mine=1"))
    page = checked_page(answer, language)
    assert answer.status_code == 200, "a page, because browsers keep strict cookies back after a redirect"
    assert any(one.attributes.get("content") == "0;url=/?mine=1" for one in page.all("meta"))
    assert "oneperson_oidc" not in client.cookies
    home = checked_page(client.get("/", headers=BROWSER), language)
    out = client.post("/sign-out", data=home.form("/sign-out").fields, headers=BROWSER)
    checked_page(out, language)
    assert out.url.path == "/signed-out"
    logout = client.get("/sign-out/oidc", follow_redirects=False).headers["location"]
    assert urlsplit(logout).path == "/oauth2/end_session"
    assert parse_qs(urlsplit(logout).query)["client_id"] == [CLIENT]
    with database.read() as session:
        assert session.scalars(select(Officer.external_id)).one().endswith("#s-1")  # type: ignore[union-attr]


def test_login_is_bound_to_the_providers_subject(client: TestClient, database: Database) -> None:
    add_local(database)
    assert come_back(client, at_provider(client, "s-1")).status_code == 200
    assert come_back(client, at_provider(client, "s-2")).status_code == 401
    assert results(database) == ["oidc-another-subject"]


def test_person_without_an_account_is_told_so_unless_accounts_are_provisioned(
    app: FastAPI, client: TestClient, database: Database
) -> None:
    answer = come_back(client, at_provider(client, "s-3"))
    assert answer.status_code == 401
    assert "no account for you" in checked_page(answer, "en").text
    mapping = {"hk-leads": "supervisor", "hk-officers": "officer"}
    claims = {"oidc_role_claim": "groups", "oidc_roles": mapping, "oidc_division_claim": "org"}
    use(app, oidc_provision=True, **claims)
    assert come_back(client, at_provider(client, "s-3")).status_code == 200
    assert come_back(client, at_provider(client, "s-4")).status_code == 401
    with database.read() as session:
        made = session.scalars(select(Officer)).one()
    assert (made.login, made.role, made.division_code) == ("liu", "supervisor", "530102")
    assert results(database) == ["oidc-no-account", "oidc-no-role"]


@pytest.mark.parametrize("part", ["state", "no-cookie", "code", "other-issuer"])
def test_answer_that_was_tampered_with_is_refused(client: TestClient, database: Database, part: str) -> None:
    add_local(database)
    path = at_provider(client, "s-1")
    if part == "state":
        path = path.replace("state=", "state=x")
    if part == "no-cookie":
        client.cookies.clear()
    if part == "code":
        path = path.replace("code=", "code=x")
    if part == "other-issuer":
        path += "&iss=https://evil.example"
    answer = come_back(client, path)
    assert answer.status_code == 401
    assert "oneperson_session" not in client.cookies
    assert results(database) == [{"code": "oidc-code", "other-issuer": "oidc-issuer"}.get(part, "oidc-state")]


def test_code_is_worth_nothing_in_another_browser(
    client: TestClient, app: FastAPI, database: Database
) -> None:
    add_local(database)
    path = at_provider(client, "s-1")
    other = TestClient(app)
    at_provider(other, "s-1")
    assert come_back(other, path).status_code == 401


@pytest.mark.parametrize(
    "flaw",
    [
        "none",
        "nonce",
        "no nonce",
        "audience",
        "azp",
        "expired",
        "issuer",
        "not yet",
        "signature",
        "algorithm",
    ],
)
def test_identity_token_is_verified(
    app: FastAPI, client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch, flaw: str
) -> None:
    """Tokens signed by the provider's own key, each with one flaw, in answer to a real code."""
    add_local(database)
    key, strange = RSAKey.generate_key(2048), RSAKey.generate_key(2048)
    provider: Provider = app.state.oidc
    path = at_provider(client, "s-1")
    attempt = oidc.Attempt.from_text(client.cookies["oneperson_oidc"])
    assert attempt is not None
    moment, issuer = int(time.time()), provider._metadata()["issuer"]
    claims = {
        "iss": "https://evil.example" if flaw == "issuer" else issuer,
        "sub": "s-1",
        "aud": {"audience": "another", "azp": [CLIENT, "another"]}.get(flaw, CLIENT),
        "exp": moment - 120 if flaw == "expired" else moment + 300,
        "iat": moment + 3600 if flaw == "not yet" else moment,
        "nonce": "another" if flaw == "nonce" else attempt.nonce,
        "preferred_username": "zhang",
    }
    if flaw == "no nonce":
        del claims["nonce"]
    signer = strange if flaw == "signature" else key
    text = jwt.encode(
        {"alg": "RS512" if flaw == "algorithm" else "RS256"}, claims, signer, algorithms=["RS256", "RS512"]
    )
    monkeypatch.setattr(provider, "_redeemed", lambda *_: {"id_token": text})
    monkeypatch.setattr(provider, "_keys", lambda: KeySet([RSAKey.import_key(key.as_dict(private=False))]))
    answer = come_back(client, path)
    assert answer.status_code == (200 if flaw == "none" else 401)
    assert results(database) == ([] if flaw == "none" else ["oidc-token"])


def test_provider_that_is_away_is_told_and_local_accounts_still_sign_in(
    app: FastAPI, client: TestClient, database: Database
) -> None:
    add_local(database)
    use(app, oidc_issuer="http://127.0.0.1:9")
    answer = client.get("/sign-in/oidc", headers=BROWSER, follow_redirects=False)
    assert answer.status_code == 503
    assert "sign in with login and password" in checked_page(answer, "en").text
    assert enter(client, "zhang", PASSWORD).status_code == 303


def test_without_a_provider_there_is_no_such_page(app: FastAPI, client: TestClient) -> None:
    use(app, oidc_issuer=None)
    assert client.get("/sign-in/oidc").status_code == 404
    assert "/sign-in/oidc" not in client.get("/sign-in", headers=BROWSER).text
