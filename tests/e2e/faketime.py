"""The clock of a process: libfaketime. Standard library only."""
import glob
import sys


def fake_time(file):
    """The environment of a process whose wall clock is moved by the seconds that `file` says, read once a second."""
    found = glob.glob('/usr/lib/*/faketime/libfaketimeMT.so.1')
    if not found:
        sys.exit('libfaketime is not installed; `make test-tools` installs what tests need')
    return {'LD_PRELOAD': found[0], 'FAKETIME_TIMESTAMP_FILE': str(file), 'FAKETIME_CACHE_DURATION': '1', 'FAKETIME_DONT_FAKE_MONOTONIC': '1'}
