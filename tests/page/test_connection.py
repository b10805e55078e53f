"""Reloads, lost connections, tokens and other windows."""

import re

from playwright.sync_api import Route, expect
from tests.page.conftest import OpenPage, site
from tests.page.reader import Reader
from tests.page.test_access import faults


def test_a_reload_in_the_middle_of_an_answer_joins_it(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served)
        reader = Reader(page)
        reader.say("wait")
        expect(reader.last).to_contain_text("The first half.")
        page.reload()
        expect(reader.last).to_contain_text("The first half.")
        served.talk.go_on.set()
        expect(reader.last).to_contain_text("The first half. The second half.")
        reader.wait()
        expect(reader.turns).to_have_count(1)


def test_another_window_shows_the_answer_while_it_is_written(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served)
        Reader(page).say("wait")
        expect(Reader(page).last).to_contain_text("The first half.")
        other = Reader(open_page(served, page.url.removeprefix(served.url)))
        expect(other.last).to_contain_text("The first half.")
        served.talk.go_on.set()
        expect(other.last).to_contain_text("The second half.")
        expect(Reader(page).last).to_contain_text("The second half.")


def test_a_lost_connection_is_joined_again_by_itself(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served, expected=["Failed to load resource"])
        reader = Reader(page)
        reader.say("wait")
        expect(reader.last).to_contain_text("The first half.")
        page.context.set_offline(True)
        page.context.set_offline(False)
        served.talk.go_on.set()
        expect(reader.last).to_contain_text("The first half. The second half.")
        expect(reader.turns).to_have_count(1)


def test_a_message_that_did_not_reach_the_service_is_sent_again_by_itself(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served, expected=["Failed to load resource"])
        reader = Reader(page)
        tries: list[str] = []

        def lose_the_first(route: Route) -> None:
            tries.append(route.request.headers["idempotency-key"])
            route.abort() if len(tries) < 3 else route.continue_()

        page.route("**/v1/responses", lose_the_first)
        expect(reader.ask("precious words")).to_contain_text("You said: precious words")
        assert len(tries) == 3
        assert len(set(tries)) == 1


def test_a_refused_message_is_kept_and_can_be_sent_again(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served, expected=["Failed to load resource"])
        reader = Reader(page)
        refusal = {"error": {"code": "too_many_runs", "message": "all slots are taken", "type": "x", "param": None}}
        page.route("**/v1/responses", lambda route: route.fulfill(status=429, json=refusal))
        reader.say("precious words")
        expect(reader.last.get_by_role("alert")).to_contain_text("Try again")
        expect(reader.last).to_contain_text("precious words")
        page.unroute("**/v1/responses")
        reader.press("Try again", within=reader.last)
        expect(reader.last).to_contain_text("You said: precious words")
        reader.wait()
        expect(reader.turns).to_have_count(1)


def test_behind_a_bearer_token_the_page_asks_for_it_once(tmp_path, open_page: OpenPage) -> None:
    token = "a-token-that-is-long-enough-0123456789"
    with site(tmp_path, bearer_token=token) as served:
        page = open_page(served, expected=["Failed to load resource"])
        dialog = page.get_by_role("dialog", name="Sign in")
        dialog.get_by_label("Access token").fill("wrong")
        dialog.get_by_role("button", name="Sign in").click()
        expect(dialog.get_by_role("alert")).to_contain_text("refused")
        dialog.get_by_label("Access token").fill(token)
        dialog.get_by_role("button", name="Sign in").click()
        expect(dialog).to_have_count(0)
        reader = Reader(page)
        expect(reader.ask("hello")).to_contain_text("You said: hello")
        page.reload()
        expect(reader.last).to_contain_text("You said: hello")
        assert page.evaluate("Object.values(localStorage).join()").find(token) == -1
        assert re.search("token", page.url) is None


def test_what_is_typed_and_not_sent_is_still_there_after_a_reload(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served)
        reader = Reader(page)
        reader.ask("hello")
        reader.field.fill("half a thou")
        page.reload()
        expect(reader.field).to_have_value("half a thou")


def test_of_two_windows_the_one_that_loses_keeps_its_message_as_not_sent_in_no_branch(
    tmp_path, open_page: OpenPage
) -> None:
    with site(tmp_path) as served:
        page = open_page(served, expected=["Failed to load resource"])
        here = Reader(page)
        here.ask("first")
        there = Reader(open_page(served, page.url.removeprefix(served.url)))
        expect(there.last).to_contain_text("You said: first")
        # This window has not heard of the other one's message when it sends its own.
        page.route("**/v1/conversations/*/responses*", lambda route: route.abort())
        there.say("wait")
        expect(there.last).to_contain_text("The first half.")
        page.unroute("**/v1/conversations/*/responses*")
        here.say("mine")
        expect(here.last.get_by_role("alert")).to_contain_text("This was not sent.")
        expect(here.turns).to_have_count(3)
        expect(here.turns.nth(1)).to_contain_text("The first half.")
        expect(here.last.get_by_role("button", name="Try again")).to_be_disabled()
        served.talk.go_on.set()
        expect(here.turns.nth(1)).to_contain_text("The second half.")
        here.press("Try again", within=here.last)
        expect(here.last).to_contain_text("You said: mine")
        here.wait()
        expect(page.get_by_role("group", name="Versions of this message")).to_have_count(0)
        page.reload()
        expect(here.turns).to_have_count(3)
        expect(here.last).to_contain_text("You said: mine")


def test_a_page_whose_service_is_down_says_so_and_recovers_by_itself(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served, expected=["Failed to load resource"])
        expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
        page.route("**/page/settings.json", lambda route: route.abort())
        page.reload()
        expect(page.get_by_text("The service cannot be reached.")).to_be_visible()
        expect(page.get_by_role("heading", name="What would you like to know?")).to_have_count(0)
        assert faults(page) == []
        page.unroute("**/page/settings.json")
        expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
        expect(Reader(page).ask("hello")).to_contain_text("You said: hello")
