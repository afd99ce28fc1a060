"""A small file system that tests fill. Standard library only."""
import os
import subprocess
from pathlib import Path


class SmallDisk:
    """A file system in memory, mounted on `folder`. Mounting needs root: `mount` says whether it worked."""

    def __init__(self, folder, mib):
        self.folder, self.mib = Path(folder), mib
        self.filler = self.folder / 'filler'

    def mount(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        return os.getuid() == 0 and subprocess.run(
            ['mount', '-t', 'tmpfs', '-o', 'size=%dm' % self.mib, 'tmpfs', self.folder], capture_output=True).returncode == 0

    def free_bytes(self):
        numbers = os.statvfs(self.folder)
        return numbers.f_bavail * numbers.f_frsize

    def fill(self, leave_bytes=0):
        """Takes all the room but a little."""
        with open(self.filler, 'ab', buffering=0) as file:
            while (free := self.free_bytes()) > leave_bytes:
                try:
                    file.write(bytes(min(free - leave_bytes, 1 << 20)))
                except OSError:
                    break

    def make_room(self):
        self.filler.unlink(missing_ok=True)

    def end(self):
        subprocess.run(['umount', '-l', self.folder], check=True)
