#!/usr/bin/env python3
"""What Gateway API's routes do to requests that pass: which backend gets them, with which path, host and fields, and where
redirects lead. Control plane and gateway are ours, the backends tell what arrived. Gateway API's own suite does not
look at most of this for the mesh, whose route tables are made by the same code.

    control_routing_test.py FAIRLEAD-CONTROL FAIRLEAD-PROXY
"""
import collections
import sys
import unittest

from routing_support import Backend, Gateway, free_port, gateway, route, service

RULES = """
  - matches: [{path: {type: PathPrefix, value: /prefix/one}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /one}}}]
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /strip}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /full}}]
    filters: [{type: URLRewrite, urlRewrite: {hostname: inner.example, path: {type: ReplaceFullPath, replaceFullPath: /one}}}]
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {type: Exact, value: /exact}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: '/a\\1b'}}}]
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /backslash}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: '/a\\1b%'}}}]
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {type: RegularExpression, value: '/v[0-9]+/.*'}, queryParams: [{type: RegularExpression, name: q, value: a|b}]}]
    backendRefs: [{name: other, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /headers}, headers: [{type: RegularExpression, name: x-kind, value: '(a|b)c*'}]}]
    backendRefs: [{name: other, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /headers}}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: X-Set, value: new}], add: [{name: X-Add, value: more}], remove: [X-Remove]}
    - type: ResponseHeaderModifier
      responseHeaderModifier: {set: [{name: X-Backend, value: somebody}], add: [{name: x-answer, value: '100%'}]}
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /weights}}]
    backendRefs:
    - name: web
      port: 80
      weight: 3
      filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-share, value: three}]}}]
    - name: other
      port: 80
      weight: 1
      filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-share, value: one}]}}]
    - {name: never, port: 80, weight: 0}
  - matches: [{path: {type: PathPrefix, value: /mirrored}}]
    filters:
    - {type: RequestMirror, requestMirror: {backendRef: {name: other, port: 80}}}
    - {type: RequestMirror, requestMirror: {backendRef: {name: third, port: 80}}}
    - {type: RequestMirror, requestMirror: {backendRef: {name: nobody, port: 80}}}
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-set, value: new}]}}
    - {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /copy}}}
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /sometimes}}]
    filters: [{type: RequestMirror, requestMirror: {backendRef: {name: third, port: 80}, percent: 30}}]
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /dead/mirror}}]
    filters: [{type: RequestMirror, requestMirror: {backendRef: {name: never, port: 80}, fraction: {numerator: 1, denominator: 1}}}]
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /shared}}]
    filters:
    - type: CORS
      cors: {allowOrigins: ['https://*.example'], allowMethods: [PUT], allowHeaders: [x-one, x-two], allowCredentials: true}
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /none}}]
    backendRefs: [{name: nobody, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /to/host}}]
    filters: [{type: RequestRedirect, requestRedirect: {hostname: new.example}}]
  - matches: [{path: {type: PathPrefix, value: /to/prefix}}]
    filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301, path: {type: ReplacePrefixMatch, replacePrefixMatch: /there}}}]
  - matches: [{path: {type: PathPrefix, value: /to/root}}]
    filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
  - matches: [{path: {type: PathPrefix, value: /to/full}}]
    filters: [{type: RequestRedirect, requestRedirect: {statusCode: 303, path: {type: ReplaceFullPath, replaceFullPath: /there}}}]
  - matches: [{path: {type: PathPrefix, value: /to/scheme}}]
    filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 307}}]
  - matches: [{path: {type: PathPrefix, value: /to/port}}]
    filters: [{type: RequestRedirect, requestRedirect: {port: 8083, statusCode: 308}}]
"""

GRPC = """
  - matches: [{method: {service: shop.Cart, method: Add}}]
    backendRefs: [{name: web, port: 80}]
  - matches: [{method: {service: shop.Cart}}]
    backendRefs: [{name: other, port: 80}]
  - matches: [{method: {type: RegularExpression, service: 'shop[.](Bill|Tax)'}}]
    backendRefs: [{name: other, port: 80}]
  - matches: [{method: {method: Anywhere}}]
    backendRefs: [{name: web, port: 80}]
  - matches: [{method: {service: gone.Service}}]
    backendRefs: [{name: nobody, port: 80}]
"""

SHARES = """
  - matches: [{path: {type: PathPrefix, value: /partly}}]
    backendRefs:
    - {name: web, port: 80, weight: 4}
    - {name: nobody, port: 80, weight: 1}
    - {name: web, port: 81, weight: 1}
    - {group: example.org, kind: Bucket, name: web, port: 80, weight: 1}
    - {name: web, namespace: other, port: 80, weight: 1}
  - matches: [{path: {type: PathPrefix, value: /empty}}]
    backendRefs: [{name: empty, port: 80, weight: 1}, {name: nobody, port: 80, weight: 1}]
  - matches: [{path: {type: PathPrefix, value: /shut}}]
    backendRefs: [{name: empty, port: 80}]
"""

SHARES_OF_CALLS = """
  - matches: [{method: {service: shop.Cart}}]
    backendRefs: [{name: web, port: 80}, {name: nobody, port: 80}]
"""


class Routing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.web, cls.other, cls.third = Backend("web"), Backend("other"), Backend("third")
        for backend in (cls.web, cls.other, cls.third):
            cls.addClassCleanup(backend.close)
        cls.port = free_port()
        listeners = f"  - {{name: http, port: {cls.port}, protocol: HTTP, allowedRoutes: {{namespaces: {{from: All}}}}}}"
        world = (gateway(listeners) + service("web", cls.web.port) + service("other", cls.other.port)
                 + service("third", cls.third.port)
                 + service("never", free_port()) + service("empty", free_port()).replace("ready: true", "ready: false")
                 + route("shares", SHARES, "shares.example") + route("calls", SHARES_OF_CALLS, "calls.example", "GRPCRoute") + route("rules", RULES) + route("grpc", GRPC, "grpc.example", "GRPCRoute"))
        cls.gateway = Gateway(CONTROL, PROXY, {"world.yaml": world})
        cls.enterClassContext(cls.gateway)

    def ask(self, path, **how):
        return self.gateway.ask(self.port, path, **how)

    def test_paths_and_hosts_that_arrive(self):
        for path, arrives, host in (
                ("/prefix/one/two", "/one/two", "a.example"),
                ("/prefix/one?x=/prefix/one", "/one?x=/prefix/one", "a.example"),
                ("/strip/three", "/three", "a.example"),
                ("/strip", "/", "a.example"),
                ("/strip/", "/", "a.example"),
                ("/strip?q", "/?q", "a.example"),
                ("/full/one/two?x=1", "/one?x=1", "inner.example"),
                ("/exact", "/a\\1b", "a.example"),
                ("/backslash/x?y", "/a\\1b%?y", "a.example")):
            with self.subTest(path):
                status, _, told = self.ask(path)
                self.assertEqual((status, told["path"], told["host"]), (200, arrives, host))

    def test_what_no_rule_takes(self):
        for path in ("/prefix/onetwo", "/stripped", "/exact/", "/"):
            self.assertEqual(self.ask(path)[0], 404, path)

    def test_regular_expressions(self):
        for path, backend in (("/v12/x?q=a", "other"), ("/v12/x?q=c", 404), ("/v/x?q=a", 404), ("/x/v1/x?q=a", 404)):
            status, _, told = self.ask(path)
            self.assertEqual(told["backend"] if status == 200 else status, backend, path)
        for kind, backend in (("acc", "other"), ("c", "web"), ("ac!", "web")):
            self.assertEqual(self.ask("/headers", headers=[("x-kind", kind)])[2]["backend"], backend, kind)

    def test_fields_that_arrive(self):
        status, fields, told = self.ask("/headers", headers=[("x-set", "old"), ("X-Add", "one"), ("x-remove", "me")])
        self.assertEqual((status, told["headers"]["x-set"], told["headers"]["x-add"]), (200, "new", "one,more"))
        self.assertNotIn("x-remove", told["headers"])
        self.assertEqual((fields["x-backend"], fields["x-answer"]), ("somebody", "100%"))

    def test_weights_and_the_filters_of_each_backend(self):
        share = {"web": 0, "other": 0}
        for _ in range(200):
            told = self.ask("/weights")[2]
            share[told["backend"]] += 1
            self.assertEqual(told["headers"]["x-share"], {"web": "three", "other": "one"}[told["backend"]])
        self.assertTrue(110 <= share["web"] <= 185, share)

    def test_a_backend_that_is_not_there(self):
        self.assertEqual(self.ask("/none")[0], 500)

    def test_shares_of_backends_that_are_none(self):
        """500 for a backend that cannot be, whatever is wrong with it; 503 where the Service is there and nobody is ready."""
        def share(path):
            return collections.Counter(self.ask(path, host="shares.example")[0] for _ in range(200))
        partly = share("/partly")
        self.assertEqual(set(partly), {200, 500})
        self.assertTrue(60 <= partly[500] <= 140, partly)
        empty = share("/empty")
        self.assertEqual(set(empty), {500, 503})
        self.assertTrue(60 <= empty[500] <= 140, empty)
        self.assertEqual(self.ask("/shut", host="shares.example")[0], 503)

    def test_shares_of_calls(self):
        """Of a GRPCRoute it is UNAVAILABLE."""
        seen = collections.Counter()
        for _ in range(100):
            _, fields, _ = self.ask("/shop.Cart/Add", host="calls.example", method="POST", body=b"", headers=[("content-type", "application/grpc")])
            seen[fields.get("grpc-status")] += 1
        self.assertEqual(set(seen), {None, "14"})  # the server here is none of gRPC: its answer has no status
        self.assertTrue(25 <= seen["14"] <= 75, seen)

    def test_who_may_read_across_origins(self):
        asks = [("access-control-request-method", "PUT")]
        for origin, allowed in (("https://a.example", True), ("https://a.b.example", True), ("https://example", False),
                                ("http://a.example", False), ("https://a.example.invalid", False)):
            with self.subTest(origin):
                status, fields, _ = self.ask("/shared/preflight", method="OPTIONS", headers=[("origin", origin)] + asks)
                self.assertEqual((status, fields.get("access-control-allow-origin")), (200, origin if allowed else None))
                self.assertEqual(fields.get("access-control-allow-methods"), "PUT" if allowed else None)
                self.assertEqual(fields.get("access-control-allow-headers"), "x-one, x-two" if allowed else None)
                self.assertEqual(fields.get("access-control-max-age"), "5" if allowed else None)
                status, fields, told = self.ask("/shared/put", method="PUT", headers=[("origin", origin)])
                self.assertEqual((status, told["method"]), (200, "PUT"))
                self.assertEqual(fields.get("access-control-allow-origin"), origin if allowed else None)
                self.assertEqual(fields.get("access-control-allow-credentials"), "true" if allowed else None)
        self.assertEqual(self.copies(self.web, "/shared/preflight"), [])

    def copies(self, backend, path):
        with backend.changed:
            return [told for told in backend.seen if told["path"] == path]

    def test_mirrors_get_copies(self):
        body = "x" * 40000
        status, fields, told = self.ask("/mirrored/a?b", method="POST", body=body.encode(), headers=[("x-set", "old")])
        self.assertEqual((status, told["backend"], told["path"], fields["x-backend"]), (200, "web", "/copy/a?b", "web"))
        for backend in (self.other, self.third):
            with backend.changed:
                self.assertTrue(backend.changed.wait_for(lambda: self.copies(backend, "/copy/a?b"), 10), backend.name)
            copy = self.copies(backend, "/copy/a?b")[0]
            self.assertEqual((copy["method"], copy["host"], copy["headers"]["x-set"], copy["body"]),
                             ("POST", "a.example", "new", body))

    def test_mirrors_get_their_share(self):
        for _ in range(200):
            self.assertEqual(self.ask("/sometimes")[2]["backend"], "web")
        with self.third.changed:
            self.third.changed.wait_for(lambda: len(self.copies(self.third, "/sometimes")) >= 30, 10)
        self.assertTrue(30 <= len(self.copies(self.third, "/sometimes")) <= 95, len(self.copies(self.third, "/sometimes")))

    def test_a_mirror_that_is_dead_or_left_out_is_not_felt(self):
        self.assertEqual(self.ask("/dead/mirror/x")[2]["backend"], "web")
        big = "y" * 100000
        status, _, told = self.ask("/mirrored/big", method="POST", body=big.encode())
        self.assertEqual((status, told["backend"], told["body"]), (200, "web", big))
        self.assertEqual(self.copies(self.other, "/copy/big"), [])

    def test_where_redirects_lead(self):
        here = f"a.example:{self.port}"
        for path, status, location in (
                ("/to/host/x?y=1", 302, f"http://new.example:{self.port}/to/host/x?y=1"),
                ("/to/prefix/x?y", 301, f"http://{here}/there/x?y"),
                ("/to/prefix", 301, f"http://{here}/there"),
                ("/to/root/x", 302, f"http://{here}/x"),
                ("/to/root", 302, f"http://{here}/"),
                ("/to/full/x?y", 303, f"http://{here}/there?y"),
                ("/to/scheme/x", 307, "https://a.example:443/to/scheme/x"),
                ("/to/port/x", 308, "http://a.example:8083/to/port/x")):
            with self.subTest(path):
                answer, fields, _ = self.ask(path, host=here)
                self.assertEqual((answer, fields["location"]), (status, location))

    def test_methods_of_grpc(self):
        for path, backend, grpc_status in (
                ("/shop.Cart/Add", "web", None), ("/shop.Cart/Get", "other", None), ("/shop.Bill/Pay", "other", None),
                ("/any.Service/Anywhere", "web", None), ("/any.Service/Nowhere", None, "12"),
                ("/shop.Bills/Pay", None, "12"), ("/gone.Service/Get", None, "14")):
            with self.subTest(path):
                before = len(self.web.seen) + len(self.other.seen)
                _, fields, told = self.ask(path, host="grpc.example", method="POST", body=b"",
                                           headers=[("content-type", "application/grpc")])
                if backend is None:
                    self.assertEqual(fields["grpc-status"], grpc_status)
                    self.assertEqual(len(self.web.seen) + len(self.other.seen), before)
                else:
                    self.assertEqual((told["backend"], told["path"]), (backend, path))
        self.assertEqual(self.ask("/shop.Cart/Add", host="grpc.example", method="POST", body=b"")[0], 404)


if __name__ == "__main__":
    CONTROL, PROXY = sys.argv[1:3]
    del sys.argv[1:3]
    unittest.main()
