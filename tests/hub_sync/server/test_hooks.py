"""Webhooks: who is told what."""

import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import HfApi, WebhookPayload
from huggingface_hub.errors import HfHubHTTPError

from hub_sync.people import People, Person
from hub_sync.store import Store
from tests.hub_sync.served import Hub, add

Told = queue.Queue[tuple[str, WebhookPayload]]


@pytest.fixture
def listener() -> Iterator[tuple[str, Told]]:
    """An address, and what was sent there: (secret, payload)."""
    told: Told = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.put((self.headers["X-Webhook-Secret"], WebhookPayload(**body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", told
        server.shutdown()


def test_a_pull_request_is_told_with_its_ref_and_its_base(hub: Hub, listener: tuple[str, Told]) -> None:
    (address, told), repo = listener, hub.new_repo()
    watched = [{"type": "model", "name": repo}]
    hook = hub.api().create_webhook(
        url=address, watched=watched, domains=["repo", "discussion"], secret="psst"
    )
    opened = hub.api("bob").create_commit(repo, [add("a", b"a")], commit_message="bob: 1", create_pr=True)
    secret, content = told.get(timeout=10)
    assert secret == "psst" and (content.event.action, content.event.scope) == ("update", "repo.content")
    assert [(r.ref, r.oldSha, r.newSha) for r in content.updatedRefs or []] == [
        ("refs/pr/1", None, opened.oid)
    ]
    _, discussion = told.get(timeout=10)
    assert discussion.event.scope == "discussion" and discussion.discussion is not None
    found = discussion.discussion
    assert (found.num, found.title, found.status, found.isPullRequest) == (1, "bob: 1", "open", True)
    assert found.changes is not None and found.changes.base == "refs/heads/main"
    assert (discussion.repo.name, discussion.webhook.id) == (repo, hook.id)
    hub.api("bob").comment_discussion(repo, 1, "hello")
    _, comment = told.get(timeout=10)
    assert comment.event.scope == "discussion.comment" and comment.comment is not None
    assert comment.comment.content == "hello"
    hub.api().disable_webhook(hook.id)
    hub.api("bob").comment_discussion(repo, 1, "again")
    with pytest.raises(queue.Empty):
        told.get(timeout=0.3)


def test_news_of_private_repos_are_for_their_owners(hub: Hub, listener: tuple[str, Told]) -> None:
    (address, told), watched = listener, [{"type": "user", "name": "alice"}]
    hook = hub.api("bob").create_webhook(url=address, watched=watched, domains=["repo"])
    hub.new_repo(private=True)
    public = hub.new_repo()
    assert told.get(timeout=10)[1].repo.name == public
    hub.api("bob").delete_webhook(hook.id)


def test_webhooks_are_ones_own(hub: Hub) -> None:
    hook = hub.api().create_webhook(url="http://127.0.0.1:9/x", watched=[])
    with pytest.raises(HfHubHTTPError):
        hub.api("bob").get_webhook(hook.id)
    for url in ("file:///etc/passwd", "ftp://a", "x" * 3000):
        with pytest.raises(HfHubHTTPError, match="no http"):
            hub.api().create_webhook(url=url, watched=[])
    hub.api().delete_webhook(hook.id)


def test_a_token_that_may_only_read_neither_sees_nor_changes_webhooks(hub: Hub) -> None:
    token = "hf_token_of_alice_that_reads"
    reading = Person(name="alice", fullname="", role="read", orgs=())
    People(Store(hub.root).database).add(reading, token)
    hook = hub.api().create_webhook(url="http://example.com/x", watched=[], secret="psst")
    api = HfApi(endpoint=hub.endpoint, token=token)
    for call in (
        lambda: api.create_webhook(url="http://example.com/x", watched=[]),
        lambda: api.list_webhooks(),
        lambda: api.get_webhook(hook.id),
        lambda: api.update_webhook(hook.id, url="http://example.org/theirs"),
        lambda: api.disable_webhook(hook.id),
        lambda: api.delete_webhook(hook.id),
    ):
        with pytest.raises(HfHubHTTPError, match="may write") as error:
            call()
        assert error.value.response.status_code == 403
    hub.api().delete_webhook(hook.id)


def test_a_secret_is_not_shown_again_and_stays_what_it_is(hub: Hub, listener: tuple[str, Told]) -> None:
    (address, told), api = listener, hub.api()
    watched = [{"type": "user", "name": "alice"}]
    hook = api.create_webhook(url=address, watched=watched, domains=["repo"], secret="psst")
    shown = [hook, api.get_webhook(hook.id), *api.list_webhooks()]
    shown.append(api.update_webhook(hook.id, watched=watched, secret=hook.secret))
    assert {h.secret for h in shown if h.id == hook.id} == {"********"}
    hub.new_repo()
    assert told.get(timeout=10)[0] == "psst"
    api.delete_webhook(hook.id)


def test_links_do_not_lead_where_the_sender_of_a_request_wants(hub: Hub, listener: tuple[str, Told]) -> None:
    (address, told), repo = listener, hub.new_repo()
    watched = [{"type": "model", "name": repo}]
    hook = hub.api().create_webhook(url=address, watched=watched, domains=["discussion"])
    with hub.http("bob") as http:
        body = {"title": "a question", "description": ""}
        headers = {"Host": "evil.example"}
        assert http.post(f"/api/models/{repo}/discussions", json=body, headers=headers).status_code == 200
    _, payload = told.get(timeout=10)
    assert (
        payload.discussion is not None
        and payload.discussion.url.web == f"{hub.endpoint}/{repo}/discussions/1"
    )
    assert payload.repo.url.web == f"{hub.endpoint}/{repo}" and "evil" not in str(payload)
    hub.api().delete_webhook(hook.id)


@pytest.mark.parametrize(
    "odd",
    [
        {"url": "http://["},
        {"url": "http://127.0.0.1:9/a b"},
        {"url": None},
        {"watched": [{"type": "user", "name": "x" * 201}]},
        {"watched": [{"type": "user", "name": "x"}] * 101},
        {"watched": [{"name": "x"}]},
        {"domains": [[]]},
    ],
)
def test_webhooks_that_cannot_be(hub: Hub, odd: dict[str, object]) -> None:
    with hub.http("bob") as http:
        answer = http.post(
            "/api/settings/webhooks", json={"url": "http://example.com/", "watched": [], **odd}
        )
        assert answer.status_code == 400
        assert http.get("/api/settings/webhooks").json() == []
