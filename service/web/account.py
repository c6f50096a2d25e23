"""An officer's own account: password, second factor, and the browsers that are signed in."""

from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from service.auth import own_factor, second_factor
from service.auth.passwords import LONGEST, SHORTEST
from service.auth.sessions import (
    SignedIn,
    SignInMethod,
    SignInStage,
    end_own_session,
    end_sessions,
    sessions_of,
)
from service.auth.signing_in import PasswordFaultError
from service.dependencies import Transaction
from service.errors import InvalidRequestError, OverloadedError, UnauthenticatedError
from service.tables import LocalAccount
from service.web.access import ProtectedForm, Visitor, safe_next, session_token, set_session_cookies, visit_of
from service.web.rendering import render, words_of
from service.web.sign_in import PASSWORD_FAULTS, Wanted, rules_of, typed_twice

router = APIRouter(prefix="/account", include_in_schema=False)

DONE = {
    "password": "account.done_password",
    "session": "account.done_session",
    "sessions": "account.done_sessions",
}

METHODS = {
    SignInMethod.PASSWORD: "method.password",
    SignInMethod.TOTP: "method.totp",
    SignInMethod.RECOVERY: "method.recovery",
    SignInMethod.OIDC: "method.oidc",
}


@router.get("")
def account_page(request: Request, visitor: Visitor) -> Response:
    """Show the account."""
    return _page(request, visitor, done=DONE.get(request.query_params.get("done", "")))


@router.post("/password")
def change_password(request: Request, visitor: Visitor, form: ProtectedForm) -> Response:
    """Change the password, and sign out every other browser."""
    try:
        rules_of(request).change_password(
            visitor.actor,
            form.get("current", ""),
            typed_twice(form),
            session_id=visitor.session_id,
            visit=visit_of(request),
        )
    except PasswordFaultError as error:
        return _page(request, visitor, fault=PASSWORD_FAULTS[error.fault], status=422)
    except UnauthenticatedError:
        return _page(request, visitor, fault="account.wrong_password", status=422)
    except OverloadedError as error:
        return _page(request, visitor, fault="sign_in.overloaded", status=error.status)
    return RedirectResponse("/account?done=password", status_code=303)


@router.post("/sessions/end")
def end_one(visitor: Visitor, form: ProtectedForm, session: Transaction) -> Response:
    """Sign one browser out."""
    try:
        chosen = UUID(form.get("session", ""))
    except ValueError:
        raise InvalidRequestError("There is no such session.") from None
    end_own_session(session, chosen, actor=visitor.actor)
    return RedirectResponse("/account?done=session", status_code=303)


@router.post("/sessions/end-all")
def end_all(visitor: Visitor, _form: ProtectedForm, session: Transaction) -> Response:
    """Sign every other browser out."""
    if visitor.actor.id is not None:
        end_sessions(session, visitor.actor.id, actor=visitor.actor, keep=visitor.session_id)
    return RedirectResponse("/account?done=sessions", status_code=303)


@router.get("/second-factor")
def factor_page(request: Request, visitor: Visitor, wanted: Wanted = None) -> Response:
    """Show how to set the second factor up, or that it is."""
    return _factor_page(request, visitor, wanted)


@router.get("/second-factor/picture.svg")
def factor_picture(visitor: Visitor, session: Transaction) -> Response:
    """Draw the secret that is being set up; once it is in force nothing shows it again."""
    secret = own_factor.secret_in_preparation(session, visitor.actor)
    drawn = second_factor.picture(secret, login=visitor.actor.name)
    return Response(drawn, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})


@router.post("/second-factor")
def confirm_factor(request: Request, visitor: Visitor, form: ProtectedForm) -> Response:
    """Put the second factor into force, and show the recovery codes this once."""
    with request.app.state.database.write() as session:
        codes = own_factor.confirm(session, visitor.actor, form.get("code", ""))
    if codes is None:
        return _factor_page(request, visitor, form.get("next"), fault="factor.refused", status=422)
    place = safe_next(form.get("next"))
    response = render(request, "recovery_codes.html", visitor=_whole(visitor), codes=codes, place=place)
    if visitor.stage is SignInStage.SET_UP and visitor.actor.id is not None:
        token = session_token(request) or ""
        opened = rules_of(request).after_set_up(token, visitor.actor.id, visit_of(request))
        set_session_cookies(response, opened, request.app.state.settings)
    return response


@router.post("/second-factor/recovery-codes")
def renew_codes(request: Request, visitor: Visitor, form: ProtectedForm) -> Response:
    """Replace the recovery codes, against a code."""
    with request.app.state.database.write() as session:
        codes = own_factor.renew_codes(session, visitor.actor, form.get("code", ""), visit_of(request))
    if codes is None:
        return _factor_page(request, visitor, None, fault="factor.refused", status=422)
    return render(request, "recovery_codes.html", visitor=visitor, codes=codes, place="/account")


@router.post("/second-factor/remove")
def remove_factor(request: Request, visitor: Visitor, form: ProtectedForm) -> Response:
    """Give the second factor up, against a code; where one is required, another has to be set up at once."""
    required = request.app.state.settings.second_factor == "required"
    with request.app.state.database.write() as session:
        removed = own_factor.remove(
            session, visitor, form.get("code", ""), visit_of(request), must_set_up=required
        )
    if not removed:
        return _factor_page(request, visitor, None, fault="factor.refused", status=422)
    return RedirectResponse("/account/second-factor", status_code=303)


def _page(
    request: Request,
    visitor: SignedIn,
    *,
    done: str | None = None,
    fault: str | None = None,
    status: int = 200,
) -> Response:
    words = words_of(request)
    with request.app.state.database.read() as session:
        account = session.get(LocalAccount, visitor.actor.id)
        own = sessions_of(session, visitor.actor.id) if visitor.actor.id is not None else []
    lines = [
        {
            "id": str(one.id),
            "here": one.id == visitor.session_id,
            "began": words.moment(one.created_at),
            "seen": words.moment(one.last_seen_at),
            "ends": words.moment(one.expires_at),
            "address": one.address,
            "method": words.t(METHODS[SignInMethod(one.method)]),
        }
        for one in own
    ]
    return render(
        request,
        "account.html",
        status=status,
        visitor=visitor,
        address="/account",
        done=done,
        fault=fault,
        lines=lines,
        shortest=SHORTEST,
        longest=LONGEST,
        has_password=account is not None and account.password_hash is not None,
        has_factor=account is not None and account.totp_set_at is not None,
        factor_setting=request.app.state.settings.second_factor,
    )


def _factor_page(
    request: Request, visitor: SignedIn, wanted: str | None, *, fault: str | None = None, status: int = 200
) -> Response:
    words = words_of(request)
    with request.app.state.database.write() as session:
        state = own_factor.state_of(session, visitor.actor)
    return render(
        request,
        "second_factor.html",
        status=status,
        visitor=_whole(visitor),
        address="/account/second-factor",
        csrf=visitor.csrf_token,
        setting_up=visitor.stage is SignInStage.SET_UP,
        next=safe_next(wanted),
        fault=fault,
        secret=" ".join(state.secret[at : at + 4] for at in range(0, len(state.secret), 4))
        if state.secret
        else "",
        set_at=words.moment(state.set_at) if state.set_at is not None else None,
        codes_left=state.codes_left,
        required=request.app.state.settings.second_factor == "required",
    )


def _whole(visitor: SignedIn) -> SignedIn | None:
    """Return the visitor for the page's head, which leads nowhere while the session is not whole."""
    return visitor if visitor.stage is SignInStage.FULL else None
