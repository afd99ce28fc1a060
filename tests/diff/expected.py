"""Differences that are meant, each with its row in `docs/differences.md`: (case, pattern of the question, reason)."""
import re

DIFFERENCES = [
    ('creation', 'refusing, permissive|nobody, permissive', 'instances that the remote refused are counted'),
    ('creation', 'lossy-quality=x', 'a wrong `lossy-quality` is named, also where nothing is transcoded'),
    ('creation', 'create-media \\[', 'media hold each instance once'),
]

REASONS = {reason for _, _, reason in DIFFERENCES}


def reason(case, question):
    """Why Pleiad answers another way, or None if it should not."""
    return next((why for of, pattern, why in DIFFERENCES if of == case and re.search(pattern, question)), None)
