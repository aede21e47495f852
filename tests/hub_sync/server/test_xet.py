"""Uploads through Xet by the stock client, and what is refused."""

import hashlib
import struct
from pathlib import Path

import lz4.frame
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from hub_sync.xetformat import _TAG
from tests.hub_sync.served import Hub, add, in_thread, noise

LZ4 = b"\x04\x22\x4d\x18"  # how a frame begins


def token(hub: Hub, repo: str, who: str = "alice") -> tuple[str, dict[str, str]]:
    """Where to upload, and the header for it."""
    with hub.http(who) as http:
        found = http.get(f"/api/models/{repo}/xet-write-token/main").json()
    return found["casUrl"], {"Authorization": f"Bearer {found['accessToken']}"}


def shard(sha256: str, *terms: tuple[str, int, int, int]) -> bytes:
    """A shard of one file: (xorb, bytes, first chunk, chunk after the last) each."""

    def hashed(text: str) -> bytes:
        return b"".join(struct.pack("<Q", int(text[i : i + 16], 16)) for i in range(0, 64, 16))

    header = _TAG + struct.pack("<QQ", 2, 0)
    file = bytes(32) + struct.pack("<IIQ", 1 << 30, len(terms), 0)
    body = b"".join(hashed(xorb) + struct.pack("<IIII", 0, *rest) for xorb, *rest in terms)
    return header + file + body + hashed(sha256) + bytes(16) + b"\xff" * 32 + bytes(16)


def test_files_go_up_from_memory_and_from_the_disk(hub: Hub, tmp_path: Path) -> None:
    repo, text, data = hub.new_repo(), b"compressible " * 100_000, noise(2_500_000)
    (tmp_path / "file").write_bytes(data)
    hub.api().create_commit(repo, [add("a.bin", text), add("empty.bin", b"")], commit_message="m")
    hub.api().upload_file(path_or_fileobj=tmp_path / "file", path_in_repo="b.safetensors", repo_id=repo)
    assert (hub.read(repo, "a.bin"), hub.read(repo, "b.safetensors")) == (text, data)
    assert list((hub.root / "xet").iterdir())  # so it was not LFS


def test_floats_that_are_packed_byte_by_byte(hub: Hub) -> None:
    import numpy as np

    data = np.random.default_rng(0).normal(0, 0.02, 300_000).astype(np.float32).tobytes()
    repo = hub.new_repo()
    hub.api().create_commit(repo, [add("a.safetensors", data)], commit_message="m")
    assert hub.read(repo, "a.safetensors") == data


def test_a_contributor_who_may_only_read_uploads_for_a_pull_request(hub: Hub) -> None:
    repo, data = hub.new_repo(), noise(100_000)
    hub.api("carol").create_commit(repo, [add("d.bin", data)], commit_message="mine", create_pr=True)
    assert hub.read(repo, "d.bin", "refs/pr/1") == data


def test_a_folder_as_a_pull_request_is_a_draft(hub: Hub, tmp_path: Path) -> None:
    repo = hub.new_repo()
    (tmp_path / "a.bin").write_bytes(noise(1000))
    HfApi.upload_folder(hub.api("bob"), repo_id=repo, folder_path=tmp_path, create_pr=True)
    (found,) = hub.api().get_repo_discussions(repo)
    assert (found.status, found.is_pull_request) == ("draft", True)


def test_an_upload_that_broke_off_goes_on_and_one_that_was_committed_is_over(hub: Hub) -> None:
    repo = hub.new_repo()
    first, _ = token(hub, repo)
    assert token(hub, repo)[0] == first
    assert token(hub, repo, "bob")[0] != first
    hub.api().create_commit(repo, [add("a.bin", noise(1000))], commit_message="m")
    assert token(hub, repo)[0] != first


def xorb_of(*chunks: tuple[bytes, int]) -> bytes:
    """(what is in it, size) each, unpacked."""
    sizes = [(data, len(data).to_bytes(3, "little"), size.to_bytes(3, "little")) for data, size in chunks]
    return b"".join(bytes([0, *packed, int(data[:4] == LZ4), *size]) + data for data, packed, size in sizes)


def test_a_shard_of_unknown_xorbs_or_with_a_wrong_hash_is_refused_and_its_space_goes(hub: Hub) -> None:
    repo, xorb, content = hub.new_repo(), "1" * 64, b"chunk one"
    file = shard("2" * 64, (xorb, len(content), 0, 1))
    with hub.http() as http:
        address, key = token(hub, repo)
        answer = http.post(f"{address}/v1/shards", content=file, headers=key)
        assert answer.status_code == 400 and f"xorb {xorb} was not uploaded" in answer.json()["error"]
        url = f"{address}/v1/xorbs/default/{xorb}"
        assert http.post(url, content=b"x", headers=key).status_code == 404
        address, key = token(hub, repo)
        url, packed = f"{address}/v1/xorbs/default/{xorb}", xorb_of((content, len(content)))
        assert http.post(url, content=packed, headers=key).json() == {"was_inserted": True}
        assert http.post(url, content=packed, headers=key).json() == {"was_inserted": False}
        answer = http.post(f"{address}/v2/shards", content=file, headers=key)
        assert answer.status_code == 400 and "what was uploaded is" in answer.json()["error"]
        assert not (hub.root / "xet" / address.rsplit("/", 1)[1]).exists()
        for broken in (b"", b"x" * 100, file[:100]):
            assert http.post(f"{address}/v1/shards", content=broken, headers=key).status_code == 400
    assert not list((hub.root / "blobs" / "incoming").iterdir())


def test_a_few_bytes_do_not_become_more_than_there_is_room_for(tmp_path: Path) -> None:
    packed, xorb = lz4.frame.compress(bytes(1 << 20)), "1" * 64
    assert len(packed) < 10_000
    files = [hashlib.sha256(bytes(count << 20)).hexdigest() for count in (1, 2)]
    with in_thread(tmp_path / "store", max_pull_request_bytes=5 << 19) as hub, hub.http() as http:
        address, key = token(hub, hub.new_repo(), "carol")
        http.post(f"{address}/v1/xorbs/default/{xorb}", content=xorb_of((packed, 1 << 20)), headers=key)
        statuses = [
            http.post(f"{address}/v1/shards", content=shard(name, *parts), headers=key).status_code
            for name, parts in zip(files, ([(xorb, 1 << 20, 0, 1)], [(xorb, 1 << 20, 0, 1)] * 2), strict=True)
        ]
        assert statuses == [200, 413]
        assert [path.name for path in (hub.root / "blobs").glob("??/??/*")] == files[:1]


def test_a_key_is_good_for_one_upload_and_nothing_else(hub: Hub) -> None:
    one, key = token(hub, hub.new_repo())
    other, _ = token(hub, hub.new_repo("bob"), "bob")
    with hub.http() as http:
        url = "/v1/xorbs/default/" + "1" * 64
        assert http.post(other + url, content=b"x", headers=key).status_code == 403
        assert http.post(one + url, content=b"x").status_code == 403
        assert http.post(one + url, content=b"x", headers={"Authorization": "Bearer a.b"}).status_code == 403
        assert http.get("/api/whoami-v2", headers=key).status_code == 401


def test_caps_hold_for_xet_too(tmp_path: Path) -> None:
    with in_thread(tmp_path / "store", max_file_bytes=1_000_000, max_pull_request_bytes=500_000) as hub:
        repo = hub.new_repo()
        with pytest.raises(HfHubHTTPError, match="this Hub takes"):
            hub.api().create_commit(repo, [add("a.bin", noise(1_000_001))], commit_message="m")
        address, key = token(hub, repo)
        with hub.http() as http:
            file = shard("2" * 64, ("1" * 64, 1_000_001, 0, 1))
            assert http.post(f"{address}/v1/shards", content=file, headers=key).status_code == 413
