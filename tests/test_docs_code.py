"""The Python code of the documentation runs, and its sessions print what the pages say.

The blocks of a page run in order, in one namespace and in an empty folder. Blocks with prompts are
sessions, whose outputs are compared. A block that cannot run by itself has a comment in front::

    <!-- not run: it reads photos of yours -->
"""

import doctest
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

DOCS = Path(__file__).parents[1] / "docs"
NOT_PAGES = {"benchmarks", "_build", "generated", "auto_examples"}  # measured, or made by sphinx
PAGES = [
    page
    for page in sorted(DOCS.rglob("*.md"))
    if NOT_PAGES.isdisjoint(page.relative_to(DOCS).parts)
]
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\s+)?^```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
DECIMAL = re.compile(r"\d+\.\d+")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """Code of a page: the line it starts on, and why it is not run, or None."""

    code: str
    line: int
    reason: str | None


def blocks_of(text):
    return [
        Block(found["code"], text.count("\n", 0, found.start("code")) + 1, found["reason"])
        for found in BLOCK.finditer(text)
    ]


class SimilarNumbers(doctest.OutputChecker):
    """Lets numbers with a decimal point differ a little, as trainings on other machines do.

    By two and a tenth: write shares in percent.
    """

    def check_output(self, want, got, flags):
        if super().check_output(want, got, flags):
            return True
        wanted, gotten = (np.array(DECIMAL.findall(text), dtype=float) for text in (want, got))
        texts = (DECIMAL.sub("0.0", text) for text in (want, got))
        return (
            super().check_output(*texts, flags)
            and len(wanted) == len(gotten)
            and np.allclose(gotten, wanted, rtol=0.1, atol=2.0)
        )


def run_block(block, page, namespace):
    if ">>> " not in block.code:
        # Empty lines in front: errors then name lines of the page.
        code = compile("\n" * (block.line - 1) + block.code, page, "exec")
        exec(code, namespace)
        return
    session = doctest.DocTestParser().get_doctest(
        block.code, namespace, "session", page, block.line - 1
    )
    report = []
    runner = doctest.DocTestRunner(checker=SimilarNumbers(), optionflags=FLAGS)
    runner.run(session, out=report.append, clear_globs=False)
    namespace.update(session.globs)
    assert not runner.failures, "".join(report)


def run_page(text, page="page.md"):
    namespace = {"__name__": "__main__"}  # as in a script: other processes get functions by value
    for block in blocks_of(text):
        if block.reason is None:
            run_block(block, page, namespace)
    return namespace


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(DOCS)) for page in PAGES])
def test_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(page.read_text(encoding="utf-8"), str(page))


def test_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    as_printed = "ProtoNetClassifier(random_state=0, verbose=1)"
    assert text.count(as_printed) == 1
    # The quick start trains to the end on the same data.
    run_page(text.replace(as_printed, "ProtoNetClassifier(max_epochs=1, random_state=0)"))


def test_nearly_all_blocks_are_run():
    blocks = [block for page in PAGES for block in blocks_of(page.read_text(encoding="utf-8"))]
    assert len(blocks) >= 8
    assert sum(block.reason is not None for block in blocks) <= len(blocks) / 10


# ---------------------------------------------------------------------- the tests of these tests

SESSION = """\
```python
a = 1.5
```

Text.

```python
>>> print(f"{a:.2f} of {b}")
{output}
>>> c = a
```
"""


def test_blocks_share_a_namespace_and_sessions_are_compared():
    text = "```python\nb = 'all'\n```\n" + SESSION
    assert run_page(text.replace("{output}", "1.50 of all"))["c"] == 1.5
    assert run_page(text.replace("{output}", "3.50 of all"))["c"] == 1.5
    for wrong in ("4.00 of all", "1.50 of none", "1 of all", "1.50 of 0.0"):
        with pytest.raises(AssertionError, match="Expected"):
            run_page(text.replace("{output}", wrong))


def test_an_error_names_the_line_of_the_page():
    with pytest.raises(NameError) as error:
        run_page("Text.\n\n```python\nx = 1\nundefined\n```\n")
    assert error.traceback[-1].lineno == 4  # counted from 0


def test_a_block_with_a_reason_is_not_run():
    text = "<!-- not run: a file of yours -->\n\n```python\nopen('yours')\n```\n"
    assert [block.reason for block in blocks_of(text)] == ["a file of yours"]
    run_page(text)
    with pytest.raises(FileNotFoundError):
        run_page(text.replace("not run", "is run"))


def test_a_warning_is_an_error():
    with pytest.raises(UserWarning, match="careful"):
        run_page("```python\nimport warnings\nwarnings.warn('careful')\n```\n")
