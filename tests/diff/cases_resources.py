"""What `compare.py` asks about resources: every GET route, views, tags, searches, annotations, the feed, tools."""
import json

from cases_jobs import Case
from dicom import dicom_bytes, instance
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EncapsulatedPDFStorage

ROOT = '1.2.826.0.1.3680043.10.'
UNKNOWN = '-'.join(8 * str(n) for n in range(1, 6))
LEVELS = ['patients', 'studies', 'series', 'instances']
OPTIONS = {'UserMetadata': {'mine': 1098, 'other': 1099}, 'UserContentType': {'report': 1098, 'sheet': [1099, 'text/csv']}}

# Below every level.
EVERY = ['', '/statistics', '/labels', '/labels/{label}', '/metadata', '/metadata/{metadata}', '/module', '/attachments', '/attachments/{attachment}',
         '/attachments/{attachment}/compressed-data', '/attachments/{attachment}/compressed-md5', '/attachments/{attachment}/compressed-size',
         '/attachments/{attachment}/data', '/attachments/{attachment}/info', '/attachments/{attachment}/is-compressed',
         '/attachments/{attachment}/md5', '/attachments/{attachment}/size', '/attachments/{attachment}/uuid', '/nope']
GROUP = ['/instances', '/instances-tags', '/shared-tags', '/archive', '/media']
ROUTES = {
    'patients': EVERY + GROUP + ['/studies', '/series', '/protected'],
    'studies': EVERY + GROUP + ['/patient', '/series', '/module-patient'],
    'series': EVERY + GROUP + ['/patient', '/study', '/ordered-slices', '/numpy'],
    'instances': EVERY + ['/patient', '/study', '/series', '/content', '/content/{tag}', '/file', '/header', '/tags', '/simplified-tags', '/pdf',
                          '/frames', '/frames/{frame}', '/preview', '/rendered', '/image-uint8', '/image-uint16', '/image-int16', '/matlab', '/numpy',
                          '/frames/{frame}/preview', '/frames/{frame}/rendered', '/frames/{frame}/image-uint8', '/frames/{frame}/image-uint16',
                          '/frames/{frame}/image-int16', '/frames/{frame}/matlab', '/frames/{frame}/numpy', '/frames/{frame}/raw', '/frames/{frame}/raw.gz'],
}
OTHERS = ['/', '/app/explorer.html', '/changes', '/exports', '/favicon.ico', '/jobs', '/modalities', '/modalities/nope', '/modalities/nope/configuration', '/peers',
          '/peers/nope', '/peers/nope/configuration', '/peers/nope/system', '/plugins', '/plugins/explorer.js', '/plugins/nope', '/queries', '/queries/nope',
          '/queries/nope/answers', '/queries/nope/answers/0', '/queries/nope/answers/0/content', '/queries/nope/level', '/queries/nope/modality',
          '/queries/nope/query', '/statistics', '/storage-commitment/nope', '/system', '/tools', '/tools/accepted-sop-classes',
          '/tools/accepted-transfer-syntaxes', '/tools/default-encoding', '/tools/dicom-conformance', '/tools/labels', '/tools/log-level',
          '/tools/log-level-dicom', '/tools/log-level-generic', '/tools/log-level-http', '/tools/log-level-jobs', '/tools/log-level-lua',
          '/tools/log-level-plugins', '/tools/log-level-sqlite', '/tools/metrics', '/tools/unknown-sop-class-accepted', '/nope', '/tools/nope']


def data_set(number, study, series, **tags):
    ds = instance(study=ROOT + study, series=ROOT + series, SOPInstanceUID=ROOT + '9.%d' % number, InstanceNumber=number, **tags)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def pdf(number):
    ds = data_set(number, '2', '2.2', Modality='DOC', PatientID='P2', PatientName='Roe^Rik', PatientSex='M', StudyDate='', StudyTime='235959.5', AccessionNumber='')
    for name in ['PixelData', 'Rows', 'Columns', 'BitsAllocated', 'BitsStored', 'HighBit', 'PixelRepresentation', 'SamplesPerPixel', 'PhotometricInterpretation']:
        delattr(ds, name)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
    ds.MIMETypeOfEncapsulatedDocument, ds.EncapsulatedDocument = 'application/pdf', b'%PDF-1.4\n%%EOF\n\0'
    return ds


def item(**tags):
    ds = Dataset()
    for name, value in tags.items():
        setattr(ds, name, value)
    return ds


def fill(server):
    """Two patients, three studies, five series. The ids are the same on both servers; returns them by level, in order of creation."""
    code = item(CodeValue='X1', CodingSchemeDesignator='99T', CodeMeaning='Meaning')
    request = item(RequestedProcedureID='RP1', ScheduledProcedureStepID='SP1', ScheduledProtocolCodeSequence=Sequence([code]))
    slices = {'ImageOrientationPatient': ['1', '0', '0', '0', '1', '0'], 'FrameOfReferenceUID': ROOT + '7'}
    all_sets = [data_set(n, '1', '1.1', ImagePositionPatient=['0', '0', str(10 - n)], RequestAttributesSequence=Sequence([request]),
                         InstitutionName='Hospital', ReferringPhysicianName='Dr^One', ImageComments='slice %d' % n, **slices) for n in (1, 2, 3)]
    all_sets += [data_set(n, '1', '1.2', Modality='MR', SeriesNumber=2, SeriesDescription='T1 *weighted?', BodyPartExamined='HEAD', PatientPosition='HFS')
                 for n in (4, 5)]
    all_sets += [data_set(6, '3', '3.1', StudyDate='20250103', StudyDescription='Knee \u00e9t\u00e9', AccessionNumber='A2', Modality='PT', StationName='ST1',
                          PatientComments='x' * 300, PatientName='M\u00fcller^J\u00f6rg')]
    all_sets += [data_set(7, '2', '2.1', PatientID='P2', PatientName='Roe^Rik', PatientSex='M', StudyDate='', AccessionNumber='', Modality='CT',
                          StudyTime='235959.5', OperatorsName=['Op^One', 'Op^Two'])]
    private = all_sets[-1].private_block(0x0011, 'ACME 1.0', create=True)
    private.add_new(0x01, 'LO', 'secret')
    all_sets.append(pdf(8))
    ids = {level: [] for level in LEVELS}
    for ds in all_sets:
        answer = server.client.upload(dicom_bytes(ds))
        for level, id_ in zip(LEVELS, [answer['ParentPatient'], answer['ParentStudy'], answer['ParentSeries'], answer['ID']]):
            if id_ not in ids[level]:
                ids[level].append(id_)
    return ids


def annotate(server, ids):
    put = lambda path, body='': server.client.request('PUT', path, data=body).raise_for_status()
    put('/studies/%s/labels/red' % ids['studies'][0])
    put('/studies/%s/labels/blue' % ids['studies'][0])
    put('/studies/%s/labels/blue' % ids['studies'][1])
    put('/patients/%s/labels/green' % ids['patients'][0])
    put('/series/%s/labels/red' % ids['series'][2])
    put('/instances/%s/labels/red' % ids['instances'][0])
    for level in LEVELS:
        put('/%s/%s/metadata/mine' % (level, ids[level][0]), 'of %s' % level)
        put('/%s/%s/attachments/report' % (level, ids[level][0]), 'report of %s\n' % level)
    put('/studies/%s/metadata/other' % ids['studies'][0], '10')
    put('/studies/%s/metadata/other' % ids['studies'][1], '9')


def walk(server, _):
    ids = fill(server)
    annotate(server, ids)
    names = {'label': 'red', 'metadata': 'mine', 'attachment': 'report', 'tag': 'PatientID', 'frame': '0'}
    for path in OTHERS:
        server.ask('GET', path)
    for level in LEVELS:
        server.ask('GET', '/' + level)
        for path in ROUTES[level]:
            path = path.format(**names)
            for id_ in [ids[level][0], ids[level][-1], UNKNOWN]:
                server.ask('GET', '/%s/%s%s' % (level, id_, path), ordered=path == '/ordered-slices')
        for id_ in ['nope', UNKNOWN.replace('-', ''), UNKNOWN + 'a', 'a%2fb']:
            server.ask('GET', '/%s/%s' % (level, id_))
        # An id of another level.
        other = ids[LEVELS[(LEVELS.index(level) + 1) % 4]][0]
        for path in ['', '/metadata', '/statistics', '/labels', '/attachments']:
            server.ask('GET', '/%s/%s%s' % (level, other, path))
    first = ids['instances'][0]
    for name in ['dicom', '1', 'report', '1098', 'sheet', '7', 'nope', '70000']:
        for what in ['', '/info', '/size', '/data', '/is-compressed']:
            server.ask('GET', '/instances/%s/attachments/%s%s' % (first, name, what))


def page(server, path):
    """A list of which only the length is equal if it is a part."""
    if 'since=1' in path or 'limit=3' in path:
        answer = server.client.get(path)
        server.note('GET ' + path, [answer.status_code, len(answer.json())])
    else:
        server.ask('GET', path)


def views(server, _):
    ids = fill(server)
    annotate(server, ids)
    for level in LEVELS:
        one = '/%s/%s' % (level, ids[level][0])
        for query in ['expand', 'expand=false', 'expand=1', 'expand=nope', 'since=1&limit=2', 'limit=2', 'since=0', 'since=1&limit=0', 'since=x&limit=2',
                      'since=-1&limit=2', 'since=0&limit=99999999999', 'expand&short', 'expand&full', 'expand&full&short', 'expand&requested-tags=StationName',
                      'requested-tags=StationName', 'expand&requested-tags=Nope', 'expand&requestedTags=Modality', 'response-content=Labels',
                      'response-content=Labels;Metadata;Nope', 'response-content=', 'response-content=MainDicomTags;Children;Parent;IsStable;Status;Attachments;IsProtected',
                      '', '&&', '=x', 'nope=1', 'expand&expand=false']:
            page(server, '/%s?%s' % (level, query))
        for query in ['short', 'full', 'short=false', 'full=x', 'requested-tags=0020,0013;PatientID', 'requested-tags=Nope', 'requested-tags=;', 'expand=false',
                      'requested-tags=RequestAttributesSequence', 'requested-tags=NumberOfStudyRelatedInstances;ModalitiesInStudy;NumberOfPatientRelatedStudies',
                      'requested-tags=SOPClassesInStudy;NumberOfSeriesRelatedInstances;NumberOfStudyRelatedSeries;NumberOfPatientRelatedSeries;NumberOfPatientRelatedInstances;InstanceAvailability',
                      'requested-tags=0011-1001', 'requested-tags=PatientComments;Rows', 'response-content=Metadata']:
            server.ask('GET', '%s?%s' % (one, query))
        below = LEVELS[LEVELS.index(level) + 1:]
        for other in below + [name for name in ['patient', 'study', 'series'][:LEVELS.index(level)]]:
            for query in ['expand', 'expand=false', 'short', 'full', 'requested-tags=PatientComments']:
                server.ask('GET', '%s/%s?%s' % (one, other, query))
        for query in ['expand', 'numeric', 'expand&numeric', 'expand=x']:
            server.ask('GET', '%s/metadata?%s' % (one, query))
        server.ask('GET', '%s/attachments?full' % one)


def tags(server, _):
    ids = fill(server)
    paths = []
    for one in ids['instances']:
        paths += ['/instances/%s/%s' % (one, what) for what in [
            'tags', 'tags?simplify', 'tags?short', 'tags?simplify&short', 'tags?whole', 'tags?ignore-length=PatientComments', 'tags?ignore-length=Nope',
            'tags?ignore-length=0010,4000;Rows', 'tags?simplify=x', 'simplified-tags', 'simplified-tags?short', 'simplified-tags?ignore-length=PatientComments',
            'header', 'header?short', 'header?simplify', 'module', 'module?simplify', 'module?short', 'file', 'pdf']]
    one = ids['instances'][0]
    paths += ['/instances/%s/content%s' % (one, what) for what in [
        '', '/', '/PatientID', '/0010-0020', '/00100020', '/0010,0020', '/Nope', '/0040-0275', '/0040-0275/0', '/0040-0275/0/0040-0009', '/0040-0275/1',
        '/0040-0275/x', '/0040-0275/-1', '/0040-0275/0/0040-0008/0/0008-0100', '/0040-0275/0/0008-0100', '/Rows', '/StationName', '/7fe0-0010', '/7fe0-0010/0',
        '/7fe0-0010/1', '/PatientID/0', '/PixelSpacing', '/0011-1001']]
    paths += ['/instances/%s/content/0011-1001' % ids['instances'][6], '/instances/%s/content/OperatorsName' % ids['instances'][6]]
    for level in LEVELS[:3]:
        for id_ in ids[level][:2]:
            paths += ['/%s/%s/%s' % (level, id_, what) for what in ['module', 'module?simplify', 'shared-tags', 'shared-tags?simplify', 'shared-tags?short', 'instances-tags',
                                                                  'instances-tags?simplify', 'instances-tags?ignore-length=PatientComments']]
    paths += ['/studies/%s/module-patient' % ids['studies'][0], '/studies/%s/module-patient?simplify' % ids['studies'][0]]
    for path in paths:
        server.ask('GET', path)
    for accept in ['application/dicom+json', 'application/dicom', 'text/html', '*/*', 'application/json', 'image/png', 'nonsense']:
        server.ask('GET', '/instances/%s/file' % one, label='file, Accept %s' % accept, headers={'Accept': accept})
        server.ask('GET', '/studies/%s' % ids['studies'][0], label='study, Accept %s' % accept, headers={'Accept': accept})
        server.ask('GET', '/instances/%s/tags' % one, label='tags, Accept %s' % accept, headers={'Accept': accept})
    for name in ['x.dcm', 'a"b', '', 'a%0d%0aX-Evil:%201', 'a;b', '%C3%A9', 'x' * 300]:
        server.ask('GET', '/instances/%s/file?filename=%s' % (one, name))
        server.ask('GET', '/instances/%s/attachments/dicom/data?filename=%s' % (one, name))


def search(server, body, also=('count-resources',), cut=False):
    """A search. Of a page, or with `cut` by a limit of the configuration, only the length must be equal, because no order is promised."""
    label = 'find ' + json.dumps(body)
    pages = any(isinstance(body.get(key), int) and body[key] > 0 for key in ('Since', 'Limit'))
    if cut or (pages and 'OrderBy' not in body):
        answer = server.client.post('/tools/find', json.dumps(body))
        server.note(label, [answer.status_code, len(answer.json())])
    else:
        server.ask('POST', '/tools/find', body, label=label, ordered=bool(body.get('OrderBy')))
    for tool in also:
        server.ask('POST', '/tools/' + tool, body, label='%s %s' % (tool, json.dumps(body)))


def find(server, _):
    ids = fill(server)
    annotate(server, ids)
    for level in ['Patient', 'Study', 'Series', 'Instance']:
        for query in [{}, {'PatientID': ''}, {'PatientID': '*'}, {'PatientID': 'P1'}, {'PatientID': 'p1'}, {'PatientName': 'doe*'}, {'PatientName': '*JANE'},
                      {'PatientName': '?oe^Rik'}, {'PatientName': 'Doe^Jane\\Roe^Rik'}, {'PatientName': 'M\u00fcller*'}, {'PatientName': 'MULLER*'}, {'0010,0020': 'P2'},
                      {'0010-0020': 'P2'}, {'00100020': 'P2'}, {'PatientSex': 'F'}, {'PatientID': 'nope'}, {'PatientID': 'P1\\P2'}, {'PatientID': 'P1\\nope'}]:
            search(server, {'Level': level, 'Query': query})
    for query in [{'StudyDate': '20260102'}, {'StudyDate': '20250101-20251231'}, {'StudyDate': '-20251231'}, {'StudyDate': '20250104-'}, {'StudyDate': '2026*'},
                  {'StudyDate': ''}, {'StudyTime': '100000-120000'}, {'StudyTime': '2359*'}, {'AccessionNumber': 'A1\\A2'}, {'AccessionNumber': 'A?'},
                  {'StudyDescription': 'head'}, {'StudyDescription': 'KNEE*'}, {'ModalitiesInStudy': 'CT'}, {'ModalitiesInStudy': 'MR\\PT'}, {'ModalitiesInStudy': 'C*'},
                  {'ModalitiesInStudy': 'DOC'}, {'ModalitiesInStudy': 'US'}, {'ModalitiesInStudy': ''}, {'PatientComments': 'x*'}, {'StudyInstanceUID': ROOT + '1'},
                  {'StudyInstanceUID': ROOT + '1\\' + ROOT + '2'}, {'StudyInstanceUID': ROOT + '?'}, {'PatientBirthDate': '19700101'},
                  {'PatientBirthDate': '19600101-19800101'}, {'NumberOfStudyRelatedInstances': '5'}, {'Modality': 'MR'}, {'ReferringPhysicianName': 'dr*'},
                  {'StudyID': ''}, {'InstitutionName': 'HOSPITAL'}, {'PatientName': 'doe^jane', 'StudyDate': '2026*', 'ModalitiesInStudy': 'MR'}]:
        search(server, {'Level': 'Study', 'Query': query}, also=())
        search(server, {'Level': 'Study', 'Query': query, 'CaseSensitive': True}, also=())
    for query in [{'Modality': 'MR'}, {'Modality': 'mr'}, {'Modality': 'CT\\MR'}, {'SeriesDescription': 'T1 *'}, {'SeriesNumber': '2'}, {'BodyPartExamined': 'head'},
                  {'PatientPosition': 'HFS'}, {'StationName': 'ST*'}, {'OperatorsName': 'Op^Two'}, {'OperatorsName': 'OP*'}, {'ModalitiesInStudy': 'MR'},
                  {'SeriesInstanceUID': ROOT + '1.1'}, {'StudyDescription': 'Head', 'Modality': 'CT'}, {'RequestAttributesSequence': ''}]:
        search(server, {'Level': 'Series', 'Query': query}, also=())
    for query in [{'SOPInstanceUID': ROOT + '9.1'}, {'InstanceNumber': '3'}, {'InstanceNumber': '[13]'}, {'ImageComments': 'slice *'}, {'ImageComments': 'SLICE 2'},
                  {'SOPClassUID': '*.2'}, {'Rows': '16'}, {'Modality': 'DOC'}, {'SOPInstanceUID': '*9.?', 'PatientID': 'P2'}]:
        search(server, {'Level': 'Instance', 'Query': query}, also=())
    for constraint in ['All', 'Any', 'None', None]:
        for labels in [None, [], ['red'], ['red', 'blue'], ['nope'], ['nope', 'red'], ['red', 'red']]:
            body = {'Level': 'Study', 'Query': {}}
            if constraint is not None:
                body['LabelsConstraint'] = constraint
            if labels is not None:
                body['Labels'] = labels
            search(server, body)


def find_views(server, _):
    ids = fill(server)
    annotate(server, ids)
    (patient, *_), (study, *_), (series, *_) = ids['patients'], ids['studies'], ids['series']
    base = {'Level': 'Study', 'Query': {}}
    for more in [{'Expand': True}, {'Expand': True, 'Short': True}, {'Expand': True, 'Full': True}, {'Expand': True, 'RequestedTags': ['PatientComments', 'ModalitiesInStudy']},
                 {'RequestedTags': ['PatientComments']}, {'ResponseContent': []}, {'ResponseContent': ['MainDicomTags']}, {'ResponseContent': ['Metadata', 'Labels']},
                 {'ResponseContent': ['Children', 'Parent', 'IsStable', 'Status', 'IsProtected', 'Attachments']}, {'ResponseContent': ['RequestedTags'], 'RequestedTags': ['Modality']},
                 {'ResponseContent': ['MainDicomTags'], 'Expand': False}, {'ResponseContent': ['Labels'], 'RequestedTags': ['PatientComments', 'StudyDate', 'NumberOfStudyRelatedSeries']},
                 {'Since': 1}, {'Limit': 1}, {'Since': 1, 'Limit': 1}, {'Since': 10}, {'Limit': 0}, {'Since': 0, 'Limit': 2},
                 {'MetadataQuery': {'mine': 'of *'}}, {'MetadataQuery': {'mine': 'OF STUDIES'}}, {'MetadataQuery': {'other': '9'}}, {'MetadataQuery': {'1099': '1*'}},
                 {'MetadataQuery': {'other': '9\\10'}}, {'MetadataQuery': {'other': ''}}, {'MetadataQuery': {'mine': 'OF STUDIES'}, 'CaseSensitive': True},
                 {'ParentPatient': patient}, {'ParentPatient': ids['patients'][1]}, {'ParentPatient': UNKNOWN}, {'ParentPatient': 'nope'}, {'ParentStudy': study}, {'ParentSeries': series},
                 {'ParentPatient': study}]:
        search(server, {**base, **more}, also=('count-resources',) if 'MetadataQuery' in more or 'ParentPatient' in more else ())
    for level in ['Patient', 'Series', 'Instance']:
        for parent in [{'ParentPatient': patient}, {'ParentStudy': study}, {'ParentSeries': series}]:
            search(server, {'Level': level, 'Query': {}, **parent})
        search(server, {'Level': level, 'Query': {}, 'Expand': True}, also=())
        search(server, {'Level': level, 'Query': {}, 'ResponseContent': ['MainDicomTags', 'Metadata', 'Labels', 'Children', 'Parent', 'IsStable', 'Status', 'IsProtected', 'Attachments']}, also=())
    by = lambda kind, key, direction='ASC': {'Type': kind, 'Key': key, 'Direction': direction}
    for level, order in [('Study', [by('DicomTag', 'StudyDate')]), ('Study', [by('DicomTag', 'StudyDate', 'DESC')]), ('Study', [by('DicomTag', 'PatientName'), by('DicomTag', 'StudyDescription')]),
                         ('Study', [by('Metadata', 'other')]), ('Study', [by('MetadataAsInt', 'other')]), ('Study', [by('MetadataAsInt', 'other', 'DESC')]), ('Study', [by('MetadataAsFloat', 'other')]),
                         ('Instance', [by('DicomTagAsInt', 'InstanceNumber', 'DESC')]), ('Instance', [by('DicomTag', 'InstanceNumber', 'DESC')]), ('Instance', [by('DicomTagAsFloat', 'InstanceNumber')]),
                         ('Series', [by('DicomTag', 'Modality'), by('DicomTag', 'SeriesInstanceUID', 'DESC')]), ('Series', [by('DicomTag', 'PatientName', 'DESC'), by('DicomTag', 'SeriesInstanceUID')]),
                         ('Instance', [by('DicomTag', 'StudyDate', 'DESC'), by('DicomTagAsInt', 'InstanceNumber')]), ('Patient', [by('DicomTag', 'PatientID', 'DESC')])]:
        search(server, {'Level': level, 'Query': {}, 'OrderBy': order}, also=())
        search(server, {'Level': level, 'Query': {}, 'OrderBy': order, 'Since': 1, 'Limit': 2}, also=())


# Values of each JSON type.
WRONG = [None, True, False, 0, -1, 1.5, 2 ** 70, '', 'x', [], [1], ['x'], [None], [[]], [{}], {}, {'x': 1}]


def find_bad(server, _):
    fill(server)
    for body in ['', 'nope', '[]', '7', '"x"', 'null', '{', '{}']:
        for tool in ['find', 'count-resources', 'bulk-content', 'bulk-delete', 'lookup']:
            server.ask('POST', '/tools/' + tool, body)
    for field in ['Level', 'Query', 'Expand', 'Full', 'Short', 'CaseSensitive', 'Limit', 'Since', 'Labels', 'LabelsConstraint', 'RequestedTags', 'ResponseContent', 'OrderBy',
                  'MetadataQuery', 'ParentPatient', 'ParentStudy', 'ParentSeries']:
        for value in WRONG:
            search(server, {'Level': 'Study', 'Query': {}, field: value}, also=('count-resources',) if field not in ('RequestedTags', 'ResponseContent') else ())
    for query in [{'PatientID': value} for value in WRONG] + [{'Nope': 'x'}, {'': 'x'}, {'0010,00': 'x'}, {'zzzz,zzzz': 'x'}]:
        search(server, {'Level': 'Study', 'Query': query}, also=())
    good = {'Type': 'DicomTag', 'Key': 'StudyDate', 'Direction': 'ASC'}
    for order in [{**good, field: value} for field in good for value in WRONG + ['Nope', 'asc']] + [{k: v for k, v in good.items() if k != left} for left in good]:
        search(server, {'Level': 'Study', 'Query': {}, 'OrderBy': [order]}, also=())
    search(server, {'Query': {}})
    search(server, {'Level': 'Study'})
    search(server, {'Level': 'Nope', 'Query': {}})
    search(server, {'Level': 'study', 'Query': {}})
    search(server, {'Level': 'Studies', 'Query': {}})


def annotations(server, _):
    ids = fill(server)
    for level in LEVELS:
        one = '/%s/%s' % (level, ids[level][0])
        for name in ['mine', '1098', '1234', 'LastUpdate', 'RemoteAET', '3', 'nope', '1', '70000', '1023']:
            path = one + '/metadata/' + name
            for method, body in [('GET', None), ('PUT', 'a value'), ('GET', None), ('PUT', ''), ('GET', None), ('DELETE', None), ('GET', None), ('DELETE', None)]:
                if not (name in ('LastUpdate', '1') and method == 'GET'):
                    server.ask(method, path, body)
        for name in ['red', 'a-b_C9', 'a b', 'a%2fb', 'x' * 64, 'x' * 65, '%C3%A9', '+']:
            path = one + '/labels/' + name
            for method in ['GET', 'PUT', 'GET', 'PUT', 'DELETE', 'DELETE', 'GET']:
                server.ask(method, path, '' if method == 'PUT' else None)
            server.ask('GET', one + '/labels')
            server.ask('GET', '/tools/labels')
        for name in ['report', 'sheet', '1098', '1234', 'dicom', 'nope', '1023']:
            path = one + '/attachments/' + name
            for method, body in [('GET', None), ('PUT', 'one'), ('GET', None), ('PUT', ''), ('GET', None), ('PUT', b'\0\xff' * 100), ('GET', None)]:
                if not (name == 'dicom' and method == 'GET'):
                    server.ask(method, path, body)
            if name != 'dicom':
                for method, what in [('GET', 'info'), ('GET', 'data'), ('POST', 'verify-md5'), ('POST', 'compress'), ('GET', 'is-compressed'), ('GET', 'info'), ('GET', 'data'),
                                     ('POST', 'verify-md5'), ('POST', 'compress'), ('POST', 'uncompress'), ('GET', 'is-compressed'), ('GET', 'compressed-data')]:
                    server.ask(method, path + '/' + what, '' if method == 'POST' else None)
                for ranges in ['bytes=0-1', 'bytes=1-', 'bytes=5-2', 'bytes=900-901']:
                    server.ask('GET', path + '/data', headers={'Range': ranges}, label='%s/data, %s' % (path, ranges))
            server.ask('DELETE', path)
            server.ask('DELETE', path)
        for what in ['/metadata/mine', '/labels/red', '/attachments/report']:
            for method in ['GET', 'PUT', 'DELETE', 'POST']:
                server.ask(method, '/%s/%s%s' % (level, UNKNOWN, what), 'x' if method in ('PUT', 'POST') else None)
    patient = '/patients/%s/protected' % ids['patients'][0]
    for body in ['1', '0', 'true', 'yes', '', '2']:
        server.ask('PUT', patient, body)
        server.ask('GET', patient)
    server.ask('PUT', '/patients/%s/protected' % UNKNOWN, '1')


def revisions(server, _):
    ids = fill(server)
    for level in ['studies', 'instances']:
        for path, first, second in [('/%s/%s/metadata/mine' % (level, ids[level][0]), 'one', 'two'), ('/%s/%s/attachments/report' % (level, ids[level][0]), 'one', 'two')]:
            for method, body, headers in [
                    ('PUT', first, {'If-Match': '"0-x"'}), ('PUT', first, {}), ('GET', None, {}), ('PUT', second, {}), ('PUT', second, {'If-Match': '0'}), ('PUT', second, {'If-Match': '"0-nope"'}),
                    ('PUT', second, {'If-Match': 'nope'}), ('GET', None, {'If-None-Match': '"1-%s"' % 'x'}), ('GET', None, {'If-None-Match': '5'}), ('DELETE', None, {}),
                    ('DELETE', None, {'If-Match': '"9-x"'})]:
                server.ask(method, path, body, headers=headers, label='%s %s %s' % (method, path, headers))
            tag = server.client.get(path).headers.get('ETag')
            for method, body, headers in [('GET', None, {'If-None-Match': tag}), ('PUT', second, {'If-Match': tag}), ('PUT', second, {'If-Match': tag}), ('DELETE', None, {'If-Match': tag})]:
                server.ask(method, path, body, headers=headers, label='%s %s with the tag' % (method, path))
            tag = server.client.get(path).headers.get('ETag')
            server.ask('DELETE', path, headers={'If-Match': tag}, label='DELETE %s, %s' % (path, tag))
            server.ask('GET', path)


def feed(server, _):
    ids = fill(server)
    annotate(server, ids)
    server.client.delete('/series/' + ids['series'][1])
    for query in ['', 'last', 'since=0', 'since=3&limit=4', 'limit=2', 'since=1000', 'since=-1', 'since=x', 'limit=x', 'limit=0', 'limit=-1', 'to=5', 'to=5&limit=2', 'to=5&since=2', 'to=0',
                  'type=NewStudy', 'type=NewStudy;NewPatient', 'type=NewStudy&limit=1', 'type=NewInstance&since=2&limit=2', 'type=UpdatedMetadata', 'type=UpdatedAttachment', 'type=Nope', 'type=',
                  'type=NewStudy;Nope', 'type=NewSeries&to=9&limit=1', 'type=Deleted', 'type=NewChildInstance', 'last&type=NewStudy', 'last=false']:
        server.ask('GET', '/changes?' + query)
        server.ask('GET', '/exports?' + query)
    for path in ['/changes', '/exports']:
        server.ask('POST', path, '')
        server.ask('PUT', path, '')
        server.ask('DELETE', path)
        server.ask('GET', path)
        server.ask('GET', path + '?last')
    server.client.upload(dicom_bytes(data_set(20, '8', '8.1')))
    server.ask('GET', '/changes')
    server.ask('GET', '/changes?last')


def tools(server, _):
    ids = fill(server)
    everything = [ids[level][0] for level in LEVELS]
    for body in [everything, everything[::-1], [everything[3]] * 2, [], [UNKNOWN], ['nope', everything[0]]]:
        for more in [{}, {'Metadata': False}, {'Metadata': True, 'Short': True}, {'Full': True}, *({'Level': level} for level in ['Patient', 'Study', 'Series', 'Instance'])]:
            server.ask('POST', '/tools/bulk-content', {'Resources': body, **more}, label='bulk-content %s %s' % (body, more))
    for field in ['Resources', 'Level', 'Metadata', 'Short', 'Full']:
        for value in WRONG:
            server.ask('POST', '/tools/bulk-content', {'Resources': [], field: value})
    for value in WRONG:
        server.ask('POST', '/tools/bulk-delete', {'Resources': value})
    for text in ['P1', 'p1', 'P2', 'A1', ROOT + '1', ROOT + '1.1', ROOT + '9.1', 'nope', '', ' P1 ', 'Doe^Jane']:
        server.ask('POST', '/tools/lookup', text)
    for path in ['default-encoding', 'accepted-transfer-syntaxes', 'unknown-sop-class-accepted', 'metrics', 'log-level', 'log-level-http', 'accepted-sop-classes']:
        for body in ['', 'nope', '0', '1', 'true', 'false', 'Utf8', 'utf8', 'verbose', 'default', '1.2.840.10008.1.2', '["1.2.840.10008.1.2*"]', '[]', '*', '{}', '[1]', 'Latin1']:
            server.ask('PUT', '/tools/' + path, body)
            server.ask('GET', '/tools/' + path)
    for query in ['', '?level=study', '?level=nope']:
        answer = server.client.get('/tools/generate-uid' + query)
        server.note('generate-uid' + query, answer.status_code)
    for path in ['/tools/now', '/tools/now-local', '/tools/metrics-prometheus']:
        answer = server.client.get(path)
        server.note(path, [answer.status_code, answer.headers['Content-Type']])
    for body in ['', '{}', 'nope', '[]']:
        server.ask('POST', '/tools/invalidate-tags', body)
    for level in LEVELS:
        for body in ['', '{}', '{"ReconstructFiles": true}', '{"LimitToThisLevelMainDicomTags": true}', '[]', 'nope', '{"ReconstructFiles": "x"}']:
            server.ask('POST', '/%s/%s/reconstruct' % (level, ids[level][0]), body)
        server.ask('POST', '/%s/%s/reconstruct' % (level, UNKNOWN), '')
    server.ask('POST', '/tools/reconstruct', '')
    server.ask('POST', '/instances/%s/export' % ids['instances'][0], '/tmp/nope')
    for resources in [[ids['instances'][0], UNKNOWN], [ids['series'][1], ids['studies'][0]], ['nope'], ids['patients']]:
        server.ask('POST', '/tools/bulk-delete', {'Resources': resources})
        server.ask('GET', '/instances')
        server.ask('GET', '/statistics')


def methods(server, _):
    ids = fill(server)
    study = '/studies/' + ids['studies'][0]
    for method, path, headers in [
            ('GET', study + '/?expand', {}), ('GET', '//studies//%s/' % ids['studies'][0], {}), ('GET', '/studies?&expand&=&', {}), ('GET', study + '/labels/x?_method=PUT', {}),
            ('POST', study + '/labels/y?_method=PUT', {}), ('POST', study + '/labels/z', {'X-HTTP-Method-Override': 'PUT'}), ('GET', study + '/labels', {}),
            ('GET', study + '/labels/x?_method=DELETE', {}), ('POST', study + '/labels/y', {'X-HTTP-Method-Override': 'delete'}), ('GET', study + '/labels', {}),
            ('GET', study + '/labels/z?_method=NOPE', {}), ('POST', study + '/labels/z', {'X-HTTP-Method-Override': 'NOPE'}), ('PUT', study + '/labels/w?_method=DELETE', {}),
            ('GET', study + '/labels', {}), ('PATCH', study, {}), ('OPTIONS', study, {}), ('PUT', study, {}), ('POST', study, {}), ('POST', '/studies', {}), ('PUT', '/tools/find', {}),
            ('GET', '/tools/find', {}), ('DELETE', '/tools/find', {}), ('DELETE', '/statistics', {}), ('PUT', '/instances', {}), ('DELETE', '/instances', {}), ('POST', '/changes', {})]:
        server.ask(method, path, '' if method in ('POST', 'PUT') else None, headers=headers, label='%s %s %s' % (method, path, headers))
    for path in [*('/instances/' + i for i in ids['instances'][:2]), '/series/' + ids['series'][0], '/studies/' + ids['studies'][0], '/patients/' + ids['patients'][1], '/patients/' + UNKNOWN]:
        server.ask('DELETE', path)
        server.ask('DELETE', path)
        server.ask('GET', '/statistics')


def without_files(server, _):
    """Searches where files may not be read, and limits."""
    fill(server)
    for query in [{'PatientComments': 'x*'}, {'StationName': 'ST1'}, {'ModalitiesInStudy': 'CT'}, {'PatientID': 'P1'}, {'PatientID': 'P1', 'StationName': 'nope'}]:
        search(server, {'Level': 'Study', 'Query': query})
        search(server, {'Level': 'Study', 'Query': query, 'Expand': True, 'RequestedTags': ['PatientComments', 'ModalitiesInStudy', 'StudyDate']}, also=())
    for more in [{}, {'Limit': 1}, {'Limit': 3}, {'Since': 1}, {'Since': 1, 'Limit': 5}]:
        for level in ['Study', 'Instance']:
            search(server, {'Level': level, 'Query': {}, **more}, cut=True)
    for path in ['/studies', '/studies?expand', '/instances', '/studies?since=0&limit=3', '/instances?since=1&limit=10']:
        page(server, path)
    server.ask('GET', '/studies?expand&requested-tags=PatientComments')


def extra(server, _):
    """More main DICOM tags: plain, private, sequences."""
    ids = fill(server)
    server.ask('GET', '/system', label='the main DICOM tags')
    for level in LEVELS:
        for query in ['expand', 'expand&short', 'expand&full', 'expand&requested-tags=StationName;PatientComments']:
            server.ask('GET', '/%s?%s' % (level, query))
        server.ask('GET', '/%s/%s/metadata?expand' % (level, ids[level][-1]), label='metadata of %s' % level)
    for level, query in [('Study', {'PatientComments': 'x*'}), ('Series', {'StationName': 'st1'}), ('Instance', {'Rows': '16'}), ('Series', {'0011,1001': 'SECRET'}), ('Instance', {'StationName': 'ST1'})]:
        search(server, {'Level': level, 'Query': query}, also=('count-resources',))
        search(server, {'Level': level, 'Query': {}, 'OrderBy': [{'Type': 'DicomTag', 'Key': next(iter(query)), 'Direction': 'DESC'}]}, also=())


CASES = [
    Case('walk', walk, **OPTIONS),
    Case('views', views, **OPTIONS),
    Case('tags', tags, **OPTIONS),
    Case('find', find, **OPTIONS),
    Case('find-views', find_views, **OPTIONS),
    Case('find-bad', find_bad),
    Case('annotations', annotations, **OPTIONS),
    Case('revisions', revisions, CheckRevisions=True, **OPTIONS),
    Case('feed', feed, **OPTIONS),
    Case('tools', tools),
    Case('methods', methods),
    Case('find-never', without_files, StorageAccessOnFind='Never', LimitFindResults=2, LimitFindInstances=4),
    Case('find-answers', without_files, StorageAccessOnFind='Answers', LimitFindResults=2, LimitFindInstances=4),
    Case('extra-tags', extra, Dictionary={'0011,1001': ['LO', 'AcmeSecret', 1, 1, 'ACME 1.0']},
         ExtraMainDicomTags={'Patient': ['PatientComments'], 'Study': ['RequestAttributesSequence'], 'Series': ['StationName', '0011,1001'], 'Instance': ['Rows', 'PixelData']}),
]
