"""What a round does not wait for at the coordinator: idle layers around its requests, and parts of a reply."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from silosynth.server import line, superlink

pytestmark = pytest.mark.filterwarnings("ignore:No path_separator found:DeprecationWarning")  # of Flower's migrations


class Told:
    """An ASGI app, or a layer around one, that notes who was called."""

    def __init__(self, name, calls, inner=None):
        self.name, self.calls, self.inner = name, calls, inner

    async def __call__(self, scope, receive, send):
        self.calls.append(self.name)
        if self.inner:
            await self.inner(scope, receive, send)


@pytest.mark.parametrize(
    ("path", "calls"),
    [
        ("/v1/fleet/pull-messages", ["app"]),
        ("/v1/runtime/push-object", ["app"]),
        ("/v1/control/start-run", ["layer", "app"]),
        ("/v1/control/../fleet/pull-messages", ["layer", "app"]),
        ("/v1/fleet", ["layer", "app"]),
        ("/health", ["layer", "app"]),
    ],
)
def test_requests_of_sites_and_runs_pass_by_idle_layers_and_no_others_do(path, calls):
    seen = []
    around = superlink._Seldom(Told("app", seen), lambda app: Told("layer", seen, app))
    asyncio.run(around({"type": "http", "path": path}, None, None))
    assert seen == calls


def test_every_layer_of_flower_s_is_still_there(tmp_path):
    app = superlink.application(tmp_path / "superlink.sqlite", b"secret")
    names = [getattr(one.kwargs.get("layer"), "__name__", one.cls.__name__) for one in app.user_middleware]
    assert names == [
        "ControlSensitiveResponseMiddleware", "BaseHTTPMiddleware", "ControlAuthenticationMiddleware",
        "ControlLicenseMiddleware", "ProtobufTranslationMiddleware", "RuntimeTracingMiddleware",
        "ControlEventLogMiddleware", "NodeAuthMiddleware", "FleetEventLogMiddleware", "_OwnVoice",
    ]  # fmt: skip
    always = {one.cls.__name__ for one in app.user_middleware} - {"_Seldom"}
    assert {"NodeAuthMiddleware", "ProtobufTranslationMiddleware", "_OwnVoice"} <= always


def client(monkeypatch, answers):
    """A client of the runtime API that is answered so, one after the other, the last for ever."""
    asked = []

    def pull(_self, request):
        asked.append(request)
        return answers[min(len(asked), len(answers)) - 1]

    monkeypatch.setattr(line.RuntimeHttpClient, "PullObject", pull)
    return superlink.Access(1, b"secret").client(line._Runtime), asked


COMING = SimpleNamespace(object_found=True, object_available=False)
HERE = SimpleNamespace(object_found=True, object_available=True)
GONE = SimpleNamespace(object_found=False, object_available=False)


@pytest.mark.parametrize(
    ("answers", "looks"), [([HERE], 1), ([GONE], 1), ([COMING, COMING, HERE], 3), ([COMING, GONE], 2)]
)
def test_a_part_that_is_coming_is_had_at_once(monkeypatch, answers, looks):
    runtime, asked = client(monkeypatch, answers)
    began = time.monotonic()
    assert runtime.PullObject("part") is answers[-1]
    assert asked == ["part"] * looks
    assert time.monotonic() - began < 0.8  # the second that Flower sleeps, less its jitter


def test_a_part_that_does_not_come_is_left_to_flower(monkeypatch):
    monkeypatch.setattr(line, "_PART_S", 0.1)
    runtime, asked = client(monkeypatch, [COMING])
    assert runtime.PullObject("part") is COMING
    assert len(asked) > 1
