"""Lua: scripts on demand, the REST API inside of them, what they define everywhere."""
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from client import Client
from dicom import dicom_bytes, instance

scripts = pytest.mark.config(ExecuteLuaEnabled=True)


def lua(server, script):
    return server.post('/tools/execute-script', script)


def printed(server, script):
    answer = lua(server, script)
    assert answer.status_code == 200, answer.text
    return answer.text


def everywhere(server, script):
    """What each process prints."""
    return {printed(Client(n.url, n.dicom_port), script) for n in server.nodes}


@scripts
def test_the_toolbox_and_errors(server):
    names = ['PrintRecursive', '_InitializeJob', '_AccessJob', 'SendToModality', 'SendToPeer', 'Delete', 'ModifyInstance', 'CallSystem',
             'RestApiGet', 'RestApiPost', 'RestApiPut', 'RestApiDelete', 'ParseJson', 'DumpJson', 'GetOrthancConfiguration']
    for name in names:
        assert printed(server, 'print(type(%s))' % name) == 'function\n', name
    assert printed(server, 'print(42)') == '42\n' and printed(server, 'print(_VERSION)') == 'Lua 5.3\n'
    for bad in ['this is bad', 'error("boom")', 'io.open("/etc/passwd")', 'os.exit()']:
        answer = lua(server, bad)
        assert answer.status_code == 500 and answer.json()['OrthancStatus'] == 2031, bad


@scripts
def test_scripts_that_never_end_are_ended(server):
    for endless in ['while true do end', 'while true do pcall(function() while true do end end) end',
                    'local s = "x" while true do s = s .. s end', 'local function f() return 1 + f() end f()']:
        begin = time.monotonic()
        assert lua(server, endless).status_code == 500
        assert time.monotonic() - begin < 25
    deep = 's = [[print(RestApiPost("/tools/execute-script", s))]] print(RestApiPost("/tools/execute-script", s))'
    assert 'nil' in printed(server, deep)


@scripts
def test_the_rest_api_from_inside(server):
    body = dicom_bytes(instance())
    stored = server.upload(body)
    path = '/instances/%s' % stored['ID']
    assert printed(server, 'print(#RestApiGet("%s/file"))' % path) == '%d\n' % len(body)
    assert printed(server, 'print(ParseJson(RestApiGet("/system"))["ApiVersion"])').strip() == str(server.json('/system')['ApiVersion'])
    assert printed(server, 'print(RestApiGet("/nope"), RestApiGet(), RestApiGet("/system", 5), RestApiPost("/x"))') == 'nil, nil, nil, nil\n'
    assert printed(server, 'print(RestApiPut("%s/metadata/1024", "v"))' % path) == '\n'
    assert server.get(path + '/metadata/1024').text == 'v'
    assert printed(server, 'print(RestApiGet("/patients//?expand", false, {Accept = "application/xml"}))').startswith('[')
    assert printed(server, 'print(RestApiDelete("%s"))' % path) == 'true\n'
    assert server.get(path).status_code == 404
    assert printed(server, 'print(RestApiDelete("%s"))' % path) == 'nil\n'


@scripts
def test_what_a_script_stores_says_so(server):
    stored = server.upload(dicom_bytes(instance()))
    again = 'local d = RestApiGet("/instances/%s/file") RestApiDelete("/instances/%s") print(RestApiPost("/instances", d))'
    assert '"Success"' in printed(server, again % (stored['ID'], stored['ID']))
    assert server.get('/instances/%s/metadata/Origin' % stored['ID']).text == 'Lua'


@scripts
def test_globals_are_known_to_every_state_of_every_process(server):
    printed(server, 'function Hello(x) return "hello " .. x end  greeting = "good"')
    assert everywhere(server, 'print(greeting, Hello(1))') == {'good, hello 1\n'}
    printed(server, 'greeting = greeting .. " day"')
    assert everywhere(server, 'print(greeting)') == {'good day\n'}
    printed(server, 'greeting = nil')
    assert everywhere(server, 'print(greeting)') == {'nil\n'}
    assert everywhere(server, 'local greeting = 5 print(greeting)') == {'5\n'}


@scripts
def test_slow_scripts_do_not_wait_for_each_other(server):
    slow = 'local n = 0 for i = 1, 20000000 do n = n + i end print(n)'
    begin = time.monotonic()
    assert lua(server, slow).status_code == 200
    alone = time.monotonic() - begin
    done = []
    threads = [threading.Thread(target=lambda: done.append(lua(server, 'while true do end').status_code)) for _ in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    begin = time.monotonic()
    assert printed(server, 'print(1)') == '1\n'
    assert time.monotonic() - begin < 8, alone
    for thread in threads:
        thread.join()
    assert done == [500] * 6


def test_scripts_are_off_unless_enabled(server):
    assert lua(server, 'print(1)').status_code == 403


def test_scripts_of_the_configuration(node, tmp_path):
    first, second = tmp_path / 'first.lua', tmp_path / 'second.lua'
    first.write_text('a = 1 b = 1')
    second.write_text('b = a + 1')
    one = node({'LuaScripts': [str(first), str(second)], 'ExecuteLuaEnabled': True, 'Name': 'lua here'}).start()
    server = Client(one.url, one.dicom_port)
    assert printed(server, 'print(a, b, GetOrthancConfiguration()["Name"])') == '1, 2, lua here\n'
    printed(server, 'a = 7')
    one.stop()
    one.start()
    assert printed(server, 'print(a)') == '1\n', 'what scripts defined ends with the only process'


@pytest.mark.parametrize('script,words', [(None, 'LuaScripts'), ('a b c', 'broken.lua'), ('while true do end', 'too long')])
def test_a_bad_script_of_the_configuration_keeps_the_server_from_starting(node, tmp_path, script, words):
    path = tmp_path / 'broken.lua'
    if script:
        path.write_text(script)
    one = node({'LuaScripts': [str(path)]})
    one.spawn()
    assert one.process.wait(30) != 0
    assert words in one.log


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do(self):
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0)).decode()
        if self.path == '/slow':
            time.sleep(3)
        seen = json.dumps({'method': self.command, 'body': body, 'headers': {k.lower(): v for k, v in self.headers.items()}}).encode()
        self.send_response(404 if self.path == '/missing' else 200)
        self.send_header('Content-Length', str(len(seen)))
        self.end_headers()
        self.wfile.write(seen)

    do_GET = do_POST = do_PUT = do_DELETE = do

    def log_message(self, *_):
        pass


@pytest.fixture
def echo():
    http = ThreadingHTTPServer(('127.0.0.1', 0), Echo)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield 'http://127.0.0.1:%d' % http.server_port
    http.shutdown()
    thread.join()
    http.server_close()


@scripts
def test_scripts_call_other_servers(server, echo):
    def ask(call):
        return json.loads(printed(server, 'print(%s)' % call))

    seen = ask('HttpPost("%s", DumpJson({a = 1}), {["X-Test"] = "yes"})' % echo)
    assert (seen['method'], seen['body'], seen['headers']['x-test']) == ('POST', '{"a":1}', 'yes')
    assert ask('HttpPost("%s", nil, {A = "b"})' % echo)['body'] == '' and ask('HttpPut("%s", "x")' % echo)['body'] == 'x'
    assert ask('HttpGet("%s/missing")' % echo)['method'] == 'GET', 'the answer, whatever its status'
    assert printed(server, 'print(HttpDelete("%s"), HttpDelete("%s/missing"))' % (echo, echo)) == 'SUCCESS, nil\n'
    assert printed(server, 'print(HttpGet("http://127.0.0.1:1"), HttpGet(), HttpGet("nonsense"), HttpPost("x", {}))') == 'nil, nil, nil, nil\n'
    assert printed(server, 'SetHttpTimeout(1) print(HttpGet("%s/slow")) SetHttpTimeout(10)' % echo) == 'nil\n'
    seen = json.loads(printed(server, 'SetHttpCredentials("alice", "secret") print(HttpGet("%s"))' % echo))
    assert seen['headers']['authorization'] == 'Basic YWxpY2U6c2VjcmV0'
