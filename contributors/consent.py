"""What would leave this machine, in full, before it does.

No row, no label name and no path of the machine is among that.
"""

from __future__ import annotations

from collections.abc import Callable

from coldfusion.tensorfile import TensorFile
from hub_sync.outbox import Parcel

Consent = Callable[[str], bool]
"""(all that would leave, described) -> whether it may."""


def describe_parcel(parcel: Parcel, *, address: str, account: str) -> str:
    """Every file with its size, every tensor's kind, the manifest in full, and what goes with them."""
    lines = [f"What would leave this machine, to {address}, as a public pull request of {account}:"]
    lines += [f"  {path}  {file.stat().st_size:,} bytes" for path, file in parcel.files.items()]
    delta, manifest = parcel.files.values()
    with TensorFile(delta) as file:
        kinds = sorted({info.dtype for info in file.tensors.values()})
        numbers = f"{sum(info.count for info in file.tensors.values()):,} numbers"
        lines.append(f"The delta holds {len(file.tensors)} tensors, {numbers} ({', '.join(kinds)}),")
        lines.append(f"and {'this metadata: ' + str(file.metadata) if file.metadata else 'no metadata'}.")
    title, message = parcel.manifest.title, parcel.manifest.message
    lines.append(f"The pull request is titled {title!r} and says {message!r}. The manifest, in full:")
    lines.append(manifest.read_text(encoding="utf-8").strip())
    lines.append("Nothing else: no text, no label, no head.")
    lines.append(parcel.checked)
    return "\n".join(lines)
