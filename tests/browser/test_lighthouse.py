"""Lighthouse on a page of each kind. Weight and stillness are held by `test_pages`."""

from tests.browser.reading import Audit, Category


def test_accessibility_and_findability_are_perfect(audits: dict[str, Audit]) -> None:
    perfect: Category = {"score": 1, "wrong": []}
    for place, found in audits.items():
        if place != "bare/":
            assert found == {"accessibility": perfect, "seo": perfect}, place


def test_a_page_without_a_description_or_a_language_would_be_told(audits: dict[str, Audit]) -> None:
    bare = audits["bare/"]
    assert "meta-description" in bare["seo"]["wrong"]
    assert "html-has-lang" in bare["accessibility"]["wrong"]
