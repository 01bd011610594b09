"""A stand-in of an S3 object store on the loopback address, with the requests that s3fs sends."""

import hashlib
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests._loopback import Answers, on_loopback

DENIED = "private"


class Store:
    """Objects by bucket and key.

    Attributes:
        buckets: Content of each bucket.
        parts: Parts of the uploads that are neither completed nor aborted.
        refuse_parts: Answer all parts after the first with an error.
    """

    def __init__(self):
        self.buckets = {"data": {}}
        self.parts = {}
        self.refuse_parts = False


def etag(data):
    return f'"{hashlib.md5(data).hexdigest()}"'


@contextmanager
def s3_on_loopback():
    """Run a store with the empty bucket ``data``; gives it with its address."""
    store = Store()

    class Handler(Answers, BaseHTTPRequestHandler):
        def xml(self, root, body, status=200):
            text = f'<?xml version="1.0"?><{root}>{body}</{root}>'
            self.answer(text.encode(), status, {"Content-Type": "application/xml"})

        def error(self, status, code):
            self.xml("Error", f"<Code>{code}</Code><Message>{code}</Message>", status)

        def handle_request(self):
            body = self.body()
            url = urlsplit(self.path)
            self.query = {k: v[0] for k, v in parse_qs(url.query, True).items()}
            bucket, _, self.key = unquote(url.path).lstrip("/").partition("/")
            if bucket == DENIED:
                self.error(403, "AccessDenied")
            elif bucket not in store.buckets:
                self.error(404, "NoSuchBucket")
            else:
                self.objects = store.buckets[bucket]
                verb = self.command.lower()
                getattr(self, f"{verb}_object" if self.key else f"{verb}_bucket")(body)

        def do_GET(self):
            self.handle_request()

        def do_HEAD(self):
            self.handle_request()

        def do_PUT(self):
            self.handle_request()

        def do_POST(self):
            self.handle_request()

        def do_DELETE(self):
            self.handle_request()

        def head_bucket(self, _):
            self.answer()

        def get_bucket(self, _):
            prefix, mark = self.query.get("prefix", ""), self.query.get("delimiter")
            folders, body = set(), ""
            for key, data in sorted(self.objects.items()):
                if not key.startswith(prefix):
                    continue
                rest = key[len(prefix) :]
                if mark and mark in rest:
                    folders.add(prefix + rest.split(mark)[0] + mark)
                    continue
                body += (
                    f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size>"
                    f"<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                    f"<ETag>{escape(etag(data))}</ETag></Contents>"
                )
            for folder in sorted(folders):
                body += f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
            self.xml("ListBucketResult", f"<IsTruncated>false</IsTruncated>{body}")

        def post_bucket(self, body):
            for key in re.findall(r"<Key>(.*?)</Key>", body.decode()):
                self.objects.pop(key, None)
            self.xml("DeleteResult", "")

        def head_object(self, _):
            self.get_object(_)

        def get_object(self, _):
            if self.key not in self.objects:
                self.error(404, "NoSuchKey")
                return
            data = whole = self.objects[self.key]
            headers = {"ETag": etag(whole), "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
            found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if found:
                first, last = int(found[1]), int(found[2] or len(whole) - 1)
                data = whole[first : last + 1]
                headers["Content-Range"] = f"bytes {first}-{last}/{len(whole)}"
            self.answer(data, 206 if found else 200, headers)

        def put_object(self, body):
            if "uploadId" not in self.query:
                self.objects[self.key] = body
            elif self.query["uploadId"] not in store.parts:
                self.error(404, "NoSuchUpload")
                return
            elif store.refuse_parts and self.query["partNumber"] != "1":
                self.error(400, "InvalidRequest")
                return
            else:
                store.parts[self.query["uploadId"]][int(self.query["partNumber"])] = body
            self.answer(headers={"ETag": etag(body)})

        def post_object(self, _):
            if "uploads" in self.query:
                name = str(len(store.parts))
                store.parts[name] = {}
                self.xml("InitiateMultipartUploadResult", f"<UploadId>{name}</UploadId>")
            else:
                parts = store.parts.pop(self.query["uploadId"])
                self.objects[self.key] = b"".join(parts[number] for number in sorted(parts))
                self.xml("CompleteMultipartUploadResult", f"<Key>{escape(self.key)}</Key>")

        def delete_object(self, _):
            if "uploadId" in self.query:
                store.parts.pop(self.query["uploadId"])
            else:
                self.objects.pop(self.key, None)
            self.answer(status=204)

    with on_loopback(Handler) as address:
        yield store, address
