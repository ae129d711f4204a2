#!/usr/bin/env python3
"""What the accounts of webhook, keeper, control plane, deployer and node agent may do: everything that the API server would let them, compared with an exact list.

Every resource that the server tells of is asked about with every verb, by SubjectAccessReview, in the release's namespace, in
another, and for objects of the names that matter; then the account does (or tries) the real thing.
"""
import os
import sys

from support import place
from support.api import ApiError
from support.lane import Lane, main
from support.release import Release, account
from waiting import eventually

NEEDS = "api"
MINUTES = 20

sys.path.insert(0, str(place.TOP / "tests" / "charts"))
os.environ.setdefault("HELM", str(place.BIN / "helm"))
from rights_test import rules as printed  # noqa: E402 (needs what stands above)

SYSTEM, OTHER, HOME = "fairlead-system", "default", "fairlead-cni"
WEBHOOK, KEEPER, CONTROL, DEPLOYER, NOBODY = (account(name) for name in (
    "fairlead-webhook", "fairlead-keeper", "fairlead-control", "fairlead-deployer", "nobody"))
AGENT = account("fairlead-agent", HOME)
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "impersonate", "bind", "escalate",
         "approve", "sign", "attest", "use", "pause", "unrequire")
CONFIGURATION = "fairlead-webhook"
EVERYBODYS = {"selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "clustertrustbundles"}
NAMES = (None, "fairlead-webhook", "fairlead-keeper", "fairlead-control", "fairlead-deployer", "fairlead-webhook-ca", "fairlead-webhook-tls",
         "fairlead-ca", "cacerts", "fairlead-root", "fairlead.io:mesh:root", "fairlead.io/mesh", "gatewayclasses.gateway.networking.k8s.io",
         "another")
NAMED = ("secrets", "leases", "mutatingwebhookconfigurations", "namespaces", "configmaps", "clustertrustbundles", "signers",
         "customresourcedefinitions")

# (where, resource, name): verbs. Where a row without a name allows, so does every name.
WEBHOOK_MAY = {
    (None, "namespaces", None): {"get", "list", "watch"},
    (SYSTEM, "namespaces", None): {"get", "list", "watch"},  # a Namespace is asked about "in" itself, too
    (OTHER, "namespaces", None): {"get", "list", "watch"},
}
KEEPER_MAY = {
    (SYSTEM, "secrets", None): {"create"},
    (SYSTEM, "secrets", "fairlead-webhook-ca"): {"get", "list", "watch", "patch"},
    (SYSTEM, "secrets", "fairlead-webhook-tls"): {"get", "list", "watch", "patch"},
    (SYSTEM, "leases.coordination.k8s.io", None): {"create"},
    (SYSTEM, "leases.coordination.k8s.io", "fairlead-keeper"): {"get", "patch"},
    (None, "mutatingwebhookconfigurations.admissionregistration.k8s.io", CONFIGURATION): {"get", "list", "watch", "patch"},
    (SYSTEM, "mutatingwebhookconfigurations.admissionregistration.k8s.io", CONFIGURATION): {"get", "list", "watch", "patch"},
    (OTHER, "mutatingwebhookconfigurations.admissionregistration.k8s.io", CONFIGURATION): {"get", "list", "watch", "patch"},
}
AGENT_MAY = {(space, "events", None): {"create"} for space in (None, SYSTEM, OTHER)}


class Rights(Lane):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        Release(cls, {"cni.enabled": True})
        cls.everybodys = None
        cls.resources = sorted(set(cls.discover()))

    @classmethod
    def discover(cls):
        """(group, resource, subresource) of all that there is, and the one that exists for a question alone."""
        yield "", "namespaces", ""
        yield "certificates.k8s.io", "signers", ""
        for kind in ("gatewayclasses", "gateways", "httproutes", "grpcroutes", "tcproutes", "tlsroutes", "udproutes", "referencegrants", "listenersets",
                     "backendtlspolicies"):
            for sub in ("", "status"):  # whether their CRDs are installed or not
                yield "gateway.networking.k8s.io", kind, sub
        for kind in ("authorizationpolicies", "meshsettings", "peerauthentications", "requestauthentications", "telemetries", "trafficpolicies"):
            for sub in ("", "status"):
                yield "fairlead.io", kind, sub
        yield "fairlead.io", "namespaces", ""
        yield "*", "*", ""
        groups = [f"/apis/{group['preferredVersion']['groupVersion']}" for group in cls.api.request("GET", "/apis")["groups"]]
        for base in ["/api/v1", *groups]:
            group = base.split("/")[2] if base.startswith("/apis") else ""
            for row in cls.api.request("GET", base)["resources"]:
                resource, _, sub = row["name"].partition("/")
                yield group, resource, sub

    def allowed(self, who, space, resource, name, verb):
        group, plural, sub = resource
        asked = {"group": group, "resource": plural, "subresource": sub, "verb": verb}
        asked.update({key: value for key, value in (("namespace", space), ("name", name)) if value})
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
                  "spec": {"user": who[0], "groups": list(who[1:]), "resourceAttributes": asked}}
        return self.api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"]

    def all_that_is_allowed(self, who):
        found = {}
        for space in (None, SYSTEM, OTHER):
            for group, plural, sub in self.resources:
                title = plural + (f"/{sub}" if sub else "") + (f".{group}" if group else "")
                for verb in VERBS:
                    names = NAMES if plural in NAMED and not sub else NAMES[:1]
                    for name in names:
                        if self.allowed(who, space, (group, plural, sub), name, verb):
                            found.setdefault((space, title, name), set()).add(verb)
                            if name is None:
                                break
        return found

    def test_webhook_may_read_namespaces(self):
        self.assertEqual(self.without_everybodys(WEBHOOK), WEBHOOK_MAY)

    def test_keeper_may_keep(self):
        self.assertEqual(self.without_everybodys(KEEPER), KEEPER_MAY)

    def test_control_and_deployer_may_what_is_printed(self):
        """docs/rbac.md, which is made of the chart, to the last verb."""
        for who in (CONTROL, DEPLOYER):
            with self.subTest(who[0]):
                self.assertEqual(self.without_everybodys(who), self.expected(who[0].rpartition(":")[2]))

    def expected(self, name):
        """(where, resource, name): verbs, as the rules of the account say."""
        found = {}
        for account_name, namespace, rule in printed():
            spaces = [namespace] if namespace else [None, SYSTEM, OTHER]
            for group in rule["apiGroups"] if account_name == name else ():
                for resource in rule["resources"]:
                    title = resource + (f".{group}" if group else "")
                    for key in ((space, title, each) for space in spaces for each in rule.get("resourceNames", [None])):
                        found.setdefault(key, set()).update(rule["verbs"])
        for (space, title, each), verbs in found.items():  # what holds for every name is not asked about one
            verbs -= (found.get((space, title, None), set()) | self.everybodys.get((space, title, None), set())) if each else set()
        return {key: verbs for key, verbs in found.items() if verbs}

    def test_agent_may_tell(self):
        self.assertEqual(self.without_everybodys(AGENT), AGENT_MAY)

    def without_everybodys(self, who):
        """Less what any account may: ask what it may do, and who it is."""
        everybodys = Rights.everybodys = self.everybodys or self.all_that_is_allowed(NOBODY)
        self.assertLessEqual({title.partition(".")[0] for _, title, _ in everybodys}, EVERYBODYS)
        return {key: verbs for key, verbs in self.all_that_is_allowed(who).items() if key not in everybodys}

    def test_what_it_is_told_itself(self):
        """The same from the account's side: what `kubectl auth can-i --list` shows, less what everybody is shown."""
        def rules(who, space):
            api = self.api.impersonate(*who)
            review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": space}}
            found = api.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review)["status"]
            api.close()
            return {(tuple(rule.get("apiGroups", ())), tuple(rule.get("resources", ())), tuple(rule.get("resourceNames", ())),
                     tuple(rule["verbs"])) for rule in found["resourceRules"]}, sorted(map(str, found["nonResourceRules"]))

        expected = {
            (WEBHOOK, SYSTEM): {(("",), ("namespaces",), (), ("get", "list", "watch"))},
            (WEBHOOK, OTHER): {(("",), ("namespaces",), (), ("get", "list", "watch"))},
            (KEEPER, SYSTEM): {
                (("",), ("secrets",), (), ("create",)),
                (("",), ("secrets",), ("fairlead-webhook-ca", "fairlead-webhook-tls"), ("get", "list", "watch", "patch")),
                (("coordination.k8s.io",), ("leases",), (), ("create",)),
                (("coordination.k8s.io",), ("leases",), ("fairlead-keeper",), ("get", "patch")),
                (("admissionregistration.k8s.io",), ("mutatingwebhookconfigurations",), (CONFIGURATION,), ("get", "list", "watch", "patch"))},
            (AGENT, HOME): {(("",), ("events",), (), ("create",))},
            (AGENT, OTHER): {(("",), ("events",), (), ("create",))},
            (KEEPER, OTHER): {
                (("admissionregistration.k8s.io",), ("mutatingwebhookconfigurations",), (CONFIGURATION,), ("get", "list", "watch", "patch"))},
        }
        for (who, space), rows in expected.items():
            with self.subTest(who=who[0], space=space):
                resources, others = rules(who, space)
                everybodys, others_of_everybody = rules(NOBODY, space)
                self.assertEqual(resources - everybodys, rows)
                self.assertEqual(others, others_of_everybody)

    def attempt(self, who, expected, *request):
        api = self.api.impersonate(*who)
        try:
            api.request(*request)
            status = 200
        except ApiError as error:
            status = error.status
        finally:
            api.close()
        self.assertEqual(status != 403, expected, f"{who[0]} {request[:2]}: {status}")

    def test_what_they_try(self):
        """The deed itself, not what a review says about it."""
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [{"name": "a", "image": "b:1"}]}}
        admission = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
        secrets = f"/api/v1/namespaces/{SYSTEM}/secrets"
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"
        tls = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "fairlead-webhook-tls"}}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "fairlead-keeper"}, "spec": {}}
        merge = "application/merge-patch+json"
        rows = [
            (WEBHOOK, True, "GET", "/api/v1/namespaces"),
            (WEBHOOK, True, "GET", f"/api/v1/namespaces/{OTHER}"),
            (WEBHOOK, False, "PATCH", f"/api/v1/namespaces/{OTHER}?dryRun=All", {}, merge),
            (WEBHOOK, False, "GET", "/api/v1/pods"),
            (WEBHOOK, False, "POST", f"/api/v1/namespaces/{SYSTEM}/pods?dryRun=All", pod),
            (WEBHOOK, False, "GET", secrets),
            (WEBHOOK, False, "GET", f"{secrets}/fairlead-webhook-ca"),
            (WEBHOOK, False, "GET", f"{secrets}/fairlead-webhook-tls"),
            (WEBHOOK, False, "GET", f"/api/v1/namespaces/{SYSTEM}/configmaps/fairlead-webhook"),
            (WEBHOOK, False, "GET", f"{admission}/{CONFIGURATION}"),
            (WEBHOOK, False, "PATCH", f"{admission}/{CONFIGURATION}?dryRun=All", {}, merge),
            (WEBHOOK, False, "POST", f"/api/v1/namespaces/{SYSTEM}/events?dryRun=All", {"metadata": {"name": "x"}, "involvedObject": {}}),
            (WEBHOOK, False, "POST", f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/fairlead-keeper/token", {"spec": {}}),
            (KEEPER, True, "POST", f"{secrets}?dryRun=All", tls),
            (KEEPER, True, "GET", f"{secrets}/fairlead-webhook-tls"),
            (KEEPER, True, "PATCH", f"{secrets}/fairlead-webhook-ca?dryRun=All", {}, merge),
            (KEEPER, True, "POST", f"{leases}?dryRun=All", lease),
            (KEEPER, True, "GET", f"{leases}/fairlead-keeper"),
            (KEEPER, True, "GET", f"{admission}/{CONFIGURATION}"),
            (KEEPER, True, "PATCH", f"{admission}/{CONFIGURATION}?dryRun=All", {}, merge),
            (KEEPER, True, "GET", f"{secrets}?fieldSelector=metadata.name%3Dfairlead-webhook-tls"),
            (KEEPER, False, "GET", f"{secrets}?fieldSelector=metadata.name%3Danother"),
            (KEEPER, False, "PUT", f"{secrets}/fairlead-webhook-tls?dryRun=All", tls),
            (KEEPER, False, "GET", secrets),
            (KEEPER, False, "GET", f"{secrets}/sh.helm.release.v1.fairlead.v1"),
            (KEEPER, False, "POST", f"{secrets}?dryRun=All", {**tls, "metadata": {"name": "another"}}),
            (KEEPER, False, "DELETE", f"{secrets}/fairlead-webhook-tls?dryRun=All"),
            (KEEPER, False, "GET", f"/api/v1/namespaces/{OTHER}/secrets/fairlead-webhook-tls"),
            (KEEPER, False, "POST", f"/api/v1/namespaces/{OTHER}/secrets?dryRun=All", tls),
            (KEEPER, False, "GET", admission),
            (KEEPER, False, "PUT", f"{admission}/{CONFIGURATION}?dryRun=All", {}),
            (KEEPER, False, "DELETE", f"{admission}/{CONFIGURATION}?dryRun=All"),
            (KEEPER, False, "PATCH", f"{admission}/another?dryRun=All", {}, merge),
            (KEEPER, False, "DELETE", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/fairlead-keeper.admission?dryRun=All"),
            (KEEPER, False, "GET", "/api/v1/namespaces"),
            (KEEPER, False, "POST", f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/fairlead-webhook/token", {"spec": {}}),
        ]
        event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "x"}, "involvedObject": {"kind": "Pod", "name": "x", "namespace": OTHER}}
        events = f"/api/v1/namespaces/{OTHER}/events"
        rows += [
            (AGENT, True, "POST", f"{events}?dryRun=All", event),
            (AGENT, False, "GET", events),
            (AGENT, False, "PATCH", f"{events}/x?dryRun=All", {}, merge),
            (AGENT, False, "DELETE", f"{events}/x?dryRun=All"),
            (AGENT, False, "GET", "/api/v1/nodes"),
            (AGENT, False, "GET", "/api/v1/pods"),
            (AGENT, False, "GET", f"/api/v1/namespaces/{HOME}/pods"),
            (AGENT, False, "GET", f"/apis/apps/v1/namespaces/{HOME}/daemonsets/fairlead-agent"),
            (AGENT, False, "GET", f"/api/v1/namespaces/{HOME}/secrets"),
            (AGENT, False, "GET", f"/api/v1/namespaces/{OTHER}/configmaps"),
            (AGENT, False, "POST", f"/api/v1/namespaces/{HOME}/pods?dryRun=All", pod),
            (AGENT, False, "POST", f"/api/v1/namespaces/{HOME}/serviceaccounts/fairlead-agent/token", {"spec": {}}),
        ]
        apply = "application/apply-patch+yaml"
        maps = f"/api/v1/namespaces/{OTHER}/configmaps"
        root = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fairlead-root"}, "data": {"root-cert.pem": ""}}
        own = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "fairlead-ca"}}
        trust = "/apis/certificates.k8s.io/v1/clustertrustbundles"
        deployments = f"/apis/apps/v1/namespaces/{OTHER}/deployments"
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {
            "name": "edge-fairlead", "labels": {"gateway.networking.k8s.io/gateway-name": "edge"},
            "ownerReferences": [{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": "edge", "uid": "u-1", "controller": True}]},
            "spec": {"ports": [{"port": 80}]}}
        rows += [
            (CONTROL, True, "PATCH", f"{maps}/fairlead-root?fieldManager=x&force=true&dryRun=All", root, apply),  # makes it
            (CONTROL, False, "PATCH", f"{maps}/another?fieldManager=x&force=true&dryRun=All", {**root, "metadata": {"name": "another"}}, apply),
            (CONTROL, False, "POST", f"{maps}?dryRun=All", root),
            (CONTROL, False, "DELETE", f"{maps}/fairlead-root?dryRun=All"),
            (CONTROL, True, "GET", "/api/v1/configmaps?fieldSelector=metadata.name%3Dfairlead-root"),
            (CONTROL, False, "GET", "/api/v1/configmaps"),
            (CONTROL, False, "GET", "/api/v1/secrets"),
            (CONTROL, False, "GET", f"/api/v1/namespaces/{OTHER}/secrets"),
            (CONTROL, False, "GET", secrets),
            (CONTROL, True, "GET", f"/api/v1/namespaces/{OTHER}/secrets/edge-tls"),
            (CONTROL, True, "POST", f"{secrets}?dryRun=All", own),
            (CONTROL, False, "POST", f"{secrets}?dryRun=All", {**own, "metadata": {"name": "another"}}),
            (CONTROL, False, "POST", f"{secrets}?dryRun=All", {**own, "type": "kubernetes.io/service-account-token", "metadata": {
                "name": "fairlead-ca", "annotations": {"kubernetes.io/service-account.name": "fairlead-deployer"}}}),
            (CONTROL, False, "POST", f"/api/v1/namespaces/{OTHER}/secrets?dryRun=All", own),
            (CONTROL, True, "PATCH", f"{secrets}/fairlead-ca?dryRun=All", {}, merge),
            (CONTROL, False, "PATCH", f"{secrets}/fairlead-webhook-ca?dryRun=All", {}, merge),
            (CONTROL, False, "POST", f"/api/v1/namespaces/{OTHER}/serviceaccounts/default/token", {"spec": {}}),
            (CONTROL, False, "PATCH", f"{trust}/another?fieldManager=x&force=true&dryRun=All", {}, apply),
            (CONTROL, False, "POST", f"{deployments}?dryRun=All", {}),
            (CONTROL, False, "PATCH", f"/api/v1/namespaces/{OTHER}?dryRun=All", {}, merge),
            (DEPLOYER, True, "PATCH", f"/api/v1/namespaces/{OTHER}/services/edge-fairlead?fieldManager=x&force=true&dryRun=All", service, apply),
            (DEPLOYER, False, "PATCH", f"/api/v1/namespaces/{OTHER}/services/web?fieldManager=x&force=true&dryRun=All", {
                **service, "metadata": {"name": "web"}}, apply),  # the lane `writes` has the rest
            (DEPLOYER, True, "GET", deployments),
            (DEPLOYER, True, "DELETE", f"{deployments}/edge-fairlead?dryRun=All"),
            (DEPLOYER, False, "DELETE", f"/api/v1/namespaces/{OTHER}/services/kubernetes?dryRun=All"),
            (DEPLOYER, False, "DELETE", f"/api/v1/namespaces/{OTHER}/pods/edge-fairlead?dryRun=All"),
            (DEPLOYER, False, "POST", f"/api/v1/namespaces/{OTHER}/pods?dryRun=All", pod),
            (DEPLOYER, False, "GET", f"/api/v1/namespaces/{OTHER}/secrets/edge-tls"),
            (DEPLOYER, False, "GET", f"{maps}"),
            (DEPLOYER, False, "POST", f"/api/v1/namespaces/{OTHER}/serviceaccounts/default/token", {"spec": {}}),
        ]
        another = {**tls, "metadata": {"name": "another", "namespace": SYSTEM}}
        eventually(lambda: self.is_refused(another), "the policy of the keeper's Secrets is in force")
        eventually(lambda: self.is_refused(another, CONTROL), "the policy of the control plane's, too")
        for who, expected, *request in rows:
            with self.subTest(who[0], request=request[:2]):
                self.attempt(who, expected, *request)

    def is_refused(self, secret, who=KEEPER):
        api = self.api.impersonate(*who)
        try:
            api.create(secret, dry_run=True)
            return False
        except ApiError as error:
            return error.status == 403
        finally:
            api.close()


if __name__ == "__main__":
    main()
