"""The pages of the hooks are what the docstrings say now, and nothing can go without a docstring."""

import importlib.util
from pathlib import Path

import pytest

from metarec_sdk.plugins import KINDS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def hook_pages():
    spec = importlib.util.spec_from_file_location("hook_pages", DOCS / "hook_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_up_to_date(hook_pages):
    written = hook_pages.pages()
    assert {path.name for path in hook_pages.FOLDER.glob("*.md")} == set(written)
    for name, text in written.items():
        assert (hook_pages.FOLDER / name).read_text(encoding="utf-8") == text, f"{name}: run `make docs`"


def test_every_kind_has_a_page_in_the_cookbook():
    for kind in KINDS.values():
        assert (DOCS / "plugins" / "cookbook" / f"{kind.name}.md").exists()


def test_an_undocumented_hook_fails(hook_pages):
    def metarec_something(): ...

    with pytest.raises(ValueError, match="metarec_something has no docstring"):
        hook_pages.page("metarec_something", metarec_something, None)


def test_an_undocumented_argument_fails(hook_pages):
    def metarec_something(first, second):
        """Says something.

        Args:
            first: is described.
        """

    with pytest.raises(ValueError, match=r"describes \['first'\]; its arguments are \['first', 'second'\]"):
        hook_pages.page("metarec_something", metarec_something, None)


def test_an_undocumented_method_of_a_protocol_fails(hook_pages):
    class Silent:
        """A protocol."""

        def say(self, word: str) -> str: ...

    with pytest.raises(ValueError, match=r"Silent\.say has no docstring"):
        hook_pages._member(Silent, "say")


def test_what_a_method_is_given_is_described_one_click_away(hook_pages):
    written = hook_pages.pages()
    page = written["metarec_register_rerankers.md"]
    for name, fields in {"Histories": ("weights", "timestamps"), "TopK": ("offsets", "scores")}.items():
        assert f"[`{name}`](types.md#{name.lower()})" in page
        section = written["types.md"].partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert all(f"| `{field}` |" in section for field in fields)
    assert "types.md#" not in written["metarec_register_content_encoders.md"]
