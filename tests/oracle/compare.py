#!/usr/bin/env python3
"""Compares our reader with pydicom's, file by file, on the test data that pydicom installs.

    compare.py [--tool PATH] [FOLDER ...]

PATH is the example program dicom2json of the room dataset; without it, it is built. For each file, our DICOM JSON must
equal pydicom's to_json_dict(), and what we write and read back must be what we read. Differences are allowed by reason
only: the rules below, each with its justification. Exit status 1 if a difference has no reason, or a rule is not needed
any more.
"""
import argparse
import base64
import collections
import json
import logging
import os
import pathlib
import struct
import subprocess
import sys
import warnings

import pydicom
from pydicom.errors import InvalidDicomError

ROOT = pathlib.Path(__file__).resolve().parents[2]
ABSENT = object()
RULES = []
NUMBERS = {'US': 'H', 'SS': 'h', 'UL': 'I', 'SL': 'i', 'FL': 'f', 'FD': 'd'}


class Case:
    """One file: what both sides made of it."""

    def __init__(self, path, ours):
        self.path, self.ours, self.theirs = path, ours, None
        self.inconvertible = set()
        self.big_endian = False
        self.last_offset = 0
        self.needs_force = False
        self.read()

    def read(self):
        try:
            data = pydicom.dcmread(self.path)
        except InvalidDicomError:
            self.needs_force = True
            data = pydicom.dcmread(self.path, force=True)
        self.big_endian = not getattr(data, 'original_encoding', (None, True))[1]
        elements = list(data.elements())
        if elements:
            last = elements[-1]
            self.last_offset = getattr(last, 'value_tell', getattr(last, 'file_tell', 0)) or 0
        self.theirs = {}
        for tag in list(data.keys()):
            key = f'{tag:08X}'
            try:
                one = data[tag].to_json_dict(None, 1024)
                self.theirs[key] = json.loads(json.dumps(one))
            except Exception:
                self.inconvertible.add(key)


def rule(why):
    """Registers a rule: a function (case, path, theirs, ours) that says whether it explains the difference."""
    def add(function):
        RULES.append((function.__name__.replace('_', '-'), why, function))
        return function
    return add


@rule('PS3.18 F.2.2: group lengths (gggg,0000) are not part of the DICOM JSON model; pydicom keeps them.')
def group_length(case, path, theirs, ours):
    return ours is ABSENT and path[-1].endswith('0000') and theirs.get('vr') == 'UL'


@rule('PS3.5 6.2: blanks around the values of this VR are padding; pydicom only drops those at the end of the last one.')
def padding(case, path, theirs, ours):
    return isinstance(theirs, str) and isinstance(ours, str) and theirs != ours and theirs.strip(' \0') == ours.strip(' \0')


@rule('PS3.18 F.2.3: decimal strings may be shown as text, which keeps their digits; pydicom makes numbers of them.')
def decimal_string(case, path, theirs, ours):
    if not isinstance(theirs, (int, float)) or not isinstance(ours, str) or len(path) < 3:
        return False
    element = case.ours
    for step in path[:-2]:
        element = element[step]
    return element['vr'] == 'DS' and float(ours) == theirs


@rule('PS3.18 F.2.5: an empty value among several is null; pydicom writes an empty string.')
def empty_is_null(case, path, theirs, ours):
    return ours is None and isinstance(theirs, str) and theirs.strip() == ''


@rule('PS3.18 F.2.5: an element without value has no "Value"; pydicom gives empty sequences an empty one.')
def empty_sequence(case, path, theirs, ours):
    return ours is ABSENT and theirs == [] and path[-1] == 'Value'


@rule('PS3.18 F.2.7: InlineBinary is little endian, whatever the file is; pydicom encodes the bytes as they are stored.')
def little_endian(case, path, theirs, ours):
    if not case.big_endian or path[-1] != 'InlineBinary' or not isinstance(ours, str):
        return False
    stored, shown = base64.b64decode(theirs), base64.b64decode(ours)
    return any(stored == b''.join(shown[i:i + n][::-1] for i in range(0, len(shown), n)) for n in (2, 4, 8))


@rule('pydicom cannot convert this element (a value that its VR does not allow) and raises; we show it as text.')
def inconvertible(case, path, theirs, ours):
    return theirs is ABSENT and len(path) == 1 and path[0] in case.inconvertible


@rule('pydicom has private attributes in its dictionary that ours, which has those that Orthanc names, lacks: ours is UN.')
def private_dictionary(case, path, theirs, ours):
    if not isinstance(ours, dict) or not isinstance(theirs, dict) or ours.get('vr') != 'UN' or int(path[-1][:4], 16) % 2 == 0:
        return False
    shown = base64.b64decode(ours.get('InlineBinary', ''))
    values = theirs.get('Value', [])
    if theirs['vr'] in NUMBERS:
        return struct.pack(f'<{len(values)}{NUMBERS[theirs["vr"]]}', *values) == shown
    return '\\'.join(str(v) for v in values).strip() == shown.decode('latin1').strip(' \0')


@rule('Neither side takes this for DICOM: pydicom only reads it when forced to, and then finds no standard element.')
def not_dicom(case, path, theirs, ours):
    return path == [] and case.needs_force and ours == 'not a DICOM object' and len(theirs) <= 1


@rule('The file ends within its last element. pydicom returns what is before; a store must not lose data in silence.')
def truncated(case, path, theirs, ours):
    if path != [] or not isinstance(ours, str) or not ours.startswith('ends within element'):
        return False
    return case.last_offset <= int(ours.rsplit(' ', 1)[1]) + 12 <= case.path.stat().st_size + 12


def differences(theirs, ours, path):
    """Yields (path, theirs, ours) for each place where the two differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict) and theirs.get('vr') != ours.get('vr'):
        yield path, theirs, ours
    elif isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted(theirs.keys() | ours.keys()):
            yield from differences(theirs.get(key, ABSENT), ours.get(key, ABSENT), path + [key])
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for i, (a, b) in enumerate(zip(theirs, ours)):
            yield from differences(a, b, path + [i])
    elif type(theirs) is bool or type(ours) is bool or theirs != ours:
        yield path, theirs, ours


def explain(case, path, theirs, ours):
    return next((name for name, _, test in RULES if test(case, path, theirs, ours)), None)


def compare(case, used):
    """Returns the differences without a reason; counts the rules that were used."""
    ours = case.ours
    if 'error' in ours:
        found = [([], case.theirs, ours['error'])]
    else:
        found = differences(case.theirs, ours, [])
    unexplained = []
    for path, a, b in found:
        reason = explain(case, path, a, b)
        if reason:
            used[reason] += 1
        else:
            unexplained.append((path, a, b))
    return unexplained


def build():
    subprocess.run(['cargo', 'build', '--quiet', '--locked', '-p', 'dataset', '--example', 'dicom2json'], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get('CARGO_TARGET_DIR', ROOT / 'target'))
    return target / 'debug/examples/dicom2json'


def run(tool, form, files):
    """One JSON value for each file."""
    lines = subprocess.run([tool, form, *files], capture_output=True, text=True, check=False).stdout.splitlines()
    if len(lines) != len(files):
        sys.exit(f'{tool} {form} stopped at {files[len(lines)]}')
    return [json.loads(line) for line in lines]


def short(value):
    return 'absent' if value is ABSENT else json.dumps(value, ensure_ascii=False)[:100]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--tool', type=pathlib.Path)
    parser.add_argument('folder', nargs='*', type=pathlib.Path)
    args = parser.parse_args()
    warnings.simplefilter('ignore')
    logging.disable(logging.CRITICAL)
    own_data = not args.folder
    folders = args.folder or [pathlib.Path(pydicom.__file__).parent / 'data']
    skipped = {'.py', '.pyc', '.json', '.md', '.txt', '.sh'}
    files = sorted(p for f in folders for p in f.rglob('*') if p.is_file() and p.suffix not in skipped)
    tool = args.tool or build()
    used, failed, read, same = collections.Counter(), 0, 0, 0
    identities = run(tool, 'identity', files)
    for path, ours, identity in zip(files, run(tool, 'dicom', files), identities):
        case = Case(path, ours)
        unexplained = compare(case, used)
        if 'error' not in ours:
            read += 1
            same += identity == {'same': True, 'stable': True}
            if identity != {'same': True, 'stable': True}:
                unexplained.append((['written and read again'], 'the same', identity))
        failed += bool(unexplained)
        for where, theirs, mine in unexplained[:5]:
            print(f'{path.name} /{"/".join(map(str, where))}: pydicom {short(theirs)}, we {short(mine)}')
    print(f'pydicom {pydicom.__version__}: {len(files)} files, {read} read, {same} the same when written and read again, '
          f'{failed} with differences that nothing explains')
    for name, why, _ in RULES:
        print(f'  {used[name]:5} {name}: {why}')
    idle = [name for name, _, _ in RULES if own_data and not used[name]]
    if idle:
        print('rules without a use, to be removed:', ', '.join(idle))
    return 1 if failed or idle or not read else 0


if __name__ == '__main__':
    sys.exit(main())
