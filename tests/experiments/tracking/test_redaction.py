"""Nothing secret in an address is ever shown, and nothing goes to a place that has none."""

import os

import pytest

from experiments import convert, export, run, train
from experiments.tracking.redaction import describe, without_secrets

COMMANDS = [
    (convert, ["frames", "--data", "."]),
    (export, ["--checkpoint", ".", "--height", "8", "--width", "8"]),
    (run, []),
    (train, []),
]
SHOWN = [
    ("postgresql://me:s3cret@host/db", "postgresql://host/db"),
    ("http://me:s3cret@host:5000", "http://host:5000"),
    ("http://me@host:5000/path", "http://host:5000/path"),
    ("http://me:a@s3cret@host", "http://host"),
    ("http://me:a/s3cret@host", "http://host"),
    ("http://me:a?s3cret@host", "http://host"),
    ("http://me:a#s3cret@host", "http://host"),
    ("postgresql+psycopg2://me:s3cret@/db?host=/run/pg", "postgresql+psycopg2:///db?host=/run/pg"),
    ("postgresql:///db?host=h&user=me&password=s3cret", "postgresql:///db?host=h&user=me&password=***"),
    ("https://host/?access_token=s3cret", "https://host/?access_token=***"),
    ("mssql://?odbc_connect=DRIVER%3Dx%3BPWD%3Ds3cret", "mssql://?odbc_connect=***"),
    ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
    ("sqlite:////tmp/mlflow.db", "sqlite:////tmp/mlflow.db"),
    ("plain", "plain"),
]


@pytest.mark.parametrize("uri, shown", SHOWN)
def test_addresses_are_shown_without_credentials(uri, shown):
    assert describe(uri) == shown


@pytest.mark.parametrize("uri", [uri for uri, _ in SHOWN if "s3cret" in uri])
def test_texts_lose_the_address_and_its_secrets(uri):
    text = without_secrets(f"cannot reach {uri!r}: ({uri.partition('://')[2]}) failed", uri)
    assert "s3cret" not in text and text.startswith("cannot reach ")


def test_a_secret_is_found_however_it_is_spelled():
    uri = "postgresql://me:p%40ss%2Fw%20rd@host/db"
    basic = "bWU6cEBzcy93IHJk"  # me:p@ss/w rd
    found = without_secrets(f'"p@ss/w rd" p%40ss%2Fw%20rd {basic} password authentication failed for "me"', uri)
    assert found == '"***" *** *** password authentication failed for "me"'


def test_credentials_of_other_addresses_go_too():
    assert without_secrets("see redis://me:pw@other:1/x and a@b.org", "http://h") == "see redis://other:1/x and a@b.org"


@pytest.mark.parametrize("command, words", COMMANDS)
@pytest.mark.parametrize("name", [b"caf\xe9", b"a\nb"])
def test_a_place_that_no_address_can_hold_is_refused(command, words, name, tmp_path, capsys):
    assert command.main([*words, "--out", str(tmp_path / os.fsdecode(name))]) == 2
    said = capsys.readouterr().err
    assert "has characters that cannot be printed" in said and said.count("\n") == 1 and not list(tmp_path.iterdir())
