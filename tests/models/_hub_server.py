"""A stand-in of the Hugging Face Hub on the loopback address, with the requests of one upload."""

import base64
import hashlib
import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from tests._loopback import Answers, on_loopback


class Hub:
    """Repositories by name; each is a list of commits, and a commit the files by name."""

    def __init__(self):
        self.repositories = {}

    def commit(self, name, files):
        """Add a commit with all files of a repository and return its identifier."""
        commits = self.repositories.setdefault(name, [])
        commits.append(files)
        return self.sha(name, len(commits) - 1)

    @staticmethod
    def sha(name, number):
        return hashlib.sha1(f"{name} {number}".encode()).hexdigest()

    def find(self, name, revision):
        """Return the identifier and the files of a revision, or None."""
        commits = self.repositories.get(name, [])
        for number, files in enumerate(commits):
            last = number == len(commits) - 1
            if revision == self.sha(name, number) or (revision == "main" and last):
                return self.sha(name, number), files
        return None


def entry(name, data):
    """A file in the answer to a request for a folder."""
    return {
        "type": "file",
        "path": name,
        "size": len(data),
        "oid": hashlib.sha1(data).hexdigest(),
    }


@contextmanager
def hub_on_loopback():
    """Run a hub; gives it with its address."""
    hub = Hub()

    class Handler(Answers, BaseHTTPRequestHandler):
        def answer(self, content, status=200, headers=()):
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            super().answer(data, status, headers)

        def missing(self, code):
            self.answer({"error": code}, 404, {"X-Error-Code": code})

        def found(self, name, revision):
            if name not in hub.repositories:
                self.missing("RepoNotFound")
                return None
            commit = hub.find(name, revision)
            if commit is None:
                self.missing("RevisionNotFound")
            return commit

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            path = self.path.partition("?")[0]
            if told := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
                if commit := self.found(told[1], told[2] or "main"):
                    siblings = [{"rfilename": name} for name in commit[1]]
                    self.answer({"id": told[1], "sha": commit[0], "siblings": siblings})
            elif told := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
                if commit := self.found(told[1], told[2]):
                    self.answer([entry(*item) for item in commit[1].items()])
            elif told := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                if commit := self.found(told[1], told[2]):
                    data = commit[1].get(told[3])
                    if data is None:
                        self.missing("EntryNotFound")
                        return
                    etag = f'"{hashlib.sha256(data).hexdigest()}"'
                    self.answer(data, headers={"ETag": etag, "X-Repo-Commit": commit[0]})
            else:
                self.missing("EntryNotFound")

        def do_POST(self):
            body = self.body()
            path = self.path.partition("?")[0]
            if path == "/api/repos/create":
                given = json.loads(body)
                name = f"{given['organization']}/{given['name']}"
                hub.repositories.setdefault(name, [])
                self.answer({"url": f"/{name}", "name": name})
            elif told := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
                files = [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in json.loads(body)["files"]
                ]
                self.answer({"files": files})
            elif told := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
                lines = [json.loads(line) for line in body.splitlines()]
                files = {
                    line["value"]["path"]: base64.b64decode(line["value"]["content"])
                    for line in lines
                    if line["key"] == "file"
                }
                sha = hub.commit(told[1], files)
                address = f"/{told[1]}/commit/{sha}"
                self.answer({"success": True, "commitOid": sha, "commitUrl": address})
            else:
                self.answer({})

    with on_loopback(Handler) as address:
        yield hub, address
