"""Which tests of the client's own suite are for a Hub such as ours, and why the others are not.

A test counts when it sent at least one request to the Hub under test. Nothing that a federation uses is left
out.
"""

from __future__ import annotations

FILES = (
    *("test_cache_layout.py", "test_cli.py", "test_cli_discussions.py", "test_commit_scheduler.py"),
    *("test_copy_files.py", "test_file_download.py", "test_hf_api.py", "test_hf_file_system.py"),
    *("test_hub_mixin.py", "test_hub_mixin_pytorch.py", "test_repocard.py", "test_snapshot_download.py"),
    *("test_utils_http.py", "test_xet_upload.py"),
)
"""Every file of which some test reaches the Hub; `run.py --all-files` looks into the others too."""

OTHER_MODE = {
    "lfs": ("xet", "is about Xet, which is off in this run"),
    "xet": ("no_xet", "is about the client without Xet"),
}
ALWAYS = (
    ("production", "is about repos of huggingface.co itself"),
    ("inference", "is about inference"),
)
"""Markers, and why what has them is not run."""

BUCKETS = "needs buckets: storage without versions, which only huggingface.co has"
COLLECTIONS = "needs collections of repos"
LIKES = "needs likes"
XET_DOWNLOADS = "needs downloads through Xet; this Hub serves every file over plain HTTP"
LEFT_OUT = {
    "test_bucket_live_follow.py": BUCKETS,
    "test_buckets.py": BUCKETS,
    "test_buckets_cli.py": BUCKETS,
    "test_buckets_hf_file_system.py": BUCKETS,
    "test_copy_files.py": BUCKETS,
    "test_kernels.py": "needs repos of kernels",
    "test_xet_upload.py::TestBucketXetUploadSkipSha256": BUCKETS,
    "test_cli.py::TestRepoListCommand": "needs the storage page of an account's settings",
    "test_cli.py::TestInferenceEndpointsCommands": "needs inference endpoints",
    "test_hf_api.py::TestActivityApi": LIKES,
    "test_hf_api.py::TestCollectionAPI": COLLECTIONS,
    "test_hf_api.py::TestHfApiInferenceCatalog": "needs inference endpoints",
    "test_hf_file_system.py::TestHfFileSystemRepositoryRO::test_get_file_with_xet": XET_DOWNLOADS,
    "test_snapshot_download.py::TestSnapshotDownload::test_xet_file_skips_per_file_head_call": XET_DOWNLOADS,
    "test_xet_upload.py::TestXetE2E": XET_DOWNLOADS,
    "test_xet_upload.py::TestXetUpload::test_upload_file": XET_DOWNLOADS,
}
"""Files, classes or tests -> what they need that is no part of a federation."""


def reason_to_leave_out(test_id: str, markers: set[str], mode: str) -> str | None:
    """Why a test is not run; None where it is."""
    for marker, reason in (*ALWAYS, OTHER_MODE[mode]):
        if marker in markers:
            return reason
    name = test_id.removeprefix("tests/").split("[")[0]
    return next((why for part, why in LEFT_OUT.items() if name == part or name.startswith(f"{part}::")), None)
