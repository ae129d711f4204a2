#!/usr/bin/env python3
"""docs/rbac.md has the rights that the chart renders, account by account; FL_CHARTS_UPDATE=1 writes them anew.

What the API server makes of them, the lane `rbac` asks: it reads the same table (`table()`), so that what is printed is what is proven.
"""
import os
import sys
import unittest

from render_test import ROOT, SKIPPED, find_helm, render

PAGE = ROOT / "docs" / "rbac.md"
BEGIN, END = "<!-- rights: ", "<!-- /rights -->"
ACCOUNTS = ("webhook", "keeper", "control", "deployer", "agent", "uninstall", "test")


def rules():
    """(account, namespace or "", rule) of every binding of the chart, in the order of ACCOUNTS."""
    things = render({"cni": {"enabled": True}})
    found = []
    for (kind, _), thing in things.items():
        if kind in ("RoleBinding", "ClusterRoleBinding"):
            role = things[thing["roleRef"]["kind"], thing["roleRef"]["name"]]
            for subject in thing["subjects"]:
                found += [(subject["name"], thing["metadata"].get("namespace", ""), rule) for rule in role["rules"]]
    order = {f"fairlead-{name}": number for number, name in enumerate(ACCOUNTS)}
    unbound = "fairlead-revisions"  # an account that does not exist
    return sorted((row for row in found if row[0] != unbound), key=lambda row: (order[row[0]], row[1] != ""))


def told(rule):
    """"gateways, httproutes (gateway.networking.k8s.io)"; names behind them."""
    group = "" if rule["apiGroups"] == [""] else f" ({', '.join(rule['apiGroups'])})"
    names = rule.get("resourceNames")
    return ", ".join(f"`{name}`" for name in rule["resources"]) + group + (f" named {', '.join(f'`{name}`' for name in names)}" if names else "")


def table():
    lines = ["| account | where | what | verbs |", "|---|---|---|---|"]
    last = None
    for account, namespace, rule in rules():
        where = f"`{namespace}`" if namespace else "cluster"
        lines.append(f"| {'' if account == last else f'`{account}`'} | {where} | {told(rule)} | {', '.join(rule['verbs'])} |")
        last = account
    return "\n".join(lines) + "\n"


class Rights(unittest.TestCase):
    def test_the_page_has_what_the_chart_has(self):
        text = PAGE.read_text()
        head, _, rest = text.partition(BEGIN)
        marker, _, rest = rest.partition("\n")
        _, _, tail = rest.partition(END)
        wanted = f"{head}{BEGIN}{marker}\n{table()}{END}{tail}"
        if os.environ.get("FL_CHARTS_UPDATE"):
            PAGE.write_text(wanted)
        self.assertEqual(PAGE.read_text(), wanted, "FL_CHARTS_UPDATE=1 writes it anew")

    def test_nothing_is_unbounded(self):
        for account, _, rule in rules():
            self.assertFalse({"*"} & {*rule["verbs"], *rule["resources"], *rule["apiGroups"]}, account)
            self.assertFalse({"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"]), account)
            if "secrets" in rule["resources"] and {"list", "watch"} & set(rule["verbs"]):
                self.assertTrue(rule.get("resourceNames"), account)
            if {"pods", "nodes"} & set(rule["resources"]):
                self.assertLessEqual(set(rule["verbs"]), {"get", "list", "watch"}, account)

    def test_every_account_is_told_of(self):
        self.assertEqual({account for account, _, _ in rules()}, {f"fairlead-{name}" for name in ACCOUNTS})


if __name__ == "__main__":
    if find_helm() is None:
        print("skipped: helm is not here (neither $HELM, nor the test cluster's, nor in PATH)")
        sys.exit(SKIPPED)
    unittest.main()
