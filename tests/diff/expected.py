"""Differences that are meant, each with its row in `docs/differences.md`: (pattern of the case, pattern of the question, reason)."""
import re

DIFFERENCES = [
    ('creation', 'refusing, permissive|nobody, permissive', 'instances that the remote refused are counted'),
    ('creation', 'lossy-quality=x', 'a wrong `lossy-quality` is named, also where nothing is transcoded'),
    ('creation', 'create-media \\[', 'media hold each instance once'),
    ('both', 'pause', 'a cancel wins over a pause'),
    ('resubmitted', 'error of the earlier run', 'a resubmitted job has no error'),
    ('resubmitted', 'resubmit of an archive', 'an archive can be made again'),
    ('forgotten', 'a caller that waits', 'with a history of no jobs, a caller hears of its job all the same'),
    ('restart', 'Archive|Failure|lost an instance', 'every job survives a restart'),
    ('restart', 'after a start without jobs', 'jobs that were forgotten do not come back'),
    ('walk', r'GET /$|GET / |explorer.html|favicon', 'the pages of Orthanc Explorer are not there'),
    ('walk', r'/plugins/explorer.js|dicom-conformance', 'texts of its own'),
    ('walk|extra-tags', r'GET /system|the main DICOM tags', '`/system` tells of another database, other limits and other programs inside'),
    ('walk|tools', r'/accepted-(sop-classes|transfer-syntaxes)', 'more SOP classes and transfer syntaxes are known'),
    ('walk', r'/statistics', 'statistics of an unknown resource are an error'),
    ('views', r'/(patient|study|series)\?requested-tags', 'requested tags of parents are shown'),
    ('views', r'response-content=MainDicomTags;Children', 'main DICOM tags are shown with their sequences'),
    ('views', r'InstanceAvailability', 'tags that are counted may be requested of instances'),
    ('tools', r'GET /statistics', 'files that are written again have no other length'),
    ('tags', r'file, Accept application/dicom.json', 'pixel data has no value in DICOM JSON'),
    ('find', r'ModalitiesInStudy', '`ModalitiesInStudy` may have wildcards, at every level below the study'),
    ('find', r'"StudyDate": "-', 'an empty date is in no range'),
    ('find', r'"(StudyDate|StudyTime|StudyInstanceUID|SOPClassUID|SOPInstanceUID)": ', 'wildcards in dates, times and UIDs match'),
    ('find-views', r'"ParentS', 'a search above the parent that it names is answered'),
    ('find-views', r'CaseSensitive', '`CaseSensitive` in `/tools/count-resources` is obeyed'),
    ('find-views', r'"StudyDate", "Direction": "ASC"', 'an empty value is sorted as an absent one'),
    ('find-views', r'MetadataAsFloat', '`MetadataAsFloat` sorts by number'),
    ('find-views', r'PatientName", "Direction": "DESC"', 'names are sorted with their accents'),
    ('find-(never|answers)', r'StationName|PatientComments', 'a search by a tag that the index lacks is answered if files may be read'),
    ('find-(never|answers)', r'"Since": 1}', 'limits hold for every page'),
    ('extra-tags', r'PatientComments|GET /studies', 'more main DICOM tags of patients are known with their studies'),
    ('walk|annotations', r'/protected', 'an unknown patient cannot be protected: 404'),
    ('annotations', r'labels/a%2fb', 'a slash that is encoded is a part of the name'),
    ('annotations', r'metadata/70000', 'numbers of metadata end at 65535'),
    ('annotations', r'attachments/1023/', 'an attachment that is not there is not verified'),
    ('methods', r'_method|Override|/labels \{', '`_method` may come with POST; what is no method is ignored'),
    ('methods', r'PATCH|OPTIONS', 'a method that a path does not have is named'),
    ('tools', r'/reconstruct', 'a body that is no object is refused'),
    ('tools', r'POST /tools/lookup', '`/tools/lookup` finds accession numbers, and passes over blanks'),
    ('feed', r'', 'a number or type that is none is refused'),
    ('find-bad', r'', 'a value of a wrong type is refused, and its field named'),
]


def says(answer, status, code=None):
    """Whether an answer is an error of that HTTP status and, if asked for, of that number of Orthanc."""
    if not isinstance(answer, dict) or answer.get('status') != status:
        return False
    body = answer['body']
    return code is None or (isinstance(body, dict) and body.get('OrthancStatus') == code)


def has_no_body(a, b):
    return any(says(a, status) and says(b, status) for status in (400, 403, 404)) and not a['body']


# Differences of many answers: what Orthanc and Pleiad answered, and the reason.
GENERAL = [
    (lambda a, b: says(b, 501), 'a service that is not built yet answers 501'),
    (has_no_body, 'every error has a body'),
    (lambda a, b: says(a, 404) and says(b, 404), 'an unknown resource is told from an unknown item'),
    (lambda a, b: says(a, 500, 27) and says(b, 400, 27), 'an unknown tag in a request is the mistake of the client'),
    (lambda a, b: says(a, 500, 1010) and says(b, 400), 'a negative number is the mistake of the client'),
    (lambda a, b: says(a, 500, 6) and not says(b, 500), 'a range that is none is ignored'),
    (lambda a, b: says(a, 416) and says(b, 416), 'a refused range has no ETag'),
]

REASONS = {reason for _, _, reason in DIFFERENCES} | {reason for _, reason in GENERAL}


def is_more(a, b):
    """Whether Pleiad only adds what no client minds: the version of a file, the name of a part of it."""
    if not (isinstance(a, dict) and isinstance(b, dict) and 'headers' in a and 'headers' in b):
        return False
    return a == {**b, 'headers': {h: v for h, v in b['headers'].items() if h not in ('ETag', 'Content-Disposition') or h in a['headers']}}


def reason(case, question, a, b):
    """Why Pleiad answers another way, or None if it should not."""
    named = (why for of, pattern, why in DIFFERENCES if re.fullmatch(of, case) and re.search(pattern, question))
    return next(named, None) or next((why for applies, why in GENERAL if applies(a, b)), None)
