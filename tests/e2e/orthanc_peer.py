"""A peer that remembers what it was asked, over HTTP or HTTPS."""
import gzip
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STORED = {'ID': 'x', 'Path': '/instances/x', 'Status': 'Success'}


class OrthancPeer:
    """`status`: of its answers to stores. `broken(number)`: whether it ends the connection of that store without an answer."""

    def __init__(self, certificate=None, key=None, client_ca=None):
        self.requests, self.stored, self.status, self.broken = [], [], 200, lambda number: False
        self.gate = threading.Event()
        self.gate.set()
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *_):
                pass

            def chunks(self):
                while size := int(self.rfile.readline(), 16):
                    yield self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()

            def names(self):
                return {name.title(): value for name, value in self.headers.items()}

            def do_POST(self):
                peer.gate.wait(30)
                if self.headers.get('Transfer-Encoding') == 'chunked':
                    body = b''.join(self.chunks())
                else:
                    size = int(self.headers['Content-Length'])
                    body = self.rfile.read(size)
                    if len(body) < size:
                        return
                peer.requests.append((self.command, self.path, self.names(), len(body)))
                if peer.broken(len(peer.requests)):
                    self.close_connection = True
                    return
                if self.headers.get('Content-Encoding') == 'gzip':
                    body = gzip.decompress(body)
                if peer.status == 200:
                    peer.stored.append(body)
                self.answer(peer.status, STORED)

            def do_GET(self):
                peer.requests.append((self.command, self.path, self.names(), 0))
                self.answer(200 if self.path == '/system' else 404, {'Name': 'peer', 'Version': '0.8.6'})

            def answer(self, status, value):
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            if client_ca:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(client_ca)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = '%s://localhost:%d/' % ('https' if certificate else 'http', self.port)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
