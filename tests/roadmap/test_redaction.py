"""Which parts of an address may be written down."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadmap.record import append_line, read_json, read_lines, write_json
from roadmap.redaction import PublicFormatter, public, public_text, public_uri, without_secrets


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:////data/runs/mlflow.db", "sqlite:////data/runs/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://me:secret@tracking.example:443/mlflow", "https://tracking.example:443/mlflow"),
        ("https://token@tracking.example", "https://tracking.example"),
        ("https://me:se/cr?e#t@tracking.example", "https://tracking.example"),
        ("postgresql://me:secret@db/mlflow?sslcert=secret", "postgresql://db/mlflow"),
        ("https://tracking.example/?token=secret", "https://tracking.example/"),
        ("https://tracking.example?token=secret", "https://tracking.example"),
        ("/data/runs?x", "/data/runs?x"),
        ("off", "off"),
    ],
)
def test_public_uri(uri: str, shown: str) -> None:
    assert public_uri(uri) == shown
    assert public_uri(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("python -m x --tracking=http://me:pw@h:1 --json", "python -m x --tracking=http://h:1 --json"),
        ("no route to 'https://h/?token=x'.", "no route to 'https://h/'."),
        ("(see http://a:b@h/x, http://c:d@i/y)", "(see http://h/x, http://i/y)"),
        ("ratio 3:4 to me@example.org, C://", "ratio 3:4 to me@example.org, C://"),
    ],
)
def test_public_text(text: str, shown: str) -> None:
    assert public_text(text) == shown


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='"<>'), min_size=1))
def test_no_password_is_left_whatever_its_characters(password: str) -> None:
    marked = f"SECRET{password}SECRET"
    assert "SECRET" not in public_text(f"before postgresql://me:{marked}@db/mlflow after")


def test_a_record_never_holds_credentials(tmp_path: Path) -> None:
    command = ["python", "--tracking", "https://me:hunter2@h:5000/?token=abc"]
    write_json(tmp_path / "environment.json", {"command": command, "nested": [{"uri": command[-1]}], "n": 1})
    cleaned = ["python", "--tracking", "https://h:5000/"]
    assert read_json(tmp_path / "environment.json") == {
        "command": cleaned,
        "nested": [{"uri": "https://h:5000/"}],
        "n": 1,
    }
    append_line(tmp_path / "attempts.jsonl", {"message": f"at {command[-1]}"})
    assert read_lines(tmp_path / "attempts.jsonl") == [{"message": "at https://h:5000/"}]


def test_what_is_no_text_stays_what_it_is() -> None:
    assert public({"a": 1, "b": [None, True, 2.5]}) == {"a": 1, "b": [None, True, 2.5]}


def test_log_lines_and_their_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise OSError("cannot reach http://me:hunter2@h")
    except OSError:
        logging.getLogger("x").exception("lost http://h/?token=abc")
    line = PublicFormatter("%(message)s").format(caplog.records[0])
    assert line.startswith("lost http://h/\n")
    assert "cannot reach http://h" in line
    assert "hunter2" not in line


def test_parts_of_an_address_that_stand_alone() -> None:
    uri = "https://anna:hun%20ter2@tracking.example/?token=abc"
    text = without_secrets(f'at {uri}: user "anna", password "hun ter2", url: /?token=abc, annals', uri)
    assert text == 'at https://tracking.example/: user "***", password "***", url: /?***, annals'
