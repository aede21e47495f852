"""The metadata at the top of a README.md."""

import base64
import json
import time

import pytest

from hub_sync.server.cards import parse
from tests.hub_sync.served import Hub, add


@pytest.mark.parametrize(
    "readme, card",
    [
        ("no metadata", {}),
        ("---\nlicense: mit\n---\nText", {"license": "mit"}),
        ("\n---\r\ntags: [a, b]\r\n---\r\n", {"tags": ["a", "b"]}),
        ("---\n---\n", {}),
        ("---\na: b---\nc: d\n---\n", {"a": "b---", "c": "d"}),
        ("---\ndate: 2024-01-02\n---\n", {"date": "2024-01-02"}),
        ("# title\n---\na: 1\n---\n", {}),
    ],
)
def test_what_is_in_it(readme: str, card: dict[str, object]) -> None:
    assert parse(readme) == card


@pytest.mark.parametrize(
    "metadata",
    [
        *["a: [", "- a\n- b", "a: &x 1\nb: *x", "a: !!python/object:os.system x", "x: " + "y" * 270_000],
        *["2020-01-01: a", "a: .nan", "a: -.inf", "a: !!timestamp x", 'a: !!int ""', "a: !!bool x"],
        *["a: 2020-13-45", "a: 0x" + "f" * 10_000, "a: " + "[" * 1000 + "]" * 1000],
    ],
)
def test_what_cannot_be_read_is_refused(metadata: str) -> None:
    with pytest.raises(ValueError):
        parse(f"---\n{metadata}\n---\n")


def test_it_is_shown_with_the_repo(hub: Hub) -> None:
    repo = hub.new_repo()
    readme = b"---\nlicense: mit\nbase_model: lab/base\ntags: [coldfusion]\n---\n# Model\n"
    hub.api().create_commit(repo, [add("README.md", readme)], commit_message="m")
    info = hub.api().model_info(repo)
    assert info.tags == ["coldfusion", "license:mit", "base_model:lab/base"]
    assert info.card_data is not None and info.card_data.license == "mit"


@pytest.mark.parametrize("metadata", ["2020-01-01: a", "a: .nan"])
def test_what_is_wrong_with_it_is_said_and_a_repo_that_has_it_is_shown(hub: Hub, metadata: str) -> None:
    repo, readme = hub.new_repo(), f"---\n{metadata}\n---\n"
    with hub.http("alice") as http:
        answer = http.post("/api/validate-yaml", json={"content": readme, "repoType": "model"})
        assert answer.status_code == 400 and answer.json()["errors"][0]["message"]
        line = {"path": "README.md", "content": base64.b64encode(readme.encode()).decode()}
        body = [{"key": "header", "value": {"summary": "m"}}, {"key": "file", "value": line}]
        http.post(f"/api/models/{repo}/commit/main", content="\n".join(map(json.dumps, body)))
        assert http.get(f"/api/models/{repo}").json()["cardData"] == {}


def test_much_metadata_is_read_fast() -> None:
    start = time.process_time()
    assert len(parse("---\na: [" + "a," * 32_000 + "]\n---\n")["a"]) == 32_000
    assert time.process_time() - start < 1
