"""deploy/charts: every pod is shut in, and has a network policy of its own that says what its role needs."""

import importlib.util
import json
import shutil
import sys

import pytest
import yaml
from deploy_made import DEPLOY, ran

CIDR = "203.0.113.20/32"
SHUT_IN = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def rendered(chart, values):
    """The objects of a chart, by helm or by its library for Python."""
    path = DEPLOY / "charts" / chart
    if shutil.which("helm"):
        flags = [flag for key, value in values.items() for flag in ("--set-json", f"{key}={json.dumps(value)}")]
        texts = [ran("helm", "template", "demo", path, *flags)]
    elif importlib.util.find_spec("helm_python"):
        # In a process of its own, since it brings a runtime with it.
        program = (
            "import json, sys; from helm_python import Chart, lint;"
            "path, values = sys.argv[1], json.loads(sys.argv[2]);"
            "errors = lint(path, values, strict=True)['errors'];"
            "assert not errors, errors;"
            "print(json.dumps(list(Chart.load(path).render(values, name='demo').values())))"
        )
        texts = json.loads(ran(sys.executable, "-c", program, path, json.dumps(values)))
    else:
        pytest.skip("neither helm nor helm-python-sdk is installed")
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


CHARTS = {
    "site": ("site", {"coordinator": {"cidr": CIDR}, "running": True}),
    "site with all": (
        "site",
        {
            "coordinator": {"cidr": CIDR, "dns": True, "hostAlias": "coordinator.example.org"},
            "running": True,
            "home": {"existingClaim": "home"},
            "rows": {"existingClaim": "rows"},
            "console": True,
            "nodeSelector": {"rows": "here"},
            "imagePullSecrets": [{"name": "own"}],
        },
    ),
    "coordinator": ("coordinator", {"hosts": ["coordinator.example.org"]}),
    "coordinator with all": (
        "coordinator",
        {
            "hosts": ["coordinator.example.org", "192.0.2.10"],
            "sites": [CIDR],
            "home": {"existingClaim": "home"},
            "service": {"type": "LoadBalancer"},
        },
    ),
}


def pods(objects):
    for one in objects:
        if one["kind"] == "Pod":
            yield one["metadata"]["labels"], one["spec"]
        elif "template" in one.get("spec", {}):
            assert one["spec"]["replicas"] == 1
            yield one["spec"]["template"]["metadata"]["labels"], one["spec"]["template"]["spec"]


@pytest.mark.parametrize("name", CHARTS)
def test_pods_of_the_charts_are_restricted_and_each_has_its_network_policy(name):
    objects = rendered(*CHARTS[name])
    policies = [one["spec"] for one in objects if one["kind"] == "NetworkPolicy"]
    for labels, pod in pods(objects):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 10000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        for one in [container, *pod.get("initContainers", [])]:
            assert one["securityContext"] == SHUT_IN
            assert one["resources"]["limits"]["memory"]
        (policy,) = [one for one in policies if one["podSelector"]["matchLabels"] == labels]
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        component = labels["app.kubernetes.io/component"]
        there = {mount["mountPath"] for mount in container["volumeMounts"]}
        if component == "agent":
            assert policy["ingress"] == policy["egress"] == []
            mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
            assert mounts["/site"]["readOnly"] is True
            assert mounts["/site/relay"]["name"] == "nothing"  # over the relay's key
            assert {mount.get("subPath") for mount in mounts.values()} == {None, "agent", "log", "run"}
        elif component == "relay":
            out = policy["egress"][0]
            assert (out["to"], out["ports"][0]["port"]) == ([{"ipBlock": {"cidr": CIDR}}], 8443)
            assert there == {"/site/site.toml", "/site/relay", "/site/log", "/site/run", f"/{'tmp'}"}
        elif component == "coordinator":
            assert policy["egress"] == []
        else:
            assert policy["ingress"] == policy["egress"] == []


@pytest.mark.parametrize(("chart", "missing"), [("site", r"coordinator\.cidr"), ("coordinator", "hosts")])
def test_what_must_be_given_is_asked_for(chart, missing):
    with pytest.raises(AssertionError, match=missing):
        rendered(chart, {})


def test_a_site_starts_nothing_before_it_has_a_home():
    objects = rendered("site", {"coordinator": {"cidr": CIDR}})
    assert {one["kind"]: one["spec"]["replicas"] for one in objects if "replicas" in one.get("spec", {})} == {
        "StatefulSet": 0,
        "Deployment": 0,
    }


def test_a_misspelt_value_is_no_release():
    with pytest.raises(AssertionError, match="additional"):
        rendered("site", {"coordinator": {"cidr": CIDR, "prt": 8443}})


@pytest.mark.parametrize("name", CHARTS)
def test_objects_of_the_charts_keep_the_schemas_of_kubernetes(name):
    kubernetes = pytest.importorskip("kubernetes_validate")
    for one in rendered(*CHARTS[name]):
        kubernetes.validate(one, "1.30", strict=True)
