"""An etcd in memory with as much of the v3 JSON gateway as the registry uses. Runs on both runtimes."""

import binascii
import json

from fake_http import answer


def b64(data):
    return binascii.b2a_base64(data)[:-1].decode()


def unb64(text):
    return binascii.a2b_base64(text)


class Etcd:
    """respond() is for fake_http.Server.

    refuse: (status, message) that the next requests get; raw: answers in full, None for the real one.
    """

    def __init__(self, revision=1, cluster="77", term=2):
        self.keys = {}  # bytes -> [value, create_revision, mod_revision, lease]
        self.revision = revision
        self.cluster = cluster
        self.term = term
        self.leases = {}
        self.paths = []  # of all requests
        self.refuse = []
        self.raw = []  # answers in full that the next requests get instead, None for none
        self.user = None  # (name, password) when authentication is on
        self.tokens = set()
        self._granted = 0

    def put(self, key, value="", lease="0"):
        key = key if isinstance(key, bytes) else key.encode()
        self.revision += 1
        created = self.keys[key][1] if key in self.keys else self.revision
        self.keys[key] = [
            value if isinstance(value, bytes) else value.encode(),
            created,
            self.revision,
            lease,
        ]

    def delete(self, key):
        if self.keys.pop(key if isinstance(key, bytes) else key.encode(), None):
            self.revision += 1

    def expire(self):
        """Ends all leases."""
        self.revision += 1
        self.keys = {key: self.keys[key] for key in self.keys if self.keys[key][3] not in self.leases}
        self.leases = {}

    def snapshot(self):
        return json.dumps([[b64(key)] + [b64(self.keys[key][0])] + self.keys[key][1:] for key in self.keys])

    def restore(self, text, revision):
        self.revision = revision
        self.keys = {unb64(item[0]): [unb64(item[1])] + item[2:] for item in json.loads(text)}

    def wipe(self):
        self.__init__(cluster=self.cluster)

    def respond(self, request):
        head, _, body = request.partition(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()
        self.paths.append(path)
        raw = self.raw.pop(0) if self.raw else None
        if raw:
            return raw
        if self.refuse:
            return self._refusal(*self.refuse.pop(0))
        body = json.loads(body)
        if path == "/v3/auth/authenticate":
            return self._authenticate(body)
        if self.user:
            token = head.partition(b"\r\nAuthorization: ")[2].partition(b"\r\n")[0].decode()
            if not token:
                return self._refusal(400, "etcdserver: user name is empty")
            if token not in self.tokens:
                return self._refusal(401, "etcdserver: invalid auth token")
        found = {
            "/v3/kv/range": self._range,
            "/v3/kv/txn": self._txn,
            "/v3/kv/put": self._put,
            "/v3/lease/grant": self._grant,
            "/v3/lease/keepalive": self._keepalive,
            "/v3/lease/revoke": self._revoke,
        }[path](body)
        if isinstance(found, bytes):
            return found
        if path != "/v3/lease/keepalive":
            found["header"] = self._header()
        return answer(json.dumps(found, separators=(",", ":")).encode())

    def _header(self):
        return {"cluster_id": self.cluster, "revision": str(self.revision), "raft_term": str(self.term)}

    def _refusal(self, status, message):
        text = json.dumps({"error": message, "message": message, "code": 2})
        return answer(text.encode(), "%d Refused" % status)

    def _authenticate(self, body):
        if not self.user:
            return self._refusal(400, "etcdserver: authentication is not enabled")
        if (body["name"], body["password"]) != self.user:
            return self._refusal(400, "etcdserver: authentication failed, invalid user ID or password")
        token = "token.%d" % len(self.paths)
        self.tokens.add(token)
        return answer(json.dumps({"header": self._header(), "token": token}).encode())

    def _put(self, body):
        lease = str(body.get("lease", 0))
        if lease != "0" and lease not in self.leases:
            return self._refusal(404, "etcdserver: requested lease not found")
        self.put(unb64(body["key"]), unb64(body["value"]), lease)
        return {}

    def _grant(self, body):
        self._granted += 1
        lease = "900719925474099%d" % self._granted
        self.leases[lease] = body["TTL"]
        return {"ID": lease, "TTL": str(body["TTL"])}

    def _keepalive(self, body):
        result = {"header": self._header(), "ID": body["ID"]}
        if body["ID"] in self.leases:
            result["TTL"] = str(self.leases[body["ID"]] or 1)
        return {"result": result}

    def _revoke(self, body):
        if body["ID"] not in self.leases:
            return self._refusal(404, "etcdserver: requested lease not found")
        del self.leases[body["ID"]]
        for key in [key for key in self.keys if self.keys[key][3] == body["ID"]]:
            self.delete(key)
        return {}

    def _txn(self, body):
        good = all([self._holds(condition) for condition in body.get("compare", [])])
        responses = []
        for operation in body.get("success" if good else "failure", []):
            for name in operation:
                argument = operation[name]
                if name == "request_range":
                    responses.append({"response_range": self._range(argument)})
                elif name == "request_put":
                    self.put(unb64(argument["key"]), unb64(argument["value"]))
                    responses.append({"response_put": {}})
                else:
                    self.delete(unb64(argument["key"]))
                    responses.append({"response_delete_range": {}})
        found = {"responses": responses}
        if good:
            found["succeeded"] = True
        return found

    def _holds(self, condition):
        item = self.keys.get(unb64(condition["key"]))
        if condition["target"] == "CREATE":
            return (item[1] if item else 0) == condition["create_revision"]
        return bool(item) and item[0] == unb64(condition["value"])

    def _range(self, argument):
        first = unb64(argument["key"])
        last = unb64(argument["range_end"]) if "range_end" in argument else first + b"\0"
        names = sorted([key for key in self.keys if first <= key < last])
        found = {"count": str(len(names))} if names else {}
        if argument.get("count_only"):
            return found
        names = [key for key in names if self.keys[key][2] >= argument.get("min_mod_revision", 0)]
        limit = argument.get("limit", 0)
        if limit and len(names) > limit:
            names = names[:limit]
            found["more"] = True
        if names:
            found["kvs"] = [self._item(key, argument.get("keys_only")) for key in names]
        return found

    def _item(self, key, keys_only):
        value, created, modified, _ = self.keys[key]
        item = {
            "key": b64(key),
            "create_revision": str(created),
            "mod_revision": str(modified),
            "version": "1",
        }
        if value and not keys_only:
            item["value"] = b64(value)
        return item
