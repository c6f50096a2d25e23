"""What every page must be, whatever it shows; and how tests read pages and fill in forms."""

import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser

from fastapi.testclient import TestClient
from httpx2 import Response

from service.auth.cookies import session_cookie_name
from service.auth.service import authenticate
from service.auth.sessions import start_session
from service.language import LANGUAGES, catalogue
from service.tables import Officer

VOID = frozenset({"meta", "link", "input", "img", "br", "hr", "rect"})
LABELLED = frozenset({"input", "select", "textarea"})
SECTIONS = {key.partition(".")[0] for language in LANGUAGES for key in catalogue(language)}
KEY = re.compile(rf"(?<![\w/.-])(?:{'|'.join(sorted(SECTIONS))})\.[a-z_]+(?![\w.-])")
"""What a text key would look like if it were shown instead of its text."""

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@dataclass
class Element:
    """One element: its name, attributes, and the text within it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Form:
    """One form with the values that a browser would send if it were submitted as shown."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """A parsed page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.forms: list[Form] = []
        self._open: list[Element] = []
        self._select = ""
        self._textarea: str | None = None
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        element = Element(tag, attributes)
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)
        if tag == "form":
            self.forms.append(Form(attributes["action"], attributes["method"]))
        elif self.forms and any(one.tag == "form" for one in self._open):
            self._collect(tag, attributes)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID, f"<{tag}/>"
        self.handle_starttag(tag, attrs)

    def _collect(self, tag: str, attributes: dict[str, str]) -> None:
        fields = self.forms[-1].fields
        if tag == "input":
            ticked = "checked" in attributes or attributes.get("type") not in ("radio", "checkbox")
            if ticked and "name" in attributes:
                fields[attributes["name"]] = attributes.get("value", "")
        elif tag == "select":
            self._select = attributes["name"]
            fields[self._select] = ""
        elif tag == "option" and "selected" in attributes:
            fields[self._select] = attributes.get("value", "")
        elif tag == "textarea":
            self._textarea = attributes["name"]
            fields[self._textarea] = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        for element in self._open:
            element.text += data
        if self._textarea is not None:
            self.forms[-1].fields[self._textarea] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._textarea = None
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def all(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]

    def by_id(self, wanted: str) -> Element:
        return next(one for one in self.elements if one.attributes.get("id") == wanted)

    def form(self, ending: str) -> Form:
        """The form whose address ends like this."""
        return next(form for form in self.forms if form.action.endswith(ending))

    def has_form(self, ending: str) -> bool:
        return any(form.action.endswith(ending) for form in self.forms)


def checked_page(response: Response, language: str) -> Page:
    """Parse a page and assert what holds for every page."""
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-language"] == language
    assert response.headers["cache-control"] == "no-store"
    assert "default-src 'self'" in response.headers["content-security-policy"]
    return check_page(response.text, language)


def check_page(html: str, language: str, *, name: str = "") -> Page:
    """Parse a page's text and assert what holds for every page; `name` says which in a failure."""
    page = Page(html)
    assert page.all("html")[0].attributes["lang"] == language, name
    assert page.all("title")[0].text.strip(" ·"), name
    assert len(page.all("h1")) == 1, f"{name}: one h1"
    assert page.all("h1")[0].text.strip(), name
    _assert_ids(page, name)
    _assert_labels(page, name)
    _assert_own(page, name)
    assert not KEY.search(page.text), f"{name}: a text is missing: {KEY.search(page.text)}"
    assert "{" not in page.text, f"{name}: a value was not filled in"
    return page


def _assert_ids(page: Page, where: str) -> None:
    ids = Counter(element.attributes["id"] for element in page.elements if "id" in element.attributes)
    assert not [name for name, times in ids.items() if times > 1], f"{where}: ids are unique"
    for element in page.elements:
        for attribute in ("aria-labelledby", "aria-describedby", "for"):
            for name in element.attributes.get(attribute, "").split():
                assert name in ids, f"{where}: {attribute}={name} points nowhere"
        target = element.attributes.get("href", "")
        assert not target.startswith("#") or target[1:] in ids, f"{where}: {target} points nowhere"


def _assert_labels(page: Page, where: str) -> None:
    labelled = {element.attributes["for"] for element in page.all("label") if element.text.strip()}
    for element in page.elements:
        if element.tag in LABELLED and element.attributes.get("type") != "hidden":
            assert element.attributes.get("id") in labelled, f"{where}: {element.attributes} has no label"
        if element.tag == "img":
            assert "alt" in element.attributes, where
        if element.tag == "th":
            assert element.attributes.get("scope") in ("col", "row"), f"{where}: {element.text}"
        if element.tag in ("button", "a", "summary", "legend", "caption"):
            assert element.text.strip() or element.tag == "a", f"{where}: an empty <{element.tag}>"


def _assert_own(page: Page, where: str) -> None:
    """Nothing comes from elsewhere and nothing is written into the page that the policy would block."""
    for element in page.elements:
        assert element.tag not in ("style", "base", "iframe", "object")
        assert not element.attributes.get("style")
        assert not [name for name in element.attributes if name.startswith("on")]
        if element.tag == "script":
            assert element.attributes.get("src"), where
        for name in ("src", "href", "action"):
            value = element.attributes.get(name)
            assert value is None or value.startswith(("/", "#")), f"{where}: {value} is not ours"
            assert value is None or not value.startswith("//")


def sign_in(client: TestClient, key: str) -> None:
    """Give the client's browser a session of the officer whose access key this is.

    Signing in itself is tested in `test_sign_in.py`; elsewhere it would only cost the time of a hash.
    """
    state = client.app.state  # type: ignore[attr-defined]  # typed as any ASGI application
    with state.database.write() as session:
        officer = session.get_one(Officer, authenticate(session, key).id)
        token = start_session(session, officer, hours=8)
    client.cookies.set(session_cookie_name(state.settings), token, domain="testserver.local", path="/")


def use_language(client: TestClient, language: str) -> None:
    """Choose a language as the button does."""
    answer = client.post("/language", data={"language": language, "next": "/"}, follow_redirects=False)
    assert answer.status_code == 303


def submit(client: TestClient, page: Page, ending: str, **typed: str) -> Response:
    """Send a form of a page with what was typed; dashes in names are written as underscores."""
    form = page.form(ending)
    fields = form.fields | {name.replace("_", "-"): value for name, value in typed.items()}
    return client.request(form.method, form.action, data=fields, headers=BROWSER)
