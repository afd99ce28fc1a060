"""Differences that are meant, each with its row in `docs/differences.md`: (case, pattern of the question, reason)."""
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
    ('performance', 'log-level|^after', 'text answers name their character set'),
]

REASONS = {reason for _, _, reason in DIFFERENCES}


def reason(case, question):
    """Why Pleiad answers another way, or None if it should not."""
    return next((why for of, pattern, why in DIFFERENCES if of == case and re.search(pattern, question)), None)
