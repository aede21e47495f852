"""What every Hub keeps. A new Hub is one more entry in HUBS."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coldfusion.errors import HubError, NotOnHub, StaleParent
from coldfusion.hub import Hub, materialise
from coldfusion.records import Revision, is_revision
from hub_sync.local import LocalHub


def local(room: Path, request: pytest.FixtureRequest) -> Hub:
    return LocalHub(room / "store", author="lab")


def hugging_face(room: Path, request: pytest.FixtureRequest) -> Hub:
    """A new repo on a server, through the real client."""
    client = request.getfixturevalue("client_of")
    return client("lab")  # type: ignore[no-any-return]


HUBS: dict[str, Callable[[Path, pytest.FixtureRequest], Hub]] = {
    "local": local,
    "hugging face": hugging_face,
}


@pytest.fixture(params=HUBS)
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Hub:
    return HUBS[request.param](tmp_path, request)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """One small text and one large file."""
    (tmp_path / "small").write_text("hello")
    (tmp_path / "large").write_bytes(b"x" * 3_000_000)
    return {"notes/README.md": tmp_path / "small", "model.safetensors": tmp_path / "large"}


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_an_empty_repo_has_no_head(hub: Hub) -> None:
    with pytest.raises(NotOnHub):
        hub.head()


def test_a_commit_is_the_new_head_and_keeps_its_files(hub: Hub, files: dict[str, Path]) -> None:
    revision = hub.commit(files, message="first", parent=None)
    assert hub.head() == revision and is_revision(revision)
    for path, source in files.items():
        assert hub.fetch(path, at=revision).read_bytes() == source.read_bytes()


def test_paths_are_sorted_sized_and_told_apart_by_digest(hub: Hub, files: dict[str, Path]) -> None:
    first = hub.commit(files, message="first", parent=None)
    same = {"copy.safetensors": files["model.safetensors"]}
    second = hub.commit(same, message="second", parent=first)
    found = {info.path: info for info in hub.paths(at=second)}
    ours = {path: info.size for path, info in found.items() if path != ".gitattributes"}
    assert ours == {"copy.safetensors": 3_000_000, "model.safetensors": 3_000_000, "notes/README.md": 5}
    assert list(found) == sorted(found)
    assert found["copy.safetensors"].digest == found["model.safetensors"].digest
    assert found["notes/README.md"].digest != found["model.safetensors"].digest
    assert [info.path for info in hub.paths("notes/", at=second)] == ["notes/README.md"]


def test_what_a_commit_removes_is_kept_by_the_revisions_before(hub: Hub, files: dict[str, Path]) -> None:
    first = hub.commit(files, message="first", parent=None)
    new = {"new.safetensors": files["model.safetensors"]}
    second = hub.commit(new, message="second", parent=first, removed=["model.safetensors"])
    left = [info.path for info in hub.paths(at=second) if info.path != ".gitattributes"]
    assert left == ["new.safetensors", "notes/README.md"]
    assert hub.fetch("model.safetensors", at=first).read_bytes() == files["model.safetensors"].read_bytes()
    with pytest.raises(NotOnHub):
        hub.commit(new, message="third", parent=second, removed=["model.safetensors"])
    assert hub.head() == second


def test_revisions_are_immutable(hub: Hub, tmp_path: Path) -> None:
    first = hub.commit({"a": write(tmp_path / "a", "one")}, message="1", parent=None)
    second = hub.commit({"a": write(tmp_path / "a", "two"), "b": tmp_path / "a"}, message="2", parent=first)
    assert hub.fetch("a", at=first).read_text() == "one"
    assert hub.fetch("a", at=second).read_text() == "two"
    with pytest.raises(NotOnHub):
        hub.fetch("b", at=first)


def test_a_commit_against_a_head_that_moved_is_refused_and_leaves_no_trace(hub: Hub, tmp_path: Path) -> None:
    first = hub.commit({"a": write(tmp_path / "a", "one")}, message="1", parent=None)
    second = hub.commit({"a": write(tmp_path / "a", "two")}, message="2", parent=first)
    for parent in (first, None):
        with pytest.raises(StaleParent):
            hub.commit({"a": write(tmp_path / "a", "three")}, message="3", parent=parent)
    assert hub.head() == second


@pytest.mark.parametrize("revision", ["main", "0" * 40, "abc", ""])
def test_reading_needs_a_full_revision_that_is_there(hub: Hub, tmp_path: Path, revision: str) -> None:
    hub.commit({"a": write(tmp_path / "a", "one")}, message="1", parent=None)
    with pytest.raises(NotOnHub):
        hub.paths(at=Revision(revision))
    with pytest.raises(NotOnHub):
        hub.fetch("a", at=Revision(revision))


def test_the_same_files_committed_first_by_somebody_else_are_not_ours(hub: Hub, tmp_path: Path) -> None:
    first = hub.commit({"a": write(tmp_path / "a", "one")}, message="1", parent=None)
    files = {"a": write(tmp_path / "a", "two")}
    second = hub.commit(files, message="2", parent=first)
    with pytest.raises(StaleParent):
        hub.commit(files, message="2", parent=first)
    assert hub.head() == second


def test_a_tag_names_a_revision_for_good(hub: Hub, tmp_path: Path) -> None:
    first = hub.commit({"a": write(tmp_path / "a", "one")}, message="1", parent=None)
    second = hub.commit({"a": write(tmp_path / "a", "two")}, message="2", parent=first)
    hub.tag("round-0000", at=first)
    hub.tag("round-0000", at=first)
    assert hub.resolve("round-0000") == first
    with pytest.raises(HubError):
        hub.tag("round-0000", at=second)
    with pytest.raises(NotOnHub):
        hub.resolve("round-0001")


def test_a_proposal_is_on_top_of_its_parent_and_leaves_main_alone(hub: Hub, tmp_path: Path) -> None:
    first = hub.commit({"a": write(tmp_path / "a", "one")}, message="1", parent=None)
    second = hub.commit({"a": write(tmp_path / "a", "two")}, message="2", parent=first)
    proposal = hub.propose({"b": write(tmp_path / "b", "new")}, title="t", message="m", parent=first)
    assert hub.head() == second
    assert hub.resolve(f"refs/pr/{proposal.number}") == proposal.revision
    assert hub.fetch("a", at=proposal.revision).read_text() == "one"
    assert hub.proposals() == [proposal] and proposal.title == "t"


def test_settling_closes_once_and_for_good(hub: Hub, tmp_path: Path) -> None:
    first = hub.commit({"a": write(tmp_path / "a", "one")}, message="1", parent=None)
    one, two = (hub.propose({"b": tmp_path / "a"}, title=t, message="m", parent=first) for t in "12")
    hub.settle(one.number, comment="thank you")
    hub.settle(one.number, comment="thank you again")
    assert hub.proposals() == [two] and two.number > one.number
    with pytest.raises(NotOnHub):
        hub.settle(99, comment="nobody there")


@pytest.mark.parametrize("path", ["../a", "/a", "a//b", "a/../b", "", ".git/config", "a\\b"])
def test_a_path_cannot_leave_the_repo(hub: Hub, tmp_path: Path, path: str) -> None:
    with pytest.raises(HubError):
        hub.commit({path: write(tmp_path / "a", "one")}, message="1", parent=None)
    with pytest.raises(NotOnHub):
        hub.head()


def test_a_revision_can_be_laid_out_as_a_checkpoint(hub: Hub, files: dict[str, Path], tmp_path: Path) -> None:
    small = {"rounds/0000/record.json": files["notes/README.md"]}
    revision = hub.commit({**files, **small}, message="first", parent=None)
    there = materialise(hub, revision, tmp_path / "there")
    assert (there / "model.safetensors").read_bytes() == files["model.safetensors"].read_bytes()
    assert (there / "notes" / "README.md").read_text() == "hello"
    assert not (there / "rounds").exists()


def test_a_revision_knows_when_it_was_made(hub: Hub, tmp_path: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    first = hub.commit({"a": write(tmp_path / "a", "one")}, message="1", parent=None)
    assert before <= hub.published(first) <= datetime.now(UTC)
    with pytest.raises(NotOnHub):
        hub.published(Revision("0" * 40))


def test_what_was_settled_can_be_forgotten_and_what_is_open_can_not(hub: Hub, tmp_path: Path) -> None:
    first = hub.commit({"a": write(tmp_path / "a", "one")}, message="1", parent=None)
    one, two = (hub.propose({"b": tmp_path / "a"}, title=t, message="m", parent=first) for t in "12")
    with pytest.raises(HubError):
        hub.forget(one.number)
    hub.settle(one.number, comment="thank you")
    assert hub.settled() == [one.number]
    for _ in range(2):
        hub.forget(one.number)
    assert hub.settled() == [] and hub.proposals() == [two]
    with pytest.raises(NotOnHub):
        hub.resolve(f"refs/pr/{one.number}")


def test_a_hub_knows_who_we_are(hub: Hub) -> None:
    assert hub.author == "lab" and hub.address
