"""EvalScope as a client."""

from __future__ import annotations

from tests.images.box import Box

SENTENCES = "import nltk; print(len(nltk.sent_tokenize('One sentence. And one more, Mr. Smith said.')))"


def test_what_evaluation_imports_is_there(here: Box) -> None:
    assert here.ask("imports.py", "evalscope", "evalscope.perf.main", "nltk") == {}


def test_nltk_has_its_data_without_a_network(here: Box) -> None:
    """Without it EvalScope logs an error and reports a BLEU of 0 as a success."""
    assert here.python(SENTENCES) == "2"


def test_nltk_without_its_data_is_seen(broken: Box) -> None:
    broken.run("rm", "/opt/stack/nltk_data", user="0")
    assert broken.run("python", "-c", SENTENCES).returncode != 0
