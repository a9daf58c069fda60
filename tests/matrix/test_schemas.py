from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from matrix import schemas
from matrix.configuration import HERE
from matrix.knowledge import Knowledge
from matrix.ledger import FOLDER
from matrix.pins import choose
from matrix.published import LISTING
from reports import jsonfile
from reports.wheel import summary

NAMES = (*schemas.FILES, *schemas.OUTPUTS)


def shipped(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schemas.path(name).read_text(encoding="utf-8")))


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping in a document, the outer before the inner."""
    if isinstance(value, dict):
        yield value
    children = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    )
    for child in children:
        yield from objects(child)


def data(name: str) -> Any:
    return yaml.safe_load((HERE / f"{name}.yaml").read_text(encoding="utf-8"))


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return Knowledge.load()


@pytest.fixture(scope="module")
def stack(knowledge: Knowledge) -> str:
    return knowledge.stacks[0].name


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_schema_is_what_the_models_say(name: str) -> None:
    told = f"{schemas.path(name)} is out of date: run python -m matrix.schemas"
    assert schemas.path(name).read_text(encoding="utf-8") == schemas.encoded(name), told


def test_no_schema_is_shipped_that_no_model_stands_behind() -> None:
    assert {path.name for path in schemas.FOLDER.iterdir()} == {f"{n}.schema.json" for n in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_sound_and_says_what_it_is_for(name: str) -> None:
    held = schemas.schema(name)
    Draft202012Validator.check_schema(held)
    assert held["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "$id" not in held
    assert held["title"]
    assert held["description"]
    for part in held["$defs"].values():
        assert part["additionalProperties"] is False
        assert part["description"]
        assert "\n    " not in part["description"]


@pytest.mark.parametrize("name", schemas.FILES)
def test_a_data_file_names_its_schema_and_is_valid(name: str) -> None:
    head = (HERE / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert head.startswith("# ")
    assert head.endswith(f"Schema: schema/{name}.schema.json")
    shipped(name).validate(data(name))


def test_every_data_file_has_a_schema() -> None:
    assert {path.stem for path in HERE.glob("*.yaml")} == set(schemas.FILES)


@pytest.mark.parametrize("name", schemas.FILES)
def test_a_planted_key_or_a_wrong_type_in_a_data_file_is_refused(name: str) -> None:
    sound, validator = data(name), shipped(name)
    entry = next(v for v in sound.values() if isinstance(v, list))[0]
    for key, value in (("planted", 1), (next(iter(entry)), {"a": []})):
        kept = copy.copy(entry)
        entry[key] = value
        with pytest.raises(ValidationError):
            validator.validate(sound)
        entry.clear()
        entry.update(kept)
    validator.validate(sound)
    sound["planted"] = []
    with pytest.raises(ValidationError):
        validator.validate(sound)


def test_a_word_outside_a_closed_list_is_refused() -> None:
    sound = data("defects")
    sound["defects"][0]["reason"] = "bad_luck"
    with pytest.raises(ValidationError, match="bad_luck"):
        shipped("defects").validate(sound)


def refused_when_planted(name: str, sound: Any, most: int = 60) -> None:
    """See `sound` pass, and a value that no key has refused in each of its mappings, `most` at most."""
    validator = shipped(name)
    validator.validate(sound)
    for each in itertools.islice(objects(sound), most):
        each["planted"] = [[]]
        assert not validator.is_valid(sound), each
        del each["planted"]
    validator.validate(sound)


def test_a_report_is_valid(knowledge: Knowledge, stack: str) -> None:
    report = knowledge.report(generated="2026-11-21T00:00:00Z", stacks=[stack], targets=["sm121"])
    sound = json.loads(jsonfile.render(report))
    assert sound["cells"]
    refused_when_planted("show", sound)
    sound["cells"][0]["verdict"] = "perfect"
    with pytest.raises(ValidationError, match="perfect"):
        shipped("show").validate(sound)


def test_a_report_of_every_target_is_valid(knowledge: Knowledge, stack: str) -> None:
    report = knowledge.report(generated="2026-11-21T00:00:00Z", stacks=[stack])
    shipped("show").validate(json.loads(jsonfile.render(report)))


def test_a_choice_of_pins_is_valid(knowledge: Knowledge) -> None:
    report = knowledge.report(generated="", targets=["sm121"], capabilities=["gemm"])
    choice = choose(report, target="sm121", needs=["gemm"], machines=["aarch64"])
    assert choice.rejected
    refused_when_planted("pins", json.loads(msgspec.json.encode(choice)))


def records() -> list[Path]:
    """Pick a record of each package."""
    found = {path.parent: path for path in sorted(FOLDER.glob("*/*.json"))}
    return list(found.values())


@pytest.mark.parametrize("path", records(), ids=lambda path: path.parent.name)
def test_a_record_of_the_ledger_is_valid(path: Path) -> None:
    refused_when_planted("record", json.loads(path.read_bytes()), most=8)


def test_an_audit_is_valid(knowledge: Knowledge, stack: str) -> None:
    package, _, version = stack.partition("==")
    record = knowledge.published.record(package, version, "x86_64")
    assert record
    told = summary(record, knowledge.configuration, "x86_64")
    refused_when_planted("audit", json.loads(msgspec.json.encode(told)))


def test_the_listing_is_valid() -> None:
    refused_when_planted("releases", json.loads((FOLDER / LISTING).read_bytes()))


def test_a_plan_is_valid(command: Command) -> None:
    code, out, _ = command("plan", "--json", "--target", "sm121")
    assert code in (0, 1)
    refused_when_planted("plan", json.loads(out))


def test_the_command_writes_every_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "FOLDER", tmp_path / "schema")
    schemas.main()
    for name in NAMES:
        assert schemas.path(name).read_text(encoding="utf-8") == schemas.encoded(name)
