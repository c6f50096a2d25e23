"""Settings of single sign-on; the way itself is tested in `tests/service/web/test_single_sign_on.py`."""

import pytest

from service.auth.oidc import Provider
from service.errors import SettingsError
from service.settings import Settings


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"oidc_issuer": "http://provider.example", "oidc_client_id": "x"}, "not https"),
        ({"oidc_issuer": "https://provider.example"}, "ONEPERSON_OIDC_CLIENT_ID"),
        ({"oidc_issuer": "https://p.example", "oidc_client_id": "x", "oidc_provision": True}, "ROLE_CLAIM"),
        ({"oidc_issuer": "https://p.example", "oidc_client_id": "x", "oidc_role_claim": "g"}, "OIDC_ROLES"),
    ],
)
def test_settings_that_do_not_go_together_are_told(settings: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        Provider(Settings.model_validate(settings))
