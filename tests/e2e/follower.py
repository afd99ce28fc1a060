"""A client that follows the change feed."""
import requests


class Follower:
    """Polls `/changes?since=` as clients do."""

    def __init__(self, url):
        self.url = url
        self.last = 0
        self.went_back = 0
        self.seen = []

    def poll(self):
        """Takes a page; says whether it was the last."""
        try:
            answer = requests.get('%s/changes?since=%d&limit=1000' % (self.url, self.last), headers={'Connection': 'close'}, timeout=5)
        except requests.RequestException:
            return False
        if not answer.ok:
            return False
        page = answer.json()
        self.went_back += page['Last'] < self.last
        self.last = max(self.last, page['Last'])
        self.seen += [(change['ChangeType'], change['ID']) for change in page['Changes']]
        return page['Done']

    def ids(self, kind):
        return {identifier for name, identifier in self.seen if name == kind}

    def count(self, kind):
        ids = [identifier for name, identifier in self.seen if name == kind]
        assert len(ids) == len(set(ids)), '%s came twice for one resource' % kind
        return len(ids)
