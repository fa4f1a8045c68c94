"""What tests of the lab share: why they may have to be skipped, and a coordinator that only says yes."""

import pytest

from lab.hosts import why_not

reason = why_not()
needs_lab = pytest.mark.skipif(bool(reason), reason=reason or "a lab can be had")

ECHO = """
import http.server, ssl, sys
class Yes(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"yes")
    def log_message(self, *words): pass
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("server.pem", "server.key")
context.keylog_filename = "secrets.log"
server = http.server.ThreadingHTTPServer(("0.0.0.0", 8443), Yes)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
server.serve_forever()
"""

SAY = """
import http.client, ssl, sys, time
host, body, timeout = sys.argv[1], bytes.fromhex(sys.stdin.read()), float(sys.argv[2])
began = time.monotonic()
try:
    line = http.client.HTTPSConnection(host, context=ssl.create_default_context(cafile="server.pem"), timeout=timeout)
    line.connect()
    took = time.monotonic() - began
    line.request("POST", "/", body)
    print(line.getresponse().read().decode(), took)
except OSError as error:
    print(type(error).__name__, time.monotonic() - began)
"""
