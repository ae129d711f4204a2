#!/usr/bin/env python3
"""Writes a folder of YAML for the control plane's directory source: N services with M endpoints (each a Pod of its own) in a few
hundred files, as `kubectl get -o yaml` of a cluster would leave it. The same arguments give the same bytes.

    tests/bench/mesh-yaml.py FOLDER [--services 1000] [--endpoints 10000] [--files 300] [--ports 2]
"""

import argparse
import pathlib

NAMESPACES = 20


PORTS = (("http", 80, 8080), ("grpc", 9090, 9090))


def service(index, name, namespace, ports=PORTS):
    lines = "\n".join(f"  - {{name: {port}, port: {number}, targetPort: {target}}}" for port, number, target in ports)
    return f"""apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{app: {name}}}
spec:
  clusterIP: 10.96.{index // 250}.{index % 250 + 1}
  selector: {{app: {name}}}
  ports:
{lines}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}, namespace: {namespace}}}
"""


def address(pod):
    return f"10.{128 + pod // 62500}.{pod // 250 % 250}.{pod % 250 + 1}"


def pods_of(name, namespace, pods):
    for pod in pods:
        yield f"""apiVersion: v1
kind: Pod
metadata:
  name: {name}-5d8f7c6b9-{pod:05}
  namespace: {namespace}
  labels: {{app: {name}, version: v1, pod-template-hash: 5d8f7c6b9}}
  annotations: {{fairlead.io/status: '{{"version":1}}'}}
  ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: {name}-5d8f7c6b9, controller: true}}]
spec:
  serviceAccountName: {name}
  nodeName: node-{pod % 50}
  containers:
  - name: app
    ports: [{{name: http, containerPort: 8080}}, {{name: grpc, containerPort: 9090}}]
status: {{phase: Running, podIP: {address(pod)}, podIPs: [{{ip: {address(pod)}}}]}}
"""


def slice_of(name, namespace, pods, ports=PORTS):
    numbers = "\n".join(f"- {{name: {port}, port: {target}, protocol: TCP}}" for port, _, target in ports)
    lines = [f"""apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-abcde
  namespace: {namespace}
  labels: {{kubernetes.io/service-name: {name}}}
addressType: IPv4
ports:
{numbers}
endpoints:
"""]
    for pod in pods:
        lines.append(f"""- addresses: [{address(pod)}]
  conditions: {{ready: true, serving: true, terminating: false}}
  nodeName: node-{pod % 50}
  zone: zone-{pod % 3}
  targetRef: {{kind: Pod, name: {name}-5d8f7c6b9-{pod:05}, namespace: {namespace}}}
""")
    return "".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=10000)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--ports", type=int, choices=(1, 2), default=2, help="of a Service")
    arguments = parser.parse_args()
    files = [[] for _ in range(arguments.files)]
    for namespace in range(NAMESPACES):
        files[0].append(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: ns-{namespace}}}\n")
    for index in range(arguments.services):
        name, namespace = f"service-{index}", f"ns-{index % NAMESPACES}"
        pods = range(index * arguments.endpoints // arguments.services, (index + 1) * arguments.endpoints // arguments.services)
        documents = files[index * arguments.files // arguments.services]
        documents.append(service(index, name, namespace, PORTS[:arguments.ports]))
        documents.append(slice_of(name, namespace, pods, PORTS[:arguments.ports]))
        documents.extend(pods_of(name, namespace, pods))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for number, documents in enumerate(files):
        (arguments.folder / f"mesh-{number:03}.yaml").write_text("---\n".join(documents), encoding="utf-8")


if __name__ == "__main__":
    main()
