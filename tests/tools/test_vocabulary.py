"""Words that do not belong to the vocabulary are found, and only these."""

from __future__ import annotations

import pytest
from tools.vocabulary import FILES, SPELLINGS, TERMS, check, main, project_files

from tools import vocabulary


def words(text: str, path: str = "page.md") -> list[str]:
    return [use.word for use in check(text, path)]


@pytest.mark.parametrize("word", [*TERMS, *SPELLINGS])
def test_every_listed_word_is_found(word):
    written = f"{word}e" if word.endswith("is") else word
    assert word in words(f"A line.\nHere is {written}, in a sentence.\n")


def test_inflections_and_line_breaks_are_found():
    assert words("Scores foretells the Pictures of a fleet\nthat is told\n    apart.") == [
        "foretell",
        "picture",
        "fleet",
        "told apart",
    ]


def test_parts_of_identifiers_are_found():
    assert words("n_pictures = len(query_picture)\n", "a.py") == ["picture", "picture"]


def test_a_word_inside_another_is_not_found():
    assert words("She imparted centers to depicture, and departed: an optimistic organism.") == []


@pytest.mark.parametrize(
    "code",
    [
        "found = 1",
        "def kept(): ...",
        "class Learnt: ...",
        "def f(given): ...",
        "self_ = [shown for shown in []]",
        "async def _told(): ...",
    ],
)
def test_a_participle_is_no_name(code):
    assert len([w for w in check(code, "a.py") if "verb" in w.instead]) == 1


@pytest.mark.parametrize("code", ["n_found = 1", "# what was found", "found_images = f(x.found)"])
def test_participles_are_allowed_elsewhere(code):
    assert check(code, "a.py") == []


def test_places_count_from_one():
    (use,) = check("one\n  two fleets\n", "a.md")
    assert (use.line, use.column) == (2, 7)
    assert str(use) == "a.md:2:7: 'fleet'; write retrained models, retraining"


@pytest.mark.parametrize("end", ["# vocabulary: allow", "<!-- vocabulary: allow -->"])
def test_a_line_can_be_allowed(end):
    assert check(f"a fleet {end}\n", "a.md") == []


def test_the_exit_code_says_whether_words_were_found(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("An image.", "utf-8")
    assert main([str(page)]) == 0
    page.write_text("A picture.", "utf-8")
    assert main([str(page)]) == 1
    assert "page.md:1:3: 'picture'" in capsys.readouterr().out
    assert main(["--counts", str(page)]) == 1
    assert "1  picture" in capsys.readouterr().out


def test_the_project_is_covered():
    names = {vocabulary._relative(path) for path in project_files()}
    assert {"README.md", "src/creditline/api.py", "tests/conftest.py", "docs/index.md"} <= names
    assert "tools/vocabulary.py" not in names
    assert "pyproject.toml" in FILES
