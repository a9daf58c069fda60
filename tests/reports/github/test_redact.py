from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.cell import Item, Report
from reports import html
from reports.github.redact import Redactor

PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nabc/def+ghi=\n-----END RSA PRIVATE KEY-----"
)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("token ghp_abcdefghijklmnopqrst1234 used", "ghp_abcdefghijklmnopqrst1234"),
        ("ghs_abcdefghijklmnopqrst1234", "ghs_abcdefghijklmnopqrst1234"),
        ("github_pat_11ABCDEFG0abcdefghijkl_mnop", "github_pat_11ABCDEFG0abcdefghijkl_mnop"),
        ("HF_TOKEN=hf_abcdefghijklmnopqrstuv", "hf_abcdefghijklmnopqrstuv"),
        ("AKIAABCDEFGHIJKLMNOP", "AKIAABCDEFGHIJKLMNOP"),
        ("Authorization: Bearer abcdef.ghijkl-mnop", "abcdef.ghijkl-mnop"),
        ("authorization: token 0123456789abcdef", "0123456789abcdef"),
        ("jwt eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiI0NzExIn0.c2ln", "eyJpc3MiOiI0NzExIn0"),
        ("https://user:hunter22@index.example/simple", "hunter22"),
        ("https://hunter22token@index.example/simple", "hunter22token"),
        (f"key:\n{PEM}\nend", "MIIEowIBAAKCAQEA"),
        (PEM[:60], "MIIEowIBAAKCAQEA"),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_does_not_get_out(text: str, secret: str) -> None:
    assert secret not in Redactor().text(text)
    assert secret not in Redactor().value((text,))[0]


@pytest.mark.parametrize(
    "text",
    ["vllm==0.33.0", "sk-sm121", "desk-with-two-gpus-of-a-kind-a", "ssh://git@host/x", "the token is missing", "bearer of news", "https://example.org/a@b", "ghp_short",
     "a block of 16 shares an E4M3 scale", "sha256:" + "ab12" * 16],
)  # fmt: skip
def test_other_text_stays_as_it_is(text: str) -> None:
    assert Redactor().text(text) == text


@given(
    st.text(min_size=6, max_size=40).filter(
        lambda text: len(text.strip()) >= 6 and text.isprintable()
    )
)
def test_what_is_held_is_found_anywhere(secret: str) -> None:
    assert secret.strip() not in Redactor([secret]).text(f"a{secret}b").replace("***", "\0")


def test_lines_of_a_key_are_secrets_too() -> None:
    assert Redactor([PEM]).text("found abc/def+ghi= in a log") == "found *** in a log"


def test_short_words_are_no_secrets() -> None:
    assert Redactor(["", "ab"]).text("ab is fine") == "ab is fine"


def test_a_report_loses_its_secrets_before_it_is_drawn(small: Report) -> None:
    token = "ghp_abcdefghijklmnopqrst1234"
    item = Item(
        kind="result",
        name="probe",
        answer="fail",
        text=f"env GITHUB_TOKEN={token}",
        where=f"https://x:{token}@y",
    )
    first, *rest = small.cells
    leaky = msgspec.structs.replace(
        small, cells=(msgspec.structs.replace(first, evidence=(item,)), *rest)
    )
    assert token in str(leaky.cells[0])
    clean = Redactor().value(leaky)
    assert token not in msgspec.json.encode(clean).decode()
    assert "abcdefghijklmnopqrst1234" not in html.render(clean)
    assert clean.cells[1:] == small.cells[1:]
