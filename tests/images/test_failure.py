from __future__ import annotations

from pathlib import Path

import pytest

from images.failure import Transcript, advice, failed


def heard(*texts: str) -> Transcript:
    made = Transcript()
    for text in texts:
        made.hear(text)
    return made


def test_a_failed_step_is_told_with_its_last_words_what_to_do_and_the_log() -> None:
    told = failed(
        "vllm==1",
        heard(
            "Step 1/9 : FROM x\n",
            "error: of an earlier step\n",
            "Step 8/9 : RUN pip install\n",
            "Collecting a\n",
            "ERROR: No matching distribution found for a==1\n",
        ),
        "The command returned a non-zero code: 1",
        Path("/k/build.log"),
    )
    assert told.exit_code == 3
    assert str(told) == (
        "vllm==1: the build failed at 'RUN pip install': ERROR: No matching distribution found for a==1; "
        "the index that the build reaches has no such wheel: see to --index, or --relock; "
        "the whole log: /k/build.log"
    )


def test_a_step_that_says_nothing_is_told_in_the_engines_words() -> None:
    told = str(failed("s", heard("Step 2/9 : COPY a b\n"), "COPY failed: no\nsuch", Path("log")))
    assert "at 'COPY a b': COPY failed: no such;" in told
    assert "'its first step'" in str(failed("s", heard(), "no base", Path("log")))


def test_colours_are_no_words() -> None:
    transcript = heard("Step 1/2 : RUN x\n", "\x1b[91mnvcc: not found\n\x1b[0m", "\x1b[0m\n")
    assert transcript.words == ["nvcc: not found"]


def test_only_the_last_lines_of_the_step_at_hand_are_told() -> None:
    words = "".join(f"line {n}\n" for n in range(500))
    transcript = heard("Step 1/2 : RUN x\n", words)
    assert len(transcript.words) == 50
    assert ": line 497 / line 498 / line 499; " in str(failed("s", transcript, "", Path("log")))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED]", "--ca-bundle"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "--relock"),
        ("[Errno 28] No space left on device", "make room"),
        ("E: Unable to locate package python3.12", "--python"),
        ("a-1-cp312-x86_64.whl is not a supported wheel on this platform", "glibc"),
        ("/bin/sh: 1: nvcc: not found", "nvcc"),
        ("Temporary failure in name resolution", "HTTPS_PROXY"),
        ("something else", "build again"),
    ],
)
def test_a_known_failure_says_what_to_do(said: str, told: str) -> None:
    assert told in advice(["before", said])
