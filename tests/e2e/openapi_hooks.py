"""What schemathesis is told beside the description: which resources there are, and which answers are mistakes.

It is loaded by the program of schemathesis (SCHEMATHESIS_HOOKS). OPENAPI_KNOWN is a file of JSON: names that exist, by the first
part of the paths where they stand, and the file of the instance among them.
"""
import base64
import json
import os
import random
import zlib

import requests
import schemathesis

KNOWN = json.loads(open(os.environ['OPENAPI_KNOWN']).read())
NAMES = ['1024', '4000', 'TransferSyntax', 'LastUpdate', 'dicom', 'dicom-until-pixel-data']
PROPERTIES = ['info', 'md5', 'size', 'is-compressed', 'compressed-size', 'compressed-md5']


def chosen(seed, options):
    """One of the options, or none of them, as what was generated happens to be: the same with each run."""
    chance = random.Random(zlib.crc32(repr(seed).encode()))
    return chance.choice(options) if options and chance.random() < 0.75 else None


def local(value):
    """Nothing is sent to other machines, whatever names are generated."""
    if isinstance(value, list):
        return [local(item) for item in value]
    if not isinstance(value, dict):
        return value
    here = {'Host': '127.0.0.1', 'Url': 'http://127.0.0.1:9/', 'URL': 'http://127.0.0.1:9/'}
    return {key: here[key] if key in here and isinstance(item, str) else local(item) for key, item in value.items()}


@schemathesis.hook
def before_call(context, case, kwargs):
    parameters = case.path_parameters or {}
    below = KNOWN.get(case.path.split('/')[1], [])
    for name, options in [('id', below), ('name', NAMES), ('property', PROPERTIES), ('key', ['archive'])]:
        if name in parameters and (known := chosen(parameters[name], options)):
            parameters[name] = known
    if isinstance(case.body, dict | list):
        case.body = local(case.body)
        everything = [name for names in KNOWN.values() if isinstance(names, list) for name in names]
        if isinstance(case.body, dict) and isinstance(case.body.get('Resources'), list):
            case.body['Resources'] = [chosen(item, everything) or item for item in case.body['Resources']]
        elif isinstance(case.body, list) and case.path == '/modalities/{id}' and len(case.body) > 1:
            case.body[1] = '127.0.0.1'
        elif isinstance(case.body, list) and case.path == '/peers/{id}' and case.body:
            case.body[0] = 'http://127.0.0.1:9/'


@schemathesis.hook
def after_call(context, case, response):
    if case.method == 'DELETE' or case.path == '/tools/bulk-delete':
        requests.post(KNOWN['url'] + '/instances', data=base64.b64decode(KNOWN['file']), timeout=60)


@schemathesis.check
def no_mistake_of_the_server(ctx, response, case):
    """A status of 500 and above is one that the route is said to give, or says that the server cannot do that."""
    said = case.operation.definition.raw['responses']
    allowed = response.status_code < 500 or response.status_code in (501, 503) or str(response.status_code) in said
    assert allowed and b'hit a bug' not in response.content, '%d: %s' % (response.status_code, response.text[:1000])


@schemathesis.serializer('application/dicom', 'application/zip')
def as_bytes(context, value):
    return value if isinstance(value, bytes) else str(value).encode()
