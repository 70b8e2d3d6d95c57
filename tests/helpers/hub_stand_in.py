"""A stand-in of the Hugging Face Hub for tests: repositories in memory, over HTTP, in a thread of this process.

It knows what publishing and loading need: create a repository, commit (with large files by LFS), list and download.
"""

import base64
import hashlib
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


LARGE = (".parquet", ".safetensors", ".bin")


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class StandInHub:
    """The Hub; used as a context.

    Attributes:
        repositories: (kind, name) -> {path: content}, kind being "models", "datasets" or "spaces".
        commits: (kind, name) of every commit, in order.
        sent: Paths of the files in every commit, in order.
        uploads: Object identifier of every large file that was sent.
        fail_commits: So many of the next commits are answered with an error.
    """

    def __init__(self):
        self.repositories: dict[tuple[str, str], dict[str, bytes]] = {}
        self.objects: dict[str, bytes] = {}
        self.commits: list[tuple[str, str]] = []
        self.sent: list[list[str]] = []
        self.uploads: list[str] = []
        self.fail_commits = 0

    def __enter__(self):
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self):
                status, headers, content = hub.respond(self.command, self.path, self.headers, self.body())
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer

            def body(self) -> bytes:
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                parts = []
                while size := int(self.rfile.readline().strip() or b"0", 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()

    def environment(self, cache: os.PathLike) -> dict[str, str]:
        """Environment of a process that takes this for the Hub."""
        return {
            **os.environ,
            "HF_ENDPOINT": self.url,
            "HF_HUB_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_TOKEN": "hf_standin",
            "HF_HOME": str(cache),
        }

    def respond(self, method: str, target: str, headers, body: bytes) -> tuple[int, dict, bytes]:
        url = urlsplit(target)
        path = [unquote(part) for part in url.path.strip("/").split("/")]
        query = parse_qs(url.query)
        if path[:2] == ["api", "whoami-v2"]:
            return self.json({"type": "user", "name": "me", "orgs": [], "auth": {"accessToken": {"role": "write"}}})
        if path[:2] == ["api", "validate-yaml"]:
            return self.json({"errors": [], "warnings": []})
        if path[:3] == ["api", "repos", "create"]:
            return self.create(json.loads(body))
        if path[-3:] == ["lfs", "objects", "batch"]:
            return self.batch(json.loads(body))
        if path[0] == "_lfs":
            self.objects[path[1]] = body
            self.uploads.append(path[1])
            return 200, {}, b""
        if path[0] == "api":
            return self.interface(path[1:], query, body)
        return self.file(path, method, headers)

    def json(self, value, status: int = 200) -> tuple[int, dict, bytes]:
        return status, {"Content-Type": "application/json"}, json.dumps(value).encode()

    def missing(self, code: str = "RepoNotFound") -> tuple[int, dict, bytes]:
        status, headers, content = self.json({"error": "not found"}, 404)
        return status, {**headers, "X-Error-Code": code, "X-Error-Message": "not found"}, content

    def create(self, wanted: dict) -> tuple[int, dict, bytes]:
        kind = wanted.get("type", "model") + "s"
        name = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
        url = f"{self.url}/{'' if kind == 'models' else kind + '/'}{name}"
        if (kind, name) in self.repositories:
            return self.json({"error": "exists", "url": url}, 409)
        self.repositories[kind, name] = {}
        return self.json({"url": url, "id": "0"})

    def batch(self, wanted: dict) -> tuple[int, dict, bytes]:
        answers = []
        for one in wanted["objects"]:
            answer = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.objects:
                answer["actions"] = {"upload": {"href": f"{self.url}/_lfs/{one['oid']}", "header": {}}}
            answers.append(answer)
        status, _, content = self.json({"transfer": "basic", "objects": answers})
        return status, {"Content-Type": "application/vnd.git-lfs+json"}, content

    def revision(self, files: dict) -> str:
        digest = json.dumps({path: hashlib.sha1(content).hexdigest() for path, content in sorted(files.items())})
        return hashlib.sha1(digest.encode()).hexdigest()

    def entry(self, path: str, content: bytes) -> dict:
        entry = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
        if path.endswith(LARGE):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return entry

    def preupload(self, path: str, content: bytes | None) -> dict:
        large = path.endswith(LARGE)
        oid = None if content is None else hashlib.sha256(content).hexdigest() if large else git_oid(content)
        return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}

    def interface(self, path: list[str], query: dict, body: bytes) -> tuple[int, dict, bytes]:
        kind, name, rest = path[0], "/".join(path[1:3]), path[3:]
        files = self.repositories.get((kind, name))
        if files is None:
            return self.missing()
        if not rest or rest[0] == "revision":
            return self.json(
                {
                    "id": name,
                    "sha": self.revision(files),
                    "private": False,
                    "gated": False,
                    "disabled": False,
                    "downloads": 0,
                    "likes": 0,
                    "tags": [],
                    "lastModified": "2026-01-01T00:00:00.000Z",
                    "createdAt": "2026-01-01T00:00:00.000Z",
                    "siblings": [{"rfilename": one} for one in files],
                }
            )
        if rest[0] == "preupload":
            wanted = [one["path"] for one in json.loads(body)["files"]]
            return self.json({"files": [self.preupload(one, files.get(one)) for one in wanted]})
        if rest[0] == "commit":
            return self.commit(kind, name, files, body)
        if rest[0] == "paths-info":
            try:
                wanted = json.loads(body)["paths"]
            except ValueError:
                wanted = parse_qs(body.decode())["paths"]
            found = [self.entry(one, files[one]) for one in wanted if one in files]
            folders = [one for one in wanted if any(path.startswith(f"{one}/") for path in files)]
            return self.json(found + [{"type": "directory", "path": one, "oid": "0" * 40} for one in folders])
        if rest[0] == "tree":
            return self.tree(files, "/".join(rest[2:]), query.get("recursive", [""])[0].lower() in ("1", "true"))
        if rest[0] == "refs":
            branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": self.revision(files)}
            return self.json({"branches": [branch], "tags": [], "converts": []})
        return self.json({"error": f"the stand-in does not know {'/'.join(path)}"}, 404)

    def commit(self, kind: str, name: str, files: dict, body: bytes) -> tuple[int, dict, bytes]:
        if self.fail_commits:
            self.fail_commits -= 1
            return self.json({"error": "the connection broke off"}, 500)
        items = [json.loads(line) for line in filter(None, body.decode().splitlines())]
        self.sent.append([item["value"]["path"] for item in items if item["key"] in ("file", "lfsFile")])
        for item in items:
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
            elif item["key"] == "deletedFile":
                files.pop(value["path"], None)
        self.commits.append((kind, name))
        identifier = self.revision(files)
        url = f"{self.url}/{kind}/{name}/commit/{identifier}"
        return self.json({"success": True, "commitOid": identifier, "commitUrl": url})

    def tree(self, files: dict, root: str, recursive: bool) -> tuple[int, dict, bytes]:
        found, folders = [], set()
        for path, content in files.items():
            if root and not path.startswith(f"{root}/"):
                continue
            parts = path[len(root) + 1 if root else 0 :].split("/")
            depth = len(parts) if recursive else min(2, len(parts))
            folders |= {"/".join(([root] if root else []) + parts[:k]) for k in range(1, depth)}
            if recursive or len(parts) == 1:
                found.append(self.entry(path, content))
        if root and not found and not folders:
            return self.missing("EntryNotFound")
        return self.json([{"type": "directory", "path": one, "oid": "0" * 40} for one in sorted(folders)] + found)

    def file(self, path: list[str], method: str, headers) -> tuple[int, dict, bytes]:
        kind = "models"
        if path[0] in ("datasets", "spaces"):
            kind, path = path[0], path[1:]
        files = self.repositories.get((kind, "/".join(path[:2])))
        if files is None:
            return self.missing()
        name = "/".join(path[4:])
        if path[2:3] != ["resolve"] or name not in files:
            return self.missing("EntryNotFound")
        content = files[name]
        etag = hashlib.sha256(content).hexdigest() if name.endswith(LARGE) else git_oid(content)
        about = {"ETag": f'"{etag}"', "X-Repo-Commit": self.revision(files), "Accept-Ranges": "bytes"}
        wanted = headers.get("Range")
        if wanted and method == "GET":
            first, last = wanted.split("=")[1].split("-")
            start, stop = int(first or 0), min(int(last) + 1 if last else len(content), len(content))
            return 206, {**about, "Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}, content[start:stop]
        return 200, {**about, "Content-Length": str(len(content))}, content
