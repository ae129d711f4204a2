"""Reviews as an API server sends them, with a pod of a wanted size: what admission.py and review.c are measured with.

usage: reviews.py BYTES FILE      (writes one)

A Deployment's pod at its creation: two containers of its own at least, environment from values, the pod's fields, ConfigMaps and
Secrets, probes of three kinds, resources, security contexts, projected volumes, affinity, tolerations, annotations, and
managedFields, which are two fifths of what a pod is made of. A larger pod has more environment, then containers, then annotations.
"""
import json
import sys


def make_env(index, count):
    plain = [{"name": f"SETTING_{i:02}", "value": f"value-{index}-{i:02}-https://backend-{i}.shop.svc.cluster.local:8443/v1"}
             for i in range(count)]
    fields = [{"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
              for name, path in (("POD_NAME", "metadata.name"), ("POD_IP", "status.podIP"))]
    secret = {"name": "DATABASE_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "web-database", "key": "password"}}}
    return plain + fields + [secret]


def make_probe(path, period):
    return {"httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
            "timeoutSeconds": 1, "periodSeconds": period, "successThreshold": 1, "failureThreshold": 3}


def make_container(index, settings):
    name = ("app", "helper", "cache", "exporter")[index] if index < 4 else f"worker-{index}"
    return {"name": name, "image": f"registry.example.com/shop/{name}:1.2.{index}@sha256:{'3b' * 32}",
            "args": [f"--listen=0.0.0.0:{8080 + index}", "--log-format=json", "--config=/etc/shop/config.yaml"],
            "ports": [{"name": "http", "containerPort": 8080 + index, "protocol": "TCP"}],
            "env": make_env(index, settings), "envFrom": [{"configMapRef": {"name": "web-settings", "optional": True}}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "volumeMounts": [{"name": "config", "mountPath": "/etc/shop", "readOnly": True},
                             {"name": "scratch", "mountPath": "/tmp"},
                             {"name": "kube-api-access-7xk2p", "readOnly": True,
                              "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
            "livenessProbe": make_probe("/live", 10), "readinessProbe": make_probe("/ready", 5),
            **({"startupProbe": make_probe("/start?deep=true", 1),
                "lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-c", "kill -TERM 1"]}}}} if index == 0 else {}),
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "imagePullPolicy": "IfNotPresent",
            "securityContext": {"capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
                                "allowPrivilegeEscalation": False, "runAsNonRoot": True}}


def fields_of(value):
    """The managedFields of a value, as server-side apply writes them (near enough: the same shape and weight)."""
    if isinstance(value, dict):
        return {f"f:{name}": fields_of(inner) for name, inner in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        return {".": {}, **{f"k:{json.dumps({'name': item['name']}, separators=(',', ':'))}": {".": {}, **fields_of(item)} for item in value}}
    return {}


def make_pod(containers, settings, notes):
    metadata = {"generateName": "web-7d4b9c6f5-", "namespace": "shop", "creationTimestamp": None,
                "labels": {"app.kubernetes.io/name": "web", "app.kubernetes.io/instance": "shop", "app.kubernetes.io/version": "1.2.3",
                           "app.kubernetes.io/managed-by": "Helm", "version": "v1", "pod-template-hash": "7d4b9c6f5"},
                "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9100", "prometheus.io/path": "/metrics",
                                "checksum/config": "5f" * 32, "kubectl.kubernetes.io/restartedAt": "2026-05-04T10:20:30Z",
                                **{f"example.com/note-{i}": f"grüße {i}: \"{'quoted text ' * 6}\"\n" for i in range(notes)}},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9c6f5",
                                     "uid": "0a4bd1c4-2f5e-4a45-9d2f-5a9d3a1f7a10", "controller": True, "blockOwnerDeletion": True}]}
    spec = {"volumes": [{"name": "config", "configMap": {"name": "web-config", "defaultMode": 420}},
                        {"name": "scratch", "emptyDir": {}},
                        {"name": "kube-api-access-7xk2p", "projected": {"defaultMode": 420, "sources": [
                            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                            {"downwardAPI": {"items": [{"path": "namespace",
                                                        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}]}}],
            "containers": [make_container(i, settings) for i in range(containers)],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "web", "serviceAccount": "web", "schedulerName": "default-scheduler",
            "securityContext": {"runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001,
                                "seccompProfile": {"type": "RuntimeDefault"}},
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 100, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname",
                                                    "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "web"}}}}]}},
            "tolerations": [{"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute",
                             "tolerationSeconds": 300} for what in ("not-ready", "unreachable")],
            "priority": 0, "enableServiceLinks": True, "preemptionPolicy": "PreemptLowerPriority"}
    metadata["managedFields"] = [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
                                  "time": "2026-05-04T10:20:31Z", "fieldsType": "FieldsV1",
                                  "fieldsV1": {"f:metadata": {"f:labels": {".": {}, **fields_of(metadata["labels"])},
                                                              "f:annotations": {".": {}, **fields_of(metadata["annotations"])}},
                                               "f:spec": {name: inner for name, inner in fields_of(spec).items() if name != "f:volumes"}}}]
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": {}}


def render(pod):
    user = {"username": "system:serviceaccount:kube-system:replicaset-controller", "uid": "6f1c8f4e-7a8a-4e0f-8a0f-3b0d4c4b5a10",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"]}
    pods = {"group": "", "version": "v1", "resource": "pods"}
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    return json.dumps({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
                       "request": {"uid": "6d3a7c0a-7a3c-4f5e-9d55-0b8f4f3b0a11", "kind": kind, "resource": pods, "requestKind": kind,
                                   "requestResource": pods, "namespace": "shop", "operation": "CREATE", "userInfo": user,
                                   "object": pod, "oldObject": None, "dryRun": False,
                                   "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}}},
                      separators=(",", ":"), ensure_ascii=False).encode()


def length(pod):
    return len(json.dumps(pod, separators=(",", ":"), ensure_ascii=False).encode())


def make_review(size):
    """The largest pod of its form that has no more than `size` bytes; less than a note is missing."""
    containers, settings, notes = 2, 1, 0
    while settings < 12 and length(make_pod(containers, settings + 1, notes)) <= size:
        settings += 1
    while length(make_pod(containers + 1, settings, notes)) <= size:
        containers += 1
    while length(make_pod(containers, settings, notes + 1)) <= size:
        notes += 1
    return render(make_pod(containers, settings, notes))


def make_large_review():
    """Nearly as many values as the webhook reads: managedFields of hundreds of managers, 4 MB."""
    pod = make_pod(2, 1, 0)
    pod["metadata"]["managedFields"] *= 900
    return render(pod)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: reviews.py BYTES FILE")
    with open(sys.argv[2], "wb") as target:
        target.write(make_review(int(sys.argv[1])))
