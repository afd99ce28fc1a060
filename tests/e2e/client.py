"""A client of one server, or of several behind one address: the tests do not know which."""
import requests


class Client:
    """The REST and DICOM addresses of what is being tested."""

    def __init__(self, url, dicom_port, aet='ORTHANC', auth=None):
        self.url, self.dicom_port, self.aet = url, dicom_port, aet
        self.session = requests.Session()
        self.session.auth = auth
        # Each request takes a new connection, so that a balancer may send it to another process.
        self.session.headers['Connection'] = 'close'

    def request(self, method, path, **arguments):
        return self.session.request(method, self.url + path, timeout=60, **arguments)

    def get(self, path, **arguments):
        return self.request('GET', path, **arguments)

    def json(self, path, **arguments):
        answer = self.get(path, **arguments)
        answer.raise_for_status()
        return answer.json()

    def post(self, path, body, **arguments):
        return self.request('POST', path, data=body, **arguments)

    def upload(self, body):
        """Stores one instance and returns Orthanc's answer."""
        answer = self.post('/instances', body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def delete(self, path):
        return self.request('DELETE', path)

    def changes(self):
        """The whole change feed, page by page."""
        changes, since = [], 0
        while True:
            page = self.json('/changes', params={'since': since, 'limit': 100})
            changes += page['Changes']
            since = page['Last']
            if page['Done']:
                return changes
