from pathlib import Path

from coldfusion.jsonrecords import to_json
from coldfusion.records import Manifest, Revision
from hub_sync.outbox import Outbox

BASE = Revision("a" * 40)


def manifest(base: Revision = BASE) -> Manifest:
    return Manifest(
        contributor="alice",
        round_index=3,
        base=base,
        codec="exact",
        num_examples=1,
        size=5,
        sha256="0" * 64,
    )


def made(folder: Path) -> Path:
    folder.mkdir()
    (folder / "delta.safetensors").write_text("delta")
    (folder / "manifest.json").write_bytes(to_json(manifest()))
    return folder


def test_a_parcel_is_found_again_by_its_base(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box", address="org/name", contributor="alice")
    assert box.parcel(base=BASE, origin="mine") is None
    box.put(made(tmp_path / "made"), manifest(), origin="mine")
    again = Outbox(tmp_path / "box", address="org/name", contributor="alice").parcel(base=BASE, origin="mine")
    assert again is not None and again.manifest == manifest() and not again.is_agreed
    assert [file.read_bytes()[:5] for file in again.files.values()] == [b"delta", b'{\n  "']
    assert list(again.files) == [
        "contributions/alice/delta.safetensors",
        "contributions/alice/manifest.json",
    ]
    assert box.parcel(base=Revision("b" * 40), origin="mine") is None
    assert box.parcel(base=BASE, origin="other data") is None


def test_others_have_boxes_of_their_own(tmp_path: Path) -> None:
    Outbox(tmp_path, address="org/name", contributor="alice").put(
        made(tmp_path / "made"), manifest(), origin="mine"
    )
    for address, name in (("org/other", "alice"), ("org/name", "bob")):
        assert Outbox(tmp_path, address=address, contributor=name).parcel(base=BASE, origin="mine") is None


def test_a_yes_is_remembered_until_the_box_is_cleared(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box", address="org/name", contributor="alice")
    box.put(made(tmp_path / "made"), manifest(), origin="mine").agree()
    parcel = box.parcel(base=BASE, origin="mine")
    assert parcel is not None and parcel.is_agreed
    box.clear()
    assert box.parcel(base=BASE, origin="mine") is None
    assert not box.put(made(tmp_path / "again"), manifest(), origin="mine").is_agreed


def test_what_a_kill_cut_off_is_made_again(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box", address="org/name", contributor="alice")
    parcel = box.put(made(tmp_path / "made"), manifest(), origin="mine")
    (parcel.folder / "manifest.json").write_text('{"contributor": "al')
    assert box.parcel(base=BASE, origin="mine") is None
