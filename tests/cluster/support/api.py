"""A client of the API server: one request a call over kept connections, and waiting by watch.

    api = Api()                                    the administrator
    api.impersonate("jane", "group-1")             the same, with other rights
    Api(token=…)                                   a service account's token
    pod = api.create({...}); pod.warnings          what admission said
    api.get("v1", "Pod", "web", "shop")            ApiError where it is not there (error.status == 404)
    api.wait("v1", "Pod", "web", "shop", lambda pod: pod and phase(pod) == "Running")

Objects are dicts, `Object` with the answer's warnings. Paths come from the server's own discovery, so that CRDs work too.
Threads may share one Api: each has its own connection.
"""
import base64
import http.client
import json
import re
import ssl
import threading
import time
import urllib.parse

from . import place

SERVER = (place.NODE_IP, 6443)
PATIENCE = 60  # seconds that anything in the cluster may take
JSON_PATCH, MERGE_PATCH, APPLY = (f"application/{kind}+{form}" for kind, form in (
    ("json-patch", "json"), ("merge-patch", "json"), ("apply-patch", "yaml")))
WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')


class Object(dict):
    """An object of the API; warnings are those of the answer that it came with."""

    warnings = ()

    @property
    def name(self):
        return self["metadata"]["name"]

    @property
    def namespace(self):
        return self["metadata"].get("namespace")


class ApiError(Exception):
    def __init__(self, status, told, warnings):
        super().__init__(f"{status}: {told}")
        self.status, self.message, self.warnings = status, told, warnings


def warnings_of(response):
    """Each Warning header may hold several."""
    text = ", ".join(response.headers.get_all("Warning") or ())
    return tuple(re.sub(r"\\(.)", r"\1", warning) for warning in WARNING.findall(text))


class Api:
    def __init__(self, token=None, headers=None):
        self.headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        self.context = ssl.create_default_context(cafile=str(place.PKI / "ca.crt"))
        if token is None:
            self.context.load_cert_chain(place.PKI / "admin.crt", place.PKI / "admin.key")
        self.local = threading.local()
        self.paths = {}

    def impersonate(self, user, *groups):
        """The administrator, acting as somebody else."""
        return Impersonated(user, groups)

    # -- requests -----------------------------------------------------------------------------------------------------

    def _connect(self, timeout=PATIENCE):
        return http.client.HTTPSConnection(*SERVER, timeout=timeout, context=self.context)

    def _send(self, connection, method, path, body=None, content_type="application/json"):
        connection.putrequest(method, path)
        for name, value in self._headers(content_type):
            connection.putheader(name, value)
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        return connection.getresponse()

    def _headers(self, content_type):
        return [("Content-Type", content_type), ("Accept", "application/json"), *self.headers.items()]

    def request(self, method, path, body=None, content_type="application/json", **query):
        """The answer's Object. A body may be bytes, sent as they are."""
        path = with_query(path, query)
        for fresh in (False, True):
            connection = None if fresh else getattr(self.local, "connection", None)
            kept = connection is not None
            connection = connection or self._connect()
            self.local.connection = None
            try:
                response = self._send(connection, method, path, body, content_type)
                text = response.read()
            except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError, http.client.HTTPException):
                connection.close()
                if kept:  # the server may have closed it meanwhile
                    continue
                raise
            except OSError:
                connection.close()
                raise
            self.local.connection = connection
            return self._answer(response, text)
        raise AssertionError("not reached")

    @staticmethod
    def _answer(response, text):
        is_json = response.headers.get_content_type() == "application/json"
        content = json.loads(text) if is_json and text else {"text": text.decode(errors="replace")}
        warnings = warnings_of(response)
        if response.status >= 400:
            raise ApiError(response.status, content.get("message") or content.get("text"), warnings)
        answer = Object(content)
        answer.warnings = warnings
        return answer

    def close(self):
        """This thread's connection."""
        connection = getattr(self.local, "connection", None)
        if connection is not None:
            connection.close()
        self.local.connection = None

    # -- paths --------------------------------------------------------------------------------------------------------

    def path(self, version, kind, name=None, namespace=None):
        if (version, kind) not in self.paths:
            base = f"/api/{version}" if "/" not in version else f"/apis/{version}"
            for row in self.request("GET", base)["resources"]:
                if "/" not in row["name"]:
                    self.paths[version, row["kind"]] = base, row["name"], row["namespaced"]
        base, resource, namespaced = self.paths[version, kind]
        middle = f"/namespaces/{namespace}" if namespaced and namespace else ""
        return f"{base}{middle}/{resource}" + (f"/{name}" if name else "")

    # -- verbs --------------------------------------------------------------------------------------------------------

    def create(self, thing, dry_run=False, **query):
        path = self.path(thing["apiVersion"], thing["kind"], None, thing["metadata"].get("namespace"))
        return self.request("POST", path, thing, **dry(dry_run), **query)

    def get(self, version, kind, name, namespace=None):
        return self.request("GET", self.path(version, kind, name, namespace))

    def list(self, version, kind, namespace=None, **query):
        """Its items; the answer's kind and version are put into each, as the server leaves them out."""
        items = self.request("GET", self.path(version, kind, None, namespace), **query)["items"]
        return [Object({"apiVersion": version, "kind": kind, **item}) for item in items]

    def replace(self, thing, dry_run=False):
        meta = thing["metadata"]
        path = self.path(thing["apiVersion"], thing["kind"], meta["name"], meta.get("namespace"))
        return self.request("PUT", path, thing, **dry(dry_run))

    def patch(self, version, kind, name, patch, namespace=None, content_type=None, dry_run=False):
        """A JSON Patch where it is a list, a merge patch else."""
        content_type = content_type or (JSON_PATCH if isinstance(patch, list) else MERGE_PATCH)
        return self.request("PATCH", self.path(version, kind, name, namespace), patch, content_type, **dry(dry_run))

    def apply(self, thing, manager, force=False):
        """Server-side apply, in the name of a field manager."""
        meta = thing["metadata"]
        path = self.path(thing["apiVersion"], thing["kind"], meta["name"], meta.get("namespace"))
        return self.request("PATCH", path, thing, APPLY, fieldManager=manager, force=str(force).lower())

    def delete(self, version, kind, name, namespace=None, missing_ok=False, now=False):
        """now: without a grace period (pods)."""
        try:
            return self.request("DELETE", self.path(version, kind, name, namespace), **({"gracePeriodSeconds": 0} if now else {}))
        except ApiError as error:
            if not missing_ok or error.status != 404:
                raise
            return None

    def label(self, version, kind, name, namespace=None, **labels):
        """Sets labels, and takes away those that are None. Keys with a slash: label(…, **{"a/b": "c"})."""
        return self.patch(version, kind, name, {"metadata": {"labels": labels}}, namespace)

    def token(self, account, namespace, *audiences):
        """A service account's token, as a pod would get one."""
        path = self.path("v1", "ServiceAccount", account, namespace) + "/token"
        spec = {"expirationSeconds": 3600, **({"audiences": list(audiences)} if audiences else {})}
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return self.request("POST", path, review)["status"]["token"]

    def webhook_token(self, account, namespace, configuration, audience, group="*"):
        """A token that is bound to a MutatingWebhookConfiguration, as the API server would show it to a webhook (KEP-6060).

        The account needs the verb attest on admissionReviewAPIGroups; the audience is the webhook's URL.
        """
        path = self.path("v1", "ServiceAccount", account, namespace) + "/token"
        spec = {"audiences": [audience], "expirationSeconds": 600, "attestations": {"admissionReviewAPIGroups": [group]},
                "boundObjectRef": {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
                                   "name": configuration}}
        return self.request("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                                           "spec": spec})["status"]["token"]

    def kubeconfig(self, path, account, namespace):
        """Writes a kubeconfig of a service account, with a token of it."""
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": {"server": f"https://{SERVER[0]}:{SERVER[1]}",
                                                    "certificate-authority": str(place.PKI / "ca.crt")}}],
            "users": [{"name": "it", "user": {"token": self.token(account, namespace)}}]}))
        path.chmod(0o600)
        return path

    # -- waiting ------------------------------------------------------------------------------------------------------

    def watch(self, version, kind, namespace=None, patience=PATIENCE, **selector):
        """Yields (type, object): ADDED for all that are there, then every change; ends after patience seconds."""
        events = self._follow(version, kind, namespace, patience, selector)
        return ((event, thing) for event, thing in events if event != "LISTED")

    def _follow(self, version, kind, namespace, patience, selector):
        path = self.path(version, kind, None, namespace)
        end = time.monotonic() + patience
        found = self.request("GET", path, **selector)
        yield from (("ADDED", Object({"apiVersion": version, "kind": kind, **item})) for item in found["items"])
        yield "LISTED", None
        since = found["metadata"]["resourceVersion"]
        while (left := end - time.monotonic()) > 0:
            connection = self._connect(left + 1)
            try:
                query = {**selector, "watch": "true", "resourceVersion": since, "timeoutSeconds": int(left) + 1}
                response = self._send(connection, "GET", with_query(path, query))
                if response.status != 200:
                    raise ApiError(response.status, response.read().decode(errors="replace"), ())
                for line in response:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError(event["object"].get("code"), event["object"].get("message"), ())
                    since = event["object"]["metadata"]["resourceVersion"]
                    yield event["type"], Object(event["object"])
            except TimeoutError:
                pass
            finally:
                connection.close()

    def wait(self, version, kind, name, namespace, check, patience=PATIENCE):
        """The object once check(object) is true; check is asked with None where there is none. AssertionError else."""
        last = None
        selector = {"fieldSelector": f"metadata.name={name}"}
        for event, thing in self._follow(version, kind, namespace, patience, selector):
            if event != "LISTED":
                last = None if event == "DELETED" else thing
            if check(last):
                return last
        raise AssertionError(f"{kind} {namespace or ''}/{name} never came to be as it should: {brief(last)}")

    def wait_gone(self, version, kind, name, namespace=None, patience=PATIENCE):
        self.wait(version, kind, name, namespace, lambda thing: thing is None, patience)


class Impersonated(Api):
    """Somebody else's rights; the header Impersonate-Group may come several times."""

    def __init__(self, user, groups):
        super().__init__(headers={"Impersonate-User": user})
        self.groups = groups

    def _headers(self, content_type):
        return super()._headers(content_type) + [("Impersonate-Group", group) for group in self.groups]


def dry(run):
    return {"dryRun": "All"} if run else {}


def claims(token):
    """What a token says, unchecked."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def with_query(path, query):
    if not query:
        return path
    return path + ("&" if "?" in path else "?") + urllib.parse.urlencode(query)


def brief(thing):
    """What of an object's status tells why it is not as it should be."""
    status = (thing or {}).get("status", {})
    told = [f"{row['type']}={row['status']} {row.get('reason', '')} {row.get('message', '')}"
            for row in status.get("conditions", ()) if row["status"] != "True"]
    told += [f"{row['name']}: {json.dumps(row['state'])}" for key in ("initContainerStatuses", "containerStatuses")
             for row in status.get(key, ()) if "running" not in row.get("state", {"running": {}})]
    return "it is not there" if thing is None else "\n  ".join([status.get("phase", "no phase"), *told])


def condition(thing, kind):
    """The status of a condition ("True", "False", "Unknown"), or None."""
    rows = (thing or {}).get("status", {}).get("conditions", ())
    return next((row["status"] for row in rows if row["type"] == kind), None)


def is_ready(thing):
    return condition(thing, "Ready") == "True"
