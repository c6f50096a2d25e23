"""Both catalogues, and the choice between them."""

import re
from string import Formatter

import pytest

from service.errors import ForeignDivisionError, ServiceError
from service.language import LANGUAGES, MissingTranslationError, catalogue, choose_language, translate
from service.problems import problem_classes


def values_of(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_both_languages_have_the_same_keys() -> None:
    assert catalogue("en").keys() == catalogue("zh-CN").keys()


def test_both_languages_take_the_same_values() -> None:
    differing = [
        key
        for key in catalogue("en")
        if values_of(translate("en", key)) != values_of(translate("zh-CN", key))
    ]
    assert differing == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_empty_or_left_in_the_other_language(language: str) -> None:
    for key, text in catalogue(language).items():
        assert text.strip() == text != "", key
        if key.startswith("problem."):
            assert bool(re.search(r"[\u4e00-\u9fff]", text)) is (language == "zh-CN"), key


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", sorted(problem_classes()))
def test_every_problem_code_is_explained(language: str, code: str) -> None:
    for part in ("title", "meaning", "remedy"):
        assert translate(language, f"problem.{code}.{part}")


def test_no_explained_code_is_out_of_use() -> None:
    explained = {key.split(".")[1] for key in catalogue("en") if key.startswith("problem.")}
    assert explained == set(problem_classes())


def test_a_code_names_one_class_only() -> None:
    def subclasses(cls: type[ServiceError]) -> set[type[ServiceError]]:
        return {cls}.union(*map(subclasses, cls.__subclasses__()))

    ours = [cls for cls in subclasses(ServiceError) if cls.__module__ == "service.errors"]
    # What lies in another division is told as what does not exist, so that nobody learns that it does.
    named = [cls for cls in ours if cls is not ForeignDivisionError]
    assert len({cls.code for cls in named}) == len(named)
    assert all("status" in vars(cls) and "code" in vars(cls) for cls in ours)


def test_a_missing_key_value_or_language_is_an_error() -> None:
    with pytest.raises(MissingTranslationError, match=r"no\.such"):
        translate("en", "no.such")
    with pytest.raises(MissingTranslationError):
        translate("fr", "problem.not-found.title")
    with pytest.raises(MissingTranslationError, match="bound"):
        translate("en", "invalid.too-small.remedy", other=1)


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (None, "zh-CN"),
        ("", "zh-CN"),
        ("en", "en"),
        ("EN-gb", "en"),
        ("zh-Hans-CN", "zh-CN"),
        ("zh-TW;q=0.9, en;q=0.8", "zh-CN"),
        ("zh;q=0.3,en;q=0.8", "en"),
        ("de, en;q=0.5", "en"),
        ("de", "zh-CN"),
        ("*", "zh-CN"),
        ("en;q=0", "zh-CN"),
        ("en;q=9", "zh-CN"),
        ("en;q=nan", "zh-CN"),
        ("en;q=", "zh-CN"),
        ("en;level=1", "zh-CN"),
        (";;;,,,=", "zh-CN"),
        ("x" * 100_000, "zh-CN"),
    ],
)
def test_the_header_chooses_the_language(accepted: str | None, chosen: str) -> None:
    assert choose_language(accepted, "zh-CN") == chosen
