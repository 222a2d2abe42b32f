"""What kind of file system a directory is on, as far as the system tells: Linux does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MOUNTS: Final = Path("/proc/self/mountinfo")

OF_A_CONTAINER: Final = frozenset({"overlay", "aufs", "fuse.fuse-overlayfs"})
"""What a container's own files are on: they go with it."""

IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})

NETWORK: Final = frozenset(
    """9p afs beegfs ceph cifs coda fuse.beegfs fuse.blobfuse2 fuse.ceph-fuse fuse.gcsfuse fuse.glusterfs fuse.juicefs
    fuse.moosefs fuse.mount-s3 fuse.rclone fuse.s3fs fuse.sshfs gfs2 gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs smb2 smb3
    smbfs wekafs""".split()
)
"""What several hosts may have mounted at the same time."""


def kind_of_file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system that a path is on, such as ``"ext4"``; "" where that is not known.

    Args:
        path: absolute, without symbolic links. It need not be there.
        mounts: where the system tells what is mounted.
    """
    found, kind = 0, ""
    for place, type_ in _mounted(mounts):
        if path.is_relative_to(place) and len(place.parts) >= found:  # a later one hides those at the same place
            found, kind = len(place.parts), type_
    return kind


def _mounted(mounts: Path) -> Iterator[tuple[Path, str]]:
    """The mount points and their types, in the order of mounting. See proc_pid_mountinfo(5)."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) > 4 and after:
            yield Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), fields[4])), after.split(" ")[0]
