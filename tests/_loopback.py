"""HTTP servers on the loopback address that stand in for services."""

import threading
from contextlib import contextmanager
from http.server import ThreadingHTTPServer


class Answers:
    """Part of a handler of requests that prints nothing and keeps connections open."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, data=b"", status=200, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """Ignore connections that the client closes early."""


@contextmanager
def on_loopback(handler):
    """Run a server with a class of handlers; gives its address."""
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
