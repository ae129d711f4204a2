"""The API server's part of an admission: builds the AdmissionReview, posts it over HTTPS with the CA that the webhook
configuration would hold, checks the answer as strictly as the API server does, applies the JSON Patch."""
import base64
import copy
import http.client
import json
import ssl
import uuid


class Denied(Exception):
    """allowed: false; the text is the webhook's message."""


class Broken(Exception):
    """An answer that the API server would refuse, or a patch that does not apply."""


def review_of(pod, namespace):
    """The AdmissionReview v1 that a kube-apiserver sends for `kubectl create`."""
    obj = copy.deepcopy(pod)
    obj["metadata"].setdefault("namespace", namespace)
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    resource = {"group": "", "version": "v1", "resource": "pods"}
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": str(uuid.uuid4()), "kind": kind, "resource": resource, "requestKind": kind,
            "requestResource": resource, "name": obj["metadata"].get("name", ""), "namespace": namespace,
            "operation": "CREATE", "userInfo": {"username": "kubernetes-admin", "groups": ["system:authenticated"]},
            "object": obj, "oldObject": None, "dryRun": False,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    }


def admit(pod, namespace, port, ca_file):
    """Sends one review; returns (the pod as it is stored, the response). Raises Denied or Broken."""
    review = review_of(pod, namespace)
    context = ssl.create_default_context(cafile=ca_file)
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    try:
        connection.request("POST", "/inject?timeout=10s", json.dumps(review), {
            "Content-Type": "application/json", "Accept": "application/json, */*",
            "User-Agent": "kube-apiserver-admission"})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise Broken(f"HTTP {answer.status}: {body[:300]!r}")
    response = checked(json.loads(body), review)
    if not response["allowed"]:
        raise Denied(response.get("status", {}).get("message", "denied without explanation"))
    stored = review["request"]["object"]
    if "patch" in response:
        stored = apply_patch(stored, json.loads(base64.b64decode(response["patch"], validate=True)))
    return stored, response


def checked(answer, review):
    """What a v1 API server demands of the answer's form."""
    if answer.get("apiVersion") != "admission.k8s.io/v1" or answer.get("kind") != "AdmissionReview":
        raise Broken("the answer is not an AdmissionReview v1")
    response = answer.get("response") or {}
    if response.get("uid") != review["request"]["uid"]:
        raise Broken("the answer's uid is not the request's")
    if ("patch" in response) != ("patchType" in response):
        raise Broken("patch and patchType must be both present or both absent")
    if response.get("patchType", "JSONPatch") != "JSONPatch":
        raise Broken(f"patchType {response['patchType']}")
    return response


def apply_patch(document, patch):
    """RFC 6902, all or nothing; written on its own, so that it judges the webhook's patch."""
    document = copy.deepcopy(document)
    for number, operation in enumerate(patch):
        try:
            document = apply_one(document, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise Broken(f"operation {number} of the patch does not apply: {operation}: {error!r}") from error
    return document


def tokens_of(pointer):
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"not a JSON Pointer: {pointer}")
    return [t.replace("~1", "/").replace("~0", "~") for t in pointer.split("/")[1:]]


def index_of(array, token, size):
    if not (token.isdigit() and (token == "0" or token[0] != "0")) or int(token) >= size:
        raise IndexError(f"no element {token}")
    return int(token)


def find(document, tokens):
    for token in tokens:
        document = document[index_of(document, token, len(document))] if isinstance(document, list) else document[token]
    return document


def apply_one(document, operation):
    kind, tokens = operation["op"], tokens_of(operation["path"])
    if kind in ("move", "copy"):
        source = tokens_of(operation["from"])
        value = copy.deepcopy(find(document, source))
        if kind == "move":
            document = apply_one(document, {"op": "remove", "path": operation["from"]})
        return apply_one(document, {"op": "add", "path": operation["path"], "value": value})
    if kind == "test":
        if find(document, tokens) != operation["value"]:
            raise ValueError("test failed")
        return document
    if not tokens:
        return operation["value"]
    parent, last = find(document, tokens[:-1]), tokens[-1]
    if isinstance(parent, list):
        if kind == "add":
            parent.insert(len(parent) if last == "-" else index_of(parent, last, len(parent) + 1), operation["value"])
        elif kind == "remove":
            del parent[index_of(parent, last, len(parent))]
        elif kind == "replace":
            parent[index_of(parent, last, len(parent))] = operation["value"]
        else:
            raise ValueError(f"unknown operation {kind}")
    elif kind == "add":
        if not isinstance(parent, dict):
            raise TypeError("the parent is no container")
        parent[last] = operation["value"]
    elif kind == "remove":
        del parent[last]
    elif kind == "replace":
        parent[last]  # must be there
        parent[last] = operation["value"]
    else:
        raise ValueError(f"unknown operation {kind}")
    return document
